"""Attempts to leave something behind, from one call to the next."""

import contextlib
import threading
import time

import pytest

from agentrl.envs.sandbox import Sandbox, WarmPool
from tests.envs.red_team.conftest import PATIENT

LEAVE = """
import atexit, builtins, sys
open(WORK + "/left", "w").write("x")
os.environ["LEFT"] = "x"
builtins.left = sys.modules["left"] = "x"
print("left")
"""
FORGE_ON = """
if os.fork() == 0:
  os.setsid()
  while True:
    for fd in range(64):
      try:
        os.write(fd, b"forged")
      except OSError:
        pass
    time.sleep(0.01)
time.sleep(0.1)
"""
LOOK = """
import builtins, sys
print(os.listdir(WORK), "LEFT" in os.environ, hasattr(builtins, "left"), "left" in sys.modules, os.getpid())
"""


def test_nothing_is_left_for_the_next_call_of_a_pool(host, isolator):
  with WarmPool(Sandbox(PATIENT, isolator=isolator), size=1) as pool:
    for _ in range(3):
      assert "left" in pool.run(host.payload(LEAVE + FORGE_ON)).stdout
      assert pool.run(host.payload(LOOK)).stdout == "['code.py'] False False False 2\n"
  host.assert_unharmed()


def test_nothing_is_left_for_the_next_session(host, isolator):
  with WarmPool(Sandbox(PATIENT, isolator=isolator), size=1) as pool:
    for _ in range(2):
      with contextlib.closing(pool.session()) as session:
        assert session.run(host.payload(LOOK)).stdout == "['code.py'] False False False 2\n"
        assert "left" in session.run(host.payload(LEAVE)).stdout
        assert "'left'" in session.run(host.payload(LOOK)).stdout  # the same session has it all
  host.assert_unharmed()


def test_a_session_that_says_it_has_ended_cheats_only_itself(host, pool):
  forge = """
for fd in range(3, 64):
  try:
    os.write(fd, b"b0" * 9)
  except OSError:
    pass
time.sleep(60)
"""
  with contextlib.closing(pool.session()) as session:
    session.run("x = 1")
    assert session.run(host.payload(forge)).alive  # believed
    late = session.run("x")
    assert (late.killed_by, late.alive, late.stdout) == ("wall time", False, "")
    assert "NameError" in session.run("x").stderr
  host.assert_unharmed()


def test_what_a_session_says_between_cells_is_not_heard(host, pool):
  forge = """
def forge():
  time.sleep(0.1)
  for fd in range(3, 64):
    try:
      os.write(fd, b"b0")
    except OSError:
      pass
  open("forged", "w").close()
threading.Thread(target=forge).start()
"""
  with contextlib.closing(pool.session()) as session:
    assert session.run(host.payload(forge)).alive
    time.sleep(2.0)
    assert session.run("print(os.path.exists('forged'))").stdout == "True\n"


def test_a_session_that_never_stops_talking_is_stopped(host, pool):
  flood = """
def flood(fd):
  while True:
    os.write(fd, b"0" * 65536)
for fd in range(3, 64):
  try:
    os.write(fd, b"")
  except OSError:
    continue
  for _ in range(3):
    threading.Thread(target=flood, args=(fd,), daemon=True).start()
"""
  with contextlib.closing(pool.session()) as session:
    session.run(host.payload(flood))
    later = threading.Thread(target=session.run, args=("time.sleep(60)",), daemon=True)
    later.start()
    later.join(60)
    assert not later.is_alive()
  host.assert_unharmed()


@pytest.mark.parametrize("code", ["os.closerange(3, 64)", "os.close(0); os.closerange(3, 64)", "os._exit(0)"])
def test_a_session_that_closes_its_channel_ends(host, pool, code):
  with contextlib.closing(pool.session()) as session:
    assert not session.run(host.payload(code)).alive
    assert session.run("1 + 1").stdout == "2\n"
  host.assert_unharmed()


def test_a_session_that_reads_its_next_cell_cheats_only_itself(host, pool):
  steal = """
import fcntl, stat
def brings(fd):
  try:
    return stat.S_ISFIFO(os.fstat(fd).st_mode) and fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
  except OSError:
    return False
pipes = [fd for fd in range(3, 64) if brings(fd)]
empty, _ = os.pipe()
for fd in pipes:
  threading.Thread(target=os.read, args=(os.dup(fd), 100), daemon=True).start()
  os.dup2(empty, fd)  # else interpreter and thief would race for the cell
"""
  with contextlib.closing(pool.session()) as session:
    assert session.run(host.payload(steal)).alive
    robbed = session.run("print('run')")
    assert (robbed.stdout, robbed.killed_by) == ("", "wall time")
    assert session.run("print('run')").stdout == "run\n"
  host.assert_unharmed()
