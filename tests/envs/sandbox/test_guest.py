"""How the end of a guest is told: its own doing once its code runs, the environment's failure before."""

import contextlib
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agentrl.envs.sandbox import ISOLATORS, PYTHON, Limits, Sandbox, WarmPool, cgroup, guest
from agentrl.envs.sandbox.guest import Guest
from agentrl.envs.tools.python import PythonSession
from agentrl.types import EnvironmentFailed

LIMITS = Limits(wall_seconds=60.0, processes=8, memory_bytes=128 << 20, file_bytes=1 << 20)
SLEEP = "import os, time\nos.write(1, b'.')\ntime.sleep(600)"


@pytest.fixture(params=tuple(ISOLATORS))
def sandbox(request):
  return Sandbox(LIMITS, isolator=request.param)


@pytest.fixture
def started(monkeypatch):
  """Every guest that is started, in order."""
  found = []
  start = Guest.__init__

  def noted(self, *arguments, **options):
    start(self, *arguments, **options)
    found.append(self)

  monkeypatch.setattr(Guest, "__init__", noted)
  return found


def lose_monitor_once_it_runs(monkeypatch, started):
  """What the kernel does to the monitor of a guest when it has used up the machine's memory."""
  receive = guest.Exchange._receive

  def receive_and_kill(self, stream):
    over = receive(self, stream)
    if self.stdout == b".":
      os.kill(started[-1]._process.pid, signal.SIGKILL)
    return over

  monkeypatch.setattr(guest.Exchange, "_receive", receive_and_kill)


def test_a_lost_monitor_is_the_end_of_its_cell(sandbox, started, monkeypatch):
  lose_monitor_once_it_runs(monkeypatch, started)
  with WarmPool(sandbox, size=0) as pool:
    lost = pool.run(SLEEP)
  assert (lost.stdout, lost.exit_code, lost.killed_by, lost.alive) == (".", 137, "SIGKILL", False)


def test_a_lost_monitor_is_the_end_of_its_command(sandbox, started, monkeypatch):
  lose_monitor_once_it_runs(monkeypatch, started)
  lost = sandbox.run([*PYTHON, "-c", SLEEP])
  assert (lost.stdout, lost.exit_code, lost.killed_by) == (".", 137, "SIGKILL")


def test_the_policy_is_told_of_it(sandbox, started, monkeypatch):
  lose_monitor_once_it_runs(monkeypatch, started)
  with WarmPool(sandbox, size=0) as pool, contextlib.closing(PythonSession(pool)) as tool:
    assert tool.python("x = 1") == ""
    assert "ended by SIGKILL, perhaps for using too much memory]\n[the interpreter was ended" in tool.python(SLEEP)
    assert "NameError" in tool.python("x")


def test_what_the_trainer_itself_ends_is_nobodys_fault(sandbox, started):
  with ThreadPoolExecutor(1) as threads:
    running = threads.submit(sandbox.run, [*PYTHON, "-c", "import time; time.sleep(600)"])
    while not started:
      threading.Event().wait(0.01)
    started[0].kill()
    assert isinstance(running.exception(60), EnvironmentFailed)


def test_a_monitor_that_is_lost_before_the_command_begins_is_the_environments_failure(sandbox, monkeypatch):
  monkeypatch.setattr(sandbox, "_isolate", lambda *_: ["/bin/sh", "-c", "kill -9 $$"])
  with pytest.raises(EnvironmentFailed, match="did not run its command"):
    sandbox.run([*PYTHON, "-c", "1"])


def test_the_guest_alone_is_in_the_group(sandbox):
  """Its monitor and process 1 are not, so that nothing in the group can cost them their lives."""
  if cgroup.groups(LIMITS) is None:
    pytest.skip("this machine lets nobody make a control group")
  with contextlib.closing(sandbox.start([*PYTHON, "-c", SLEEP])) as one:
    one._process.stdout.read(1)
    for folder in one._group.folders.each():
      (member,) = (folder / "cgroup.procs").read_text().split()
      assert b"time.sleep(600)" in Path(f"/proc/{member}/cmdline").read_bytes()
      assert int(member) != one._process.pid


def test_what_a_cell_leaves_running_is_light(sandbox, started):
  """And heavy again in the next cell, and in the group's next guest."""
  if cgroup.groups(LIMITS) is None:
    pytest.skip("this machine lets nobody make a control group")

  def cpu_folder():
    return started[-1]._group.folders.cpu

  with WarmPool(sandbox, size=0) as pool, contextlib.closing(pool.session()) as session:
    assert session.run("x = 1").alive
    names = [name for name in cgroup._WEIGHTS if cpu_folder() is not None and (cpu_folder() / name).exists()]
    if not names:
      pytest.skip("groups of this machine do not share out the cores")
    light, usual = map(str, cgroup._WEIGHTS[names[0]])

    def weight():
      return (cpu_folder() / names[0]).read_text().strip()

    assert weight() == light
    with ThreadPoolExecutor(1) as threads:
      running = threads.submit(session.run, "import time\ntime.sleep(0.5)")
      while weight() == light:
        assert not running.done()
      assert weight() == usual
    assert weight() == light
  with contextlib.closing(sandbox.start([*PYTHON, "-c", SLEEP])):
    assert weight() == usual
