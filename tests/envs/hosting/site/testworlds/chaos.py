"""Arithmetic with a calculator, in a world where calls go wrong at random, and otherwise on another try.

Every fault is written down: a byte in the file `task.data["marks"]`. Only training tasks from number
`task.data["first"]` on are struck, so that a cold start and the evaluations are as they would be.
"""

import dataclasses
import os
import random
import signal
import sys
import time

from agentrl.envs.base import ToolEnvironment
from agentrl.envs.tasks import arithmetic
from agentrl.envs.tools.calculator import Calculator
from agentrl.types import EnvironmentFailed

_LAST = 2**30  # examples come from beyond
_rng = random.Random(os.urandom(8))


def generate(index, *, split, difficulty=1, seed=0, rate=0.0, first=0, marks=""):
  task = arithmetic.generate(index, split=split, difficulty=difficulty, seed=seed)
  struck = split == "train" and first <= index < _LAST
  return dataclasses.replace(task, data={**task.data, "rate": rate if struck else 0.0, "marks": marks})


def oracle(task, tool=""):
  return arithmetic.oracle(task, "calculator")


def environment(setting):
  return Chaos(ToolEnvironment(Calculator(), arithmetic.check, setting))


class Chaos:
  """An environment whose calls may hang, die, raise, flood, talk garbage, answer late or begin slowly."""

  def __init__(self, inner):
    self._inner = inner

  @property
  def tools(self):
    return self._inner.tools

  def reset(self, task, seed):
    self._task = task
    self._strike()
    return self._inner.reset(task, seed)

  def step(self, action):
    self._strike()
    return self._inner.step(action)

  def close(self):
    self._inner.close()

  def _strike(self):
    if _rng.random() < self._task.data["rate"]:
      name = _rng.choice(sorted(FAULTS))
      with open(self._task.data["marks"], "ab") as marks:
        marks.write(name[0].encode())
      FAULTS[name]()


def _die():
  os.kill(os.getpid(), signal.SIGKILL)


def _flood():
  sys.stdout.write("x" * 10_000_000)
  sys.stdout.flush()


def _garbage():
  for fd in range(3, 64):
    try:
      if os.readlink(f"/proc/self/fd/{fd}").startswith("socket:"):
        os.write(fd, os.urandom(64))
    except OSError:
      continue


def _exception():
  raise RuntimeError("chaos")


def _told():
  raise EnvironmentFailed("chaos, told")


FAULTS = {
  "hang": lambda: time.sleep(3600),
  "late": lambda: time.sleep(3.0),
  "slow": lambda: time.sleep(0.3),
  "die": _die,
  "flood": _flood,
  "garbage": _garbage,
  "exception": _exception,
  "told": _told,
}
