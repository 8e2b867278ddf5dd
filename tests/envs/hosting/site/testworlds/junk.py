"""Arithmetic with a calculator, in a world that now and then answers with junk, and otherwise on any other call.

Which call meets which fault depends on the task, the seed, the turn and what was said, and on nothing else: a run has
the same faults however it is scheduled. One call in `task.data["every"]` of training tasks meets one. `STRUCK` counts
them by name.
"""

import collections
import dataclasses
import math
import zlib

from agentrl.envs.base import ToolEnvironment
from agentrl.envs.tasks import arithmetic
from agentrl.envs.tools.calculator import Calculator
from agentrl.types import EnvironmentFailed, Message, Observation, ToolCall, ToolResult

_LAST = 2**30  # examples come from beyond
STRUCK = collections.Counter()


def generate(index, *, split, difficulty=1, seed=0, every=0, first=0):
  task = arithmetic.generate(index, split=split, difficulty=difficulty, seed=seed)
  struck = split == "train" and first <= index < _LAST
  return dataclasses.replace(task, data={**task.data, "every": every if struck else 0})


def oracle(task, tool=""):
  return arithmetic.oracle(task, "calculator")


def environment(setting):
  return Junk(ToolEnvironment(Calculator(), arithmetic.check, setting))


class Junk:
  """An environment whose answers may be anything."""

  def __init__(self, inner):
    self._inner = inner

  @property
  def tools(self):
    return self._inner.tools

  def reset(self, task, seed):
    self._task, self._turn = task, 0
    return self._answer(OPENINGS, f"{seed}", lambda: self._inner.reset(task, seed))

  def step(self, action):
    self._turn += 1
    return self._answer(ANSWERS, f"{self._turn} {action.text}", lambda: self._inner.step(action))

  def close(self):
    self._inner.close()

  def _answer(self, faults, where, honest):
    every = self._task.data["every"]
    number = zlib.crc32(f"{self._task.id} {where}".encode())
    if not every or number % every:
      return honest()
    name = [*faults][number // every % len(faults)]
    STRUCK[name] += 1
    fault = faults[name]
    return fault() if callable(fault) else fault


class Unspeakable(Exception):
  def __str__(self):
    raise RuntimeError("this exception cannot be shown")


def _raise(error):
  raise error


_CALL = ToolCall("calculate", {"expression": "1"})
OPENINGS = {
  "no opening": None,
  "a text for an opening": "2+2=",
  "bytes for an opening": b"2+2=",
  "an empty opening": [],
  "an opening of texts": ["2+2="],
  "a message without content": [Message("user", None)],
  "a message of bytes": [Message("user", b"2+2=")],
  "a message with a lone surrogate": [Message("user", "2+2=\udcff")],
  "a message of nobody": [Message("nobody", "2+2=")],
  "a reset that raises": lambda: _raise(OSError("no such database")),
  "a reset that cannot say what it raises": lambda: _raise(Unspeakable()),
}
ANSWERS = {
  "no observation": None,
  "a text": "4",
  "bytes": b"4",
  "a dictionary": {"text": "4", "done": False},
  "an observation without text": Observation(None),
  "an observation of bytes": Observation(b"4"),
  "a lone surrogate": Observation("4\ud800"),
  "10 MB": lambda: Observation("4" * 10_000_000),
  "done in words": Observation("4", done="yes"),
  "ok in words": Observation("4", ok="fine"),
  "no parts": Observation("", done=True, parts=None),
  "parts that are NaN": Observation("", done=True, parts={"correct": math.nan}),
  "parts that are infinite": Observation("", done=True, parts={"correct": math.inf}),
  "parts in words": Observation("", done=True, parts={"correct": "1.0"}),
  "parts without the verdict": Observation("", done=True, parts={"style": 1.0}),
  "parts too large to square": Observation("", done=True, parts={"correct": 1e30}),
  "a part that is None": Observation("", done=True, parts={"correct": None}),
  "a reward that is NaN": Observation("4", reward=math.nan),
  "a reward that is None": Observation("4", reward=None),
  "results that are None": Observation("4", results=None),
  "results of texts": Observation("4", results=["4"]),
  "a result of bytes": Observation("4", results=[ToolResult(_CALL, b"4", True)]),
  "a result of no call": Observation("4", results=[ToolResult(None, "4", True)]),
  "a result whose arguments are no JSON": Observation("4", results=[ToolResult(ToolCall("c", {"x": {1}}), "4", True)]),
  "a result that took NaN seconds": Observation("4", results=[ToolResult(_CALL, "4", True, seconds=math.nan)]),
  "a name that is no text": Observation("4", name=7),
  "a step that raises": lambda: _raise(ValueError("surrogates not allowed")),
  "a step that cannot say what it raises": lambda: _raise(Unspeakable()),
  "a failure of 1 MB": lambda: _raise(EnvironmentFailed("x" * 1_000_000)),
}
