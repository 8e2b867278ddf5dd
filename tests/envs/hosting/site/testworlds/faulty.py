"""A world for tests, in which the task says what goes wrong, and when.

`task.data["faults"]` maps a turn (as text; "reset", "close", "start") to a fault. A fault with "once" happens the first
time alone: that a file in the folder `task.data["marks"]` does not exist yet says that it is.
"""

import os
import pathlib
import signal
import subprocess
import sys
import time

from agentrl.envs.base import NoDemonstration
from agentrl.types import Action, EnvironmentFailed, Message, Observation, Task, TurnKind

NOTHING = object()


def generate(index, *, split, difficulty=1, seed=0, faults=None, turns=3, marks=""):
  data = {"faults": dict(faults or {}), "turns": turns, "marks": marks}
  return Task(f"faulty-{split}-{index}", "faulty", f"Count to {turns}.", data=data)


def oracle(task, tool=""):
  if task.data["turns"] > 9:
    raise NoDemonstration("nobody counts that far")
  return [Action(TurnKind.ANSWER, str(n), answer=str(n)) for n in range(1, task.data["turns"] + 1)]


def environment(setting):
  return Counting()


class Counting:
  """Wants the numbers from 1 on."""

  tools = ()
  _task = None

  def reset(self, task: Task, seed: int):
    self._task, self._seed, self._turn = task, seed, 0
    more = self._fault("reset") or ""
    return [Message("user", f"{task.question} Seed {seed}.{more}")]

  def step(self, action: Action) -> Observation:
    self._turn += 1
    text = self._fault(str(self._turn)) or f"heard {action.answer}"
    if text is NOTHING:
      return None
    right = action.answer == str(self._turn)
    done = self._turn == self._task.data["turns"]
    return Observation(text, done=done, parts={"correct": float(right)}, ok=right)

  def close(self) -> None:
    if self._task is not None:
      self._fault("close")

  def _fault(self, where):
    fault = self._task.data["faults"].get(where)
    if fault is None:
      return None
    name, _, once = fault.partition(" ")
    if once and not self._first(where):
      return None
    return FAULTS[name](self)

  def _first(self, where):
    mark = pathlib.Path(self._task.data["marks"], f"{self._task.id}-{self._seed}-{where}")
    try:
      mark.touch(exist_ok=False)
    except FileExistsError:
      return False
    return True


def _die(_):
  os.kill(os.getpid(), signal.SIGKILL)


def _flood(_):
  sys.stdout.write("x" * 10_000_000)
  sys.stderr.write("y" * 10_000_000)
  return "z" * 900_000


def _garbage(_):
  """Writes into every socket of the process."""
  for fd in range(3, 64):
    try:
      if os.readlink(f"/proc/self/fd/{fd}").startswith("socket:"):
        os.write(fd, os.urandom(4096))
    except OSError:
      continue
  time.sleep(60)


def _raise(_):
  raise ValueError("it broke")


def _fail(_):
  raise EnvironmentFailed("it said so")


class Silent(EnvironmentFailed):
  def __str__(self):
    raise RuntimeError("it cannot be shown")


def _fail_silently(_):
  raise Silent("it said so")


def _exit(_):
  sys.exit(3)


FAULTS = {
  "hang": lambda _: time.sleep(3600),
  "late": lambda _: time.sleep(4.0),
  "slow": lambda _: time.sleep(0.2),
  "die": _die,
  "flood": _flood,
  "garbage": _garbage,
  "raise": _raise,
  "fail": _fail,
  "exit": _exit,
  "other": lambda _: str(time.monotonic_ns()),
  "unsendable": lambda _: lambda: None,
  "torrent": lambda _: "z" * 10_000_000,
  "silence": _fail_silently,
  "nothing": lambda _: NOTHING,
  "opening": lambda _: "z" * (70 << 20),
  "status": lambda _: f"exit code {subprocess.run(['sh', '-c', 'exit 3']).returncode}",
  "child": lambda _: os.system("sleep 3600 & setsid -f sleep 3600"),
}
