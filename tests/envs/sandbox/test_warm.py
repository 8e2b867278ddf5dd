"""Pools and sessions; that nothing gets out of them is in tests/envs/red_team."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agentrl.envs import sandbox as package
from agentrl.envs.sandbox import ISOLATORS, Limits, Sandbox, WarmPool, cgroup, guest, shared_pool, warm
from agentrl.types import EnvironmentFailed

LIMITS = Limits(wall_seconds=5.0, cpu_seconds=2, processes=8, file_bytes=1 << 20)


@pytest.fixture(scope="module", params=tuple(ISOLATORS))
def sandbox(request):
  return Sandbox(LIMITS, isolator=request.param)


@pytest.fixture(scope="module")
def either():
  return Sandbox(LIMITS)


@pytest.fixture
def pool(sandbox):
  with WarmPool(sandbox, size=2) as one:
    yield one


def until(condition, seconds=60.0):
  deadline = time.monotonic() + seconds
  while not condition():
    assert time.monotonic() < deadline, "it did not come to pass within a minute"
    time.sleep(0.01)


def is_full(pool, size):
  return lambda: len(pool._waiting) == size


def is_running(pid):
  try:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
  except OSError:
    return False


# ---- pools ----------------------------------------------------------------------------------------------------------


def test_calls_are_served_by_interpreters_that_wait(pool):
  pool.run("1")
  until(is_full(pool, 2))
  waiting = list(pool._waiting)
  assert pool.run("6 * 7").stdout == "42\n"
  assert waiting[0]._ended
  assert not waiting[1]._ended
  until(is_full(pool, 2))
  assert not set(waiting) <= set(pool._waiting)


def test_nothing_starts_before_the_first_call(either):
  with WarmPool(either, size=2) as pool:
    assert not pool._waiting
    pool.run("1")
    until(is_full(pool, 2))


def test_a_pool_of_none_starts_one_for_each_call(either):
  with WarmPool(either, size=0) as pool:
    assert [pool.run(f"{i} + 1").stdout for i in range(2)] == ["1\n", "2\n"]
    assert not pool._waiting


def test_exit_codes_and_errors_come_through(pool):
  assert pool.run("import sys; sys.exit(3)").exit_code == 3
  failed = pool.run("1 / 0")
  assert (failed.exit_code, failed.stderr.splitlines()[-1]) == (1, "ZeroDivisionError: division by zero")
  assert pool.run("import os; os.abort()").killed_by == "SIGABRT"


def test_threads_and_exit_handlers_finish_as_in_a_script(pool):
  code = """
