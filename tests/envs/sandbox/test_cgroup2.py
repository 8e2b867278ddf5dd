"""Version 2 of control groups as the kernel has it: what `test_cgroup.py` can only show with files of its own.

Needs a process that may make such groups; `scripts/test_cgroup2.sh` starts a virtual machine where it may.
"""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from agentrl.envs.sandbox import ISOLATORS, Limits, Sandbox, WarmPool, cgroup
from agentrl.envs.sandbox.cgroup import Folders, Group, Groups
from agentrl.envs.sandbox.probe import look_inside
from agentrl.envs.tools.python import PythonSession

LIMITS = Limits(wall_seconds=60.0, cpu_seconds=60, memory_bytes=128 << 20, file_bytes=1 << 20, processes=8)

# Four processes that together would hold twice what the tree may, each half of what a process may.
HOARD = """
import os, time
for _ in range(4):
  if os.fork() == 0:
    block = bytearray(b"x") * (64 << 20)
    time.sleep(120)
print(os.wait())
time.sleep(120)
"""


@pytest.fixture(scope="module")
def parents() -> Folders:
  """The group in which groups are made."""
  parents = cgroup._parents(os.getpid())
  if parents is None or not (parents.memory / "cgroup.controllers").exists():
    pytest.skip("this process can make no groups of version 2; scripts/test_cgroup2.sh has a machine where it can")
  return parents


@pytest.fixture(scope="module")
def parent(parents) -> pathlib.Path:
  return parents.memory


@pytest.fixture(params=tuple(ISOLATORS))
def isolator(request, parent) -> str:
  return request.param


@pytest.fixture
def pool(isolator):
  with WarmPool(Sandbox(LIMITS, isolator=isolator), size=0) as pool:
    yield pool


@pytest.fixture
def group(parents):
  groups = Groups(parents, LIMITS)
  yield groups.acquire()
  groups.close()


def until(holds: Callable[[], bool]) -> None:
  """Waits for what the kernel does in its own time."""
  deadline = time.monotonic() + 60.0
  while not holds():
    assert time.monotonic() < deadline
    time.sleep(0.05)


def made(parent: pathlib.Path, pid: int) -> list[pathlib.Path]:
  """Groups that a process made."""
  return list(parent.glob(f"agentrl-{pid}-*"))


def number(path: pathlib.Path) -> int:
  return int(path.read_text())


def counted(path: pathlib.Path) -> dict[str, int]:
  """A file of names and numbers."""
  return {name: int(count) for name, count in map(str.split, path.read_text().splitlines())}


def run_in(group: Group, code: str) -> subprocess.CompletedProcess:
  """Runs code in a group, with no other limit and no isolation."""
  waiting = [sys.executable, "-c", f"input()\n{code}"]
  with subprocess.Popen(waiting, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
    (group.folders.memory / "cgroup.procs").write_text(str(process.pid))
    stdout, _ = process.communicate("\n", timeout=120)
  return subprocess.CompletedProcess(waiting, process.returncode, stdout)


def test_every_layer_holds_and_memory_of_the_tree_is_one(isolator):
  report = look_inside(isolator, ISOLATORS[isolator])
  assert not report.open_layers
  assert report.tree_memory_capped is True


def test_the_kernel_has_the_limits(group):
  folder = group.folders.memory
  assert number(folder / "pids.max") >= LIMITS.processes
  assert number(folder / "memory.max") == LIMITS.memory_bytes + LIMITS.file_bytes + (16 << 20)
  assert not (folder / "memory.swap.max").exists() or number(folder / "memory.swap.max") == 0


def test_a_group_has_no_more_processes_than_its_limit(group):
  forks = """
import os, time
os.setsid()
children = 0
try:
  while children < 100:
    if os.fork() == 0:
      time.sleep(120)
    children += 1
except BlockingIOError:
  print(children, flush=True)
os.killpg(0, 9)
"""
  done = run_in(group, forks)
  assert int(done.stdout) == number(group.folders.pids / "pids.max") - 1
  assert counted(group.folders.pids / "pids.events")["max"] >= 1


def test_a_group_has_no_more_memory_than_its_limit(group):
  done = run_in(group, f"block = bytearray(b'x') * {LIMITS.memory_bytes * 2}")
  assert done.returncode == -signal.SIGKILL
  assert counted(group.folders.memory / "memory.events")["oom_kill"] >= 1


def test_a_guest_is_in_a_group_of_its_own_and_leaves_it_empty(parent, pool):
  before = {folder for folder in made(parent, os.getpid()) if number(folder / "pids.current")}
  with contextlib.closing(pool.session()) as session:
    session.run("import os, time\nchildren = [os.fork() or time.sleep(120) for _ in range(3)]")
    (own,) = {folder for folder in made(parent, os.getpid()) if number(folder / "pids.current")} - before
    assert 4 <= number(own / "pids.current") <= number(own / "pids.max")
    assert number(own / "memory.max") == LIMITS.memory_bytes + LIMITS.file_bytes + (16 << 20)
    assert 0 < number(own / "memory.current") <= number(own / "memory.max")
  until(lambda: number(own / "pids.current") == 0)


def test_a_tree_that_takes_too_much_memory_ends_alone(parent, pool):
  completed = pool.run(HOARD)
  assert (completed.exit_code, completed.killed_by) == (128 + signal.SIGKILL, "SIGKILL")
  assert completed.stdout == ""  # the tree ends together
  for _ in range(3):
    assert pool.run("6 * 7").stdout == "42\n"


def test_the_policy_is_told_and_its_next_call_runs(pool):
  tool = PythonSession(pool)
  assert tool.python("1 + 1") == "2"
  told = tool.python(HOARD)
  assert "ended by SIGKILL, perhaps for using too much memory" in told
  assert "the next call starts a new one" in told
  assert tool.python("2 + 2") == "4"
  tool.close()


def test_guests_that_take_too_much_leave_others_alone(isolator, pool):
  with contextlib.closing(pool.session()) as session:
    session.run("block = bytearray(b'x') * (48 << 20)")
    assert pool.run(HOARD).killed_by == "SIGKILL"
    assert session.run("len(block) >> 20").stdout == "48\n"


def test_a_fork_bomb_stays_in_its_group(pool):
  completed = pool.run("import os\nwhile True:\n  try: os.fork()\n  except OSError: os._exit(7)")
  assert completed.exit_code == 7
  assert pool.run("6 * 7").stdout == "42\n"


def test_no_group_outlives_its_process(parent):
  code = """
import os
from agentrl.envs.sandbox import Limits, Sandbox, WarmPool
with WarmPool(Sandbox(Limits()), size=1) as pool:
  print(pool.run("6 * 7").stdout, os.getpid())
"""
  root = pathlib.Path(cgroup.__file__).parents[3]
  done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=300)
  answer, pid = done.stdout.split()
  assert answer == "42"
  assert not made(parent, int(pid))
