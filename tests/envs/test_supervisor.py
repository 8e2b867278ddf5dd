import contextlib
import os
import pathlib
import resource
import signal
import subprocess
import sys
import time

import pytest

from agentrl.envs import supervisor


@pytest.fixture
def started():
  """Starts a command under a supervisor: the process, and the holder's end of the lifeline."""
  processes = []

  def start(*command, number=None, under=()):
    lifeline, ours = os.pipe()
    if number is not None:
      os.dup2(lifeline, number)
      os.close(lifeline)
      lifeline = number
    pipe = subprocess.PIPE
    process = subprocess.Popen(
      [*under, *supervisor.supervised(lifeline, command)],
      stdin=pipe,
      stdout=pipe,
      stderr=pipe,
      pass_fds=(lifeline,),
      text=True,
    )
    os.close(lifeline)
    processes.append((process, ours))
    return process, ours

  yield start
  for process, ours in processes:
    with contextlib.suppress(OSError):
      os.close(ours)
    process.communicate(timeout=30)


def alive(pid):
  with contextlib.suppress(OSError):
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
  return False


def gone(pids):
  deadline = time.monotonic() + 30
  while any(map(alive, pids)) and time.monotonic() < deadline:
    time.sleep(0.02)
  return not any(map(alive, pids))


def become(pid, user):
  """Waits until a process runs as a user."""
  deadline = time.monotonic() + 30
  while pathlib.Path(f"/proc/{pid}/status").read_text().split("Uid:")[1].split()[1] != str(user):
    assert time.monotonic() < deadline
    time.sleep(0.02)


@pytest.mark.parametrize(
  ("script", "code"), [("exit 3", 3), ("exit 0", 0), ("kill -TERM $$", -signal.SIGTERM), ("kill -KILL $$", -9)]
)
def test_ends_as_the_command_does(started, script, code):
  process, _ = started("sh", "-c", script)
  assert process.wait(30) == code


def test_what_is_written_and_read_is_the_command_s(started):
  process, _ = started("sh", "-c", "read line; echo got $line; echo oh >&2")
  assert process.communicate("x\n", timeout=30) == ("got x\n", "oh\n")


def test_a_command_that_cannot_be_run_says_so(started):
  process, _ = started("no-such-command")
  assert process.communicate(timeout=30)[1].startswith("cannot run no-such-command: ")
  assert process.returncode == 127


# Three descendants: the command, a child in a session of its own, and an orphan of an orphan in another one.
FAMILY = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
nothing = {name: subprocess.DEVNULL for name in ("stdin", "stdout", "stderr")}
child = subprocess.Popen(["sleep", "600"], start_new_session=True, **nothing)
orphan = subprocess.run(["sh", "-c", "setsid sleep 600 > /dev/null 2>&1 & echo $!"], capture_output=True, text=True)
print(os.getpid(), child.pid, orphan.stdout.strip(), flush=True)
time.sleep(float(sys.argv[1]))
"""


@pytest.mark.parametrize("how", ["the lifeline closes", "the command ends", "the command is killed"])
def test_all_that_descends_from_the_command_ends(started, how):
  process, lifeline = started(sys.executable, "-c", FAMILY, "0" if how == "the command ends" else "600")
  pids = [int(pid) for pid in process.stdout.readline().split()]
  assert len(pids) == 3
  if how == "the lifeline closes":
    assert all(map(alive, pids))
    os.close(lifeline)
  elif how == "the command is killed":
    os.kill(pids[0], signal.SIGKILL)
  assert gone(pids)
  process.wait(30)


@pytest.fixture
def many_files():
  """As many files as a trainer with hundreds of trajectories has, where the machine lets us have them."""
  usual = resource.getrlimit(resource.RLIMIT_NOFILE)
  if usual[1] != resource.RLIM_INFINITY and usual[1] < 2000:
    pytest.skip("this machine lets nobody have 2000 open files")
  resource.setrlimit(resource.RLIMIT_NOFILE, (2000, usual[1]))
  yield
  resource.setrlimit(resource.RLIMIT_NOFILE, usual)


def test_the_lifeline_may_have_any_number(started, many_files):
  process, lifeline = started("sh", "-c", "echo $$; read line; exit 3", number=1500)
  pid = int(process.stdout.readline())
  process.stdin.write("x\n")
  process.stdin.flush()
  assert process.wait(30) == 3
  process, lifeline = started("sh", "-c", "echo $$; exec sleep 600", number=1500)
  pid = int(process.stdout.readline())
  os.close(lifeline)
  assert gone([pid])


@pytest.mark.skipif(os.getuid() != 0, reason="only root can have a process become another user's")
def test_a_descendant_that_may_not_be_killed_saves_no_other(started):
  """Two that have become another user's, under a supervisor that may not kill those."""
  others = "setpriv --reuid 65534 sleep 600 & echo $!"
  process, lifeline = started(
    "sh", "-c", f"{others}; sleep 600 & echo $!; {others}; wait", under=("setpriv", "--bounding-set=-kill")
  )
  pids = [int(process.stdout.readline()) for _ in range(3)]
  for pid in (pids[0], pids[2]):
    become(pid, 65534)
  os.close(lifeline)
  assert gone([pids[1]])
  assert process.wait(30) == -signal.SIGKILL
  for pid in (pids[0], pids[2]):
    assert alive(pid)
    os.kill(pid, signal.SIGKILL)


def test_signals_of_a_terminal_reach_the_command_as_usual_and_not_the_supervisor(started):
  process, _ = started("sh", "-c", "echo $$; exec sleep 600")
  pid = int(process.stdout.readline())
  for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    process.send_signal(ignored)
  os.kill(pid, signal.SIGINT)
  assert process.wait(30) == -signal.SIGINT


def test_a_killed_supervisor_takes_the_command_along(started):
  process, _ = started("sh", "-c", "echo $$; exec sleep 600")
  pid = int(process.stdout.readline())
  process.kill()
  assert gone([pid])