import atexit, threading, time
atexit.register(print, "at exit")
threading.Thread(target=lambda: (time.sleep(0.1), print("thread"))).start()
print("script")
"""
  assert pool.run(code).stdout == "script\nthread\nat exit\n"


def test_many_threads_get_their_own_answers_and_leave_no_descriptors(sandbox):
  def count():
    return len(os.listdir("/proc/self/fd"))

  before = count()
  with WarmPool(sandbox, size=3) as pool, ThreadPoolExecutor(8) as threads:
    answers = list(threads.map(lambda i: pool.run(f"{i} ** 2").stdout, range(24)))
    until(is_full(pool, 3))
  assert answers == [f"{i**2}\n" for i in range(24)]
  assert count() == before


def test_one_that_died_waiting_is_replaced(pool):
  pool.run("1")
  until(is_full(pool, 2))
  for waiting in pool._waiting:
    os.killpg(waiting._process.pid, signal.SIGKILL)
  until(lambda: not any(waiting.is_alive() for waiting in pool._waiting))
  dead = list(pool._waiting)
  assert pool.run("6 * 7").stdout == "42\n"
  assert all(one._ended for one in dead)
  until(is_full(pool, 2))
  assert all(waiting.is_alive() for waiting in pool._waiting)


def test_one_that_dies_as_it_is_handed_out_is_replaced(pool, monkeypatch):
  pool.run("1")
  until(is_full(pool, 2))
  for waiting in pool._waiting:
    os.killpg(waiting._process.pid, signal.SIGKILL)
    waiting._process.stdout.read()  # the interpreter ends behind its isolator, and might take the cell until then
  monkeypatch.setattr(guest.Guest, "is_alive", lambda self: True)
  assert pool.run("6 * 7").stdout == "42\n"


def test_when_none_takes_a_cell_it_is_not_the_policys_failure(either, monkeypatch):
  monkeypatch.setattr(warm, "_COMMAND", ["/usr/bin/python3", "-c", "raise SystemExit('broken interpreter')"])
  with WarmPool(either, size=1) as pool:
    with pytest.raises(EnvironmentFailed, match=r"3 sandboxed interpreters ended .*: broken interpreter"):
      pool.run("1")
    with pytest.raises(EnvironmentFailed, match="broken interpreter"):
      pool.session().run("1")


def test_one_that_never_takes_its_cell_is_not_the_policys_failure(either, monkeypatch):
  monkeypatch.setattr(warm, "_COMMAND", ["/usr/bin/python3", "-c", "import time; time.sleep(60)"])
  monkeypatch.setattr(guest, "_START_SECONDS", 0.5)
  with WarmPool(either, size=0) as pool, pytest.raises(EnvironmentFailed, match=r"did not start within 0\.5 s"):
    pool.run("1")


def test_a_cell_that_is_too_large_for_its_interpreter_is_the_policys_failure():
  with WarmPool(Sandbox(Limits(memory_bytes=96 << 20)), size=0) as pool:
    done = pool.run(f"# {'x' * (120 << 20)}")
  assert (done.exit_code, done.stderr.splitlines()[-1]) == (1, "MemoryError")


def test_the_start_of_an_interpreter_is_not_the_cells_time(monkeypatch):
  slow = "import time\ntime.sleep(2.5)\n"
  monkeypatch.setattr(warm, "_COMMAND", [*warm._COMMAND[:-1], slow + warm._COMMAND[-1]])
  with WarmPool(Sandbox(Limits(wall_seconds=2.0)), size=0) as pool:
    done = pool.run("6 * 7")
    assert (done.stdout, done.killed_by) == ("42\n", None)
    late = pool.run("import time; time.sleep(6); print('late')")
    assert (late.stdout, late.killed_by) == ("", "wall time")


def test_waiting_uses_no_time():
  with WarmPool(Sandbox(Limits(wall_seconds=2.0, cpu_seconds=1)), size=1) as pool:
    pool.run("1")
    until(is_full(pool, 1))
    (waiting,) = pool._waiting
    time.sleep(2.2)
    assert waiting.is_alive()
    done = pool.run("import time; time.sleep(0.5); print('slept', time.process_time() < 0.7)")
    assert waiting._ended
  assert (done.stdout, done.killed_by) == ("slept True\n", None)


def test_closing_ends_those_that_wait(sandbox):
  pool = WarmPool(sandbox, size=2)
  pool.run("1")
  until(is_full(pool, 2))
  pids = [waiting._process.pid for waiting in pool._waiting]
  assert all(map(is_running, pids))
  pool.close()
  pool.close()
  assert not any(map(is_running, pids))
  with pytest.raises(RuntimeError, match="closed"):
    pool.run("1")


def test_closing_while_others_run_lets_them_finish(sandbox):
  with ThreadPoolExecutor(1) as threads:
    with WarmPool(sandbox, size=2) as pool:
      running = threads.submit(pool.run, "import time; print('begun', flush=True); time.sleep(0.5); print('ended')")
      time.sleep(0.2)
    assert running.exception() or running.result().stdout == "begun\nended\n"
  assert not pool._waiting


def test_those_that_wait_survive_the_thread_that_called(pool):
  thread = threading.Thread(target=pool.run, args=("1",))
  thread.start()
  thread.join()
  until(is_full(pool, 2))
  time.sleep(0.3)
  assert all(waiting.is_alive() for waiting in pool._waiting)


def test_a_forked_process_has_interpreters_of_its_own(pool):
  pool.run("1")
  until(is_full(pool, 2))
  reading, writing = os.pipe()
  child = os.fork()
  if child == 0:
    os.write(writing, pool.run("6 * 7").stdout.encode())
    os._exit(0)
  os.close(writing)
  with os.fdopen(reading, "rb") as answer:
    assert answer.read() == b"42\n"
  os.waitpid(child, 0)
  assert all(waiting.is_alive() for waiting in pool._waiting)
  assert pool.run("6 * 7").stdout == "42\n"


def test_those_that_wait_die_with_the_trainer_and_their_groups_are_swept():
  code = """
import time
from agentrl.envs.sandbox import Limits, Sandbox, WarmPool
pool = WarmPool(Sandbox(Limits()), size=2)
session = pool.session()
session.run("1")
while len(pool._waiting) < 2:
  time.sleep(0.01)
