"""Arithmetic with a calculator, in a world where calls go wrong, and otherwise on another try.

Of the calls of all worker processes, which the file `task.data["calls"]` counts with a byte each, one in
`task.data["every"]` meets a fault, the kinds in turns. Only training tasks from number `task.data["first"]` on are
struck, so that a cold start and the evaluations are as they would be.
"""

import dataclasses
import fcntl
import os
import signal
import sys
import time

from agentrl.envs.base import ToolEnvironment
from agentrl.envs.tasks import arithmetic
from agentrl.envs.tools.calculator import Calculator
from agentrl.types import EnvironmentFailed

_LAST = 2**30  # examples come from beyond


def generate(index, *, split, difficulty=1, seed=0, every=0, first=0, calls=""):
  task = arithmetic.generate(index, split=split, difficulty=difficulty, seed=seed)
  struck = split == "train" and first <= index < _LAST
  return dataclasses.replace(task, data={**task.data, "every": every if struck else 0, "calls": calls})


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
    every = self._task.data["every"]
    if not every:
      return
    with open(self._task.data["calls"], "ab") as calls:
      fcntl.flock(calls, fcntl.LOCK_EX)
      calls.write(b".")
      calls.flush()
      number = calls.tell()
    if number % every == 0:
      FAULTS[number // every % len(FAULTS)]()


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


FAULTS = (
  lambda: time.sleep(3600),  # hangs
  lambda: time.sleep(3.0),  # answers late
  lambda: time.sleep(0.3),  # is slow
  _die,
  _flood,
  _garbage,
  _exception,
  _told,
)
