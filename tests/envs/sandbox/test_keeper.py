import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agentrl.envs import sandbox as package
from agentrl.envs.sandbox.keeper import Keeper


def until(condition):
  deadline = time.monotonic() + 60.0
  while not condition():
    assert time.monotonic() < deadline, "it did not come to pass within a minute"
    time.sleep(0.01)


@pytest.fixture
def sleepers():
  """Two process groups that no kernel flag ends."""
  started = [subprocess.Popen(["/usr/bin/sleep", "600"], start_new_session=True) for _ in range(2)]
  yield started
  for one in started:
    one.kill()
    one.wait()


def lose(keeper):
  """What the end of the trainer does."""
  keeper._process.stdin.close()
  keeper._process.wait(60)


def test_kills_what_is_left_and_nothing_else(sleepers):
  keeper = Keeper()
  for one in sleepers:
    keeper.add(one.pid)
  keeper.remove(sleepers[0].pid)
  lose(keeper)
  assert sleepers[1].wait(60) == -signal.SIGKILL
  assert sleepers[0].poll() is None


def test_a_lost_keeper_is_replaced_and_knows_all(sleepers):
  keeper = Keeper()
  keeper.add(sleepers[0].pid)
  keeper._process.kill()
  keeper._process.wait()
  keeper.add(sleepers[1].pid)
  lose(keeper)
  assert [one.wait(60) for one in sleepers] == [-signal.SIGKILL] * 2


def test_guests_that_are_still_starting_die_with_the_trainer():
  """Killed at once, bubblewrap's first process has not asked to die with its parent yet."""
  code = """
from agentrl.envs.sandbox import PYTHON, Sandbox, Limits, probe
from agentrl.envs.sandbox.sandbox import Sandbox
sandbox = Sandbox(Limits())
guests = [sandbox.start([*PYTHON, "-c", "import time; time.sleep(600)"]) for _ in range(6)]
print(*[guest._process.pid for guest in guests], flush=True)
input()
"""
  root = Path(package.__file__).parents[3]
  for _ in range(3):
    trainer = subprocess.Popen(
      [sys.executable, "-c", code], cwd=root, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )
    groups = list(map(int, trainer.stdout.readline().split()))
    trainer.kill()
    trainer.communicate()
    assert len(groups) == 6
    until(lambda groups=groups: not any(map(_has_members, groups)))


def _has_members(group):
  for path in Path("/proc").glob("[0-9]*/stat"):
    try:
      state, _, member_of = path.read_text().rpartition(")")[2].split()[:3]
    except (FileNotFoundError, ProcessLookupError):
      continue
    if int(member_of) == group and state != "Z":
      return True
  return False


def test_members_are_seen():
  assert _has_members(os.getpgrp())