print(*[guest._process.pid for guest in (*pool._waiting, session._guest)], flush=True)
time.sleep(100)
"""
  root = Path(package.__file__).parents[3]
  trainer = subprocess.Popen([sys.executable, "-c", code], cwd=root, stdout=subprocess.PIPE, text=True)
  pids = list(map(int, trainer.stdout.readline().split()))
  assert len(pids) == 3
  assert all(map(is_running, pids))
  trainer.kill()
  trainer.wait(10)
  trainer.stdout.close()
  until(lambda: not any(map(is_running, pids)))
  parents = cgroup._parents(os.getpid())
  for parent in [] if parents is None else parents.each():
    until(lambda parent=parent: cgroup._sweep(parent) or not list(parent.glob(f"agentrl-{trainer.pid}-*")))


def test_the_shared_pool_is_one_per_limits():
  assert shared_pool(LIMITS) is shared_pool(Limits(**vars(LIMITS)))
  assert shared_pool(LIMITS) is not shared_pool(Limits())


def test_a_negative_size_is_an_error(either):
  with pytest.raises(ValueError, match="size must not be negative, got -1"):
    WarmPool(either, size=-1)


# ---- sessions -------------------------------------------------------------------------------------------------------


@pytest.fixture
def session(pool):
  with contextlib.closing(pool.session()) as one:
    yield one


def test_a_session_keeps_variables_imports_files_and_folder(session):
  session.run(
    "import math, os\nx = 41\ndef f(): return x + 1\nopen('kept', 'w').write('a')\nos.mkdir('d'); os.chdir('d')"
  )
  assert session.run("x += 1; f(), math.pi > 3, os.path.exists('../kept'), os.getcwd()").stdout.startswith("(43, True,")


def test_an_error_costs_nothing(session):
  session.run("x = 1")
  failed = session.run("x = 2\ndef f():\n  return 1 / 0\nf()")
  assert (failed.exit_code, failed.alive) == (1, True)
  assert session.run("x").stdout == "2\n"
  assert session.run("f()").stderr.splitlines() == [
    "Traceback (most recent call last):",
    '  File "code4.py", line 1, in <module>',
    "    f()",
    '  File "code2.py", line 3, in f',
    "    return 1 / 0",
    *(["           ~~^~~"] if "~" in failed.stderr else []),
    "ZeroDivisionError: division by zero",
  ]


def test_output_belongs_to_its_cell(session):
  for i in range(20):
    done = session.run(f"import sys; print('out', {i}); print('error', {i}, file=sys.stderr)")
    assert (done.stdout, done.stderr) == (f"out {i}\n", f"error {i}\n")


@pytest.mark.parametrize(
  ("code", "how"),
  [
    ("while True: pass", "wall time|SIGXCPU"),
    ("import time; time.sleep(60)", "wall time"),
    ("while True: print('x' * 9999)", "output"),
    ("import os; os.abort()", "SIGABRT"),
    ("import sys; sys.exit(0)", "None"),
  ],
)
def test_an_interpreter_that_ends_costs_the_state(code, how):
  with WarmPool(Sandbox(Limits(wall_seconds=1.0)), size=0) as pool, contextlib.closing(pool.session()) as session:
    session.run("x = 1")
    ended = session.run(code)
    assert re.fullmatch(how, str(ended.killed_by))
    assert not ended.alive
    assert "NameError" in session.run("x").stderr


def test_each_cell_has_a_deadline_of_its_own(either):
  limits = Limits(wall_seconds=2.5)
  with WarmPool(Sandbox(limits), size=0) as pool, contextlib.closing(pool.session()) as session:
    for _ in range(4):
      assert session.run("import time; time.sleep(0.8)").alive


def test_a_cell_is_not_run_where_the_state_was_lost_in_between(session):
  # Late enough for the answer of this cell to be read before, also on a busy machine.
  session.run("import os, threading, time\nthreading.Timer(1.0, os._exit, (0,)).start()")
  until(lambda: not session._guest.is_alive())
  assert session.run("print('run')") is None
  assert session.run("print('run')").stdout == "run\n"


def test_a_session_outlives_the_thread_that_began_it(session):
  thread = threading.Thread(target=session.run, args=("x = 7",))
  thread.start()
  thread.join()
  time.sleep(0.3)
  assert session.run("x").stdout == "7\n"


def test_closing_ends_a_cell_that_runs():
  pool = WarmPool(Sandbox(Limits(wall_seconds=600.0)), size=0)
  session = pool.session()
  session.run("x = 1")
  pid = session._guest._process.pid
  with ThreadPoolExecutor(1) as threads:
    running = threads.submit(session.run, "import time; time.sleep(60)")
    time.sleep(0.2)
    session.close()
    assert isinstance(running.exception(60), EnvironmentFailed)
  assert not is_running(pid)
  with pytest.raises(RuntimeError, match="the session is closed"):
    session.run("1")


def test_leftover_forks_do_not_take_cells(session):
  session.run("import os\npid = os.fork()")
  assert session.run("pid > 0").stdout == "True\n"
  assert session.run("1 + 1").stdout == "2\n"
