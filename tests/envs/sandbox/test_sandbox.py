import ast
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agentrl.envs import sandbox as sandbox_package
from agentrl.envs.sandbox import (
  ISOLATORS,
  PYTHON,
  Completed,
  Limits,
  Sandbox,
  seccomp,
)

LIMITS = Limits(wall_seconds=10.0, processes=8, memory_bytes=256 << 20, file_bytes=1 << 20, output_bytes=1 << 16)


@pytest.fixture(params=tuple(ISOLATORS))
def isolator(request) -> str:
  """Both must hold on the machine that tests: `scripts/test.sh` installs bubblewrap."""
  return request.param


@pytest.fixture
def guest(isolator):
  sandbox = Sandbox(LIMITS, isolator=isolator)

  def run(code: str, *arguments: str, stdin: str = "") -> Completed:
    return sandbox.run([*PYTHON, "-c", code, *arguments], stdin)

  return run


def _with_limits(isolator: str, code: str, **limits) -> Completed:
  return Sandbox(Limits(**limits), isolator=isolator).run([*PYTHON, "-c", code])


def _command_lines(marker: str) -> list[bytes]:
  """Of the host's processes, zombies apart, that carry `marker` on their command line."""
  found = []
  for folder in Path("/proc").glob("[0-9]*"):
    try:
      line = (folder / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
      continue
    if marker.encode() in line:
      found.append(line)
  return found


def _gone(marker: str, within: float = 5.0) -> bool:
  deadline = time.monotonic() + within
  while _command_lines(marker):
    if time.monotonic() > deadline:
      return False
    time.sleep(0.05)
  return True


# ---- what a guest gives back --------------------------------------------------------------------------------------


def test_output_exit_code_and_stdin_come_through(guest):
  done = guest("import sys; print(sys.stdin.read()[::-1]); sys.stderr.write('e'); sys.exit(7)", stdin="abc")
  assert (done.stdout, done.stderr, done.exit_code, done.killed_by, done.timed_out) == ("cba\n", "e", 7, None, False)


def test_a_signal_is_named(guest):
  done = guest("import os; os.abort()")
  assert (done.exit_code, done.killed_by) == (128 + signal.SIGABRT, "SIGABRT")


def test_invalid_utf8_is_replaced(guest):
  assert guest(r"import sys; sys.stdout.buffer.write(b'a\xff\xfeb')").stdout == "a\ufffd\ufffdb"


def test_a_long_stdin_is_read_whole(guest):
  assert guest("import sys; print(len(sys.stdin.read()))", stdin="x" * 3_000_000).stdout == "3000000\n"


def test_a_guest_that_ignores_its_stdin_ends(guest):
  assert guest("print(1)", stdin="x" * 3_000_000).stdout == "1\n"


def test_an_unknown_command_is_an_exit_code(isolator):
  assert Sandbox(LIMITS, isolator=isolator).run(["/usr/bin/no-such-program"]).exit_code == 127


def test_calls_share_nothing(guest):
  assert guest("open('left', 'w').write('x'); print('written')").stdout == "written\n"
  assert guest("import os; print(os.listdir('.'))").stdout == "[]\n"


# ---- getting out --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK"])
def test_no_sockets(guest, family):
  done = guest(f"import socket; socket.socket(socket.{family}, socket.SOCK_DGRAM)")
  assert "PermissionError" in done.stderr


def test_the_network_is_away_even_without_the_filter(guest, monkeypatch):
  allow_all = struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000)
  monkeypatch.setattr(seccomp, "program", lambda machine: allow_all)
  code = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1])), timeout=2)"
  with socket.create_server(("127.0.0.1", 0)) as server:
    done = guest(code, str(server.getsockname()[1]))
  # By its namespace, or before that by Landlock; the filter's error would be EPERM.
  assert re.search("Network is unreachable|Connection refused|Errno 13", done.stderr)


@pytest.mark.parametrize("folder", ["/tmp", "/var/tmp", "/dev/shm"])
def test_files_of_the_host_are_not_there(guest, folder):
  code = "import sys\nfor path in sys.argv[1:]:\n  try: print(open(path).read())\n  except OSError: print('refused')"
  with tempfile.NamedTemporaryFile("w", dir=folder) as secret:
    os.chmod(secret.name, 0o644)
    secret.write("secret")
    secret.flush()
    places = ["/etc/passwd", "/proc/1/environ", "/proc/1/root/etc/passwd", "/sys/kernel/notes", secret.name]
    assert guest(code, *places).stdout.split() == ["refused"] * len(places)


def test_not_even_the_names_of_host_files_are_there(guest):
  done = guest(
    "import os, sys; print([name for name in sys.argv[1:] if os.path.lexists(name)])", *map(str, Path("/").iterdir())
  )
  shown = [f"/{name}" for name in ("bin", "dev", "lib", "lib64", "sbin", "tmp", "usr")]
  assert set(ast.literal_eval(done.stdout)) <= set(shown)


def test_nothing_outside_the_scratch_folder_can_be_written(guest):
  code = """
import os
for path in ('/x', '/usr/x', '/etc/x', '/var/tmp/x', '/dev/x', '/dev/shm/x', '/root/x', '/home/x', '/run/x'):
  try:
    open(path, 'w')
    print('wrote', path)
  except OSError:
    pass
actions = (lambda: os.mkdir('/y'), lambda: os.remove('/usr/bin/env'), lambda: os.link('/usr/bin/env', '/tmp/env'))
for action in actions:
  try:
    action()
    print('did', action)
  except OSError:
    pass
open('/tmp/x', 'w').write('1')
print('end')
"""
  assert guest(code).stdout == "end\n"


def test_our_environment_does_not_leak(guest, monkeypatch):
  monkeypatch.setenv("AGENTRL_SECRET", "hunter2")
  done = guest("import os; print(dict(os.environ))")
  assert "hunter2" not in done.stdout
  assert "'HOME': '/tmp'" in done.stdout


def test_our_descriptors_do_not_leak(guest):
  code = """
import os
for fd in range(3, 64):
  try:
    os.fstat(fd)
    print('open', fd)
  except OSError:
    pass
"""
  reading, writing = os.pipe()
  os.set_inheritable(writing, True)
  try:
    assert guest(code).stdout == ""
  finally:
    os.close(reading)
    os.close(writing)


def test_the_parent_cannot_be_signalled(guest):
  code = """
import os, signal
for pid in (1, -1):
  try: os.kill(pid, signal.SIGKILL)
  except OSError: pass
for pid in range(3, 70000):
  try:
    os.kill(pid, 0)
    print('sees', pid)
  except OSError:
    pass
print('end')
"""
  done = guest(code)
  assert (done.stdout, done.exit_code) == ("end\n", 0)


@pytest.mark.parametrize(
  "call",
  ["libc.unshare(0x10000000)", "libc.unshare(0x20000)", "libc.mount(b'tmpfs', b'/tmp', b'tmpfs', 0, None)",
   "libc.ptrace(0, 0, 0, 0)", "libc.chroot(b'/tmp')", "libc.syscall(425, 8, 0)",
   "libc.syscall({'x86_64': 56, 'aarch64': 220}[__import__('os').uname().machine], 0x10000011, 0, 0, 0, 0)"],
)  # fmt: skip
def test_kernel_interfaces_are_refused(guest, call):
  code = f"import ctypes; libc = ctypes.CDLL(None, use_errno=True); print({call}, ctypes.get_errno())"
  assert guest(code).stdout == "-1 1\n"  # EPERM


def test_the_guest_is_nobody_special(guest):
  done = guest("import os; print(os.getuid() != 0, os.getgroups() in ([], [os.getgid()], [65534]))")
  assert done.stdout == "True True\n"
  assert "OSError" in guest("import os; os.setuid(0)").stderr  # EINVAL: there is no root to become


# ---- using too much -----------------------------------------------------------------------------------------------

FORKS = """
import os, time
count = 0
for _ in range(100):
  try:
    if os.fork() == 0:
      time.sleep(1.5)
      os._exit(0)
    count += 1
  except OSError:
    break
print(count)
"""


def test_a_fork_bomb_meets_its_limit(guest):
  assert 1 <= int(guest(FORKS).stdout) < LIMITS.processes


def test_concurrent_guests_have_a_process_count_each(isolator):
  sandbox = Sandbox(LIMITS, isolator=isolator)
  with ThreadPoolExecutor(8) as pool:
    counts = {int(done.stdout) for done in pool.map(lambda _: sandbox.run([*PYTHON, "-c", FORKS]), range(8))}
  assert len(counts) == 1
  assert counts.pop() >= LIMITS.processes - 3  # itself, process 1, and the jail's monitor


def test_a_memory_bomb_meets_its_limit(guest):
  done = guest("blocks = []\nwhile True: blocks.append(bytearray(1 << 24))")
  assert "MemoryError" in done.stderr


def test_the_scratch_folder_fills_up(guest):
  code = """
written = 0
try:
  for i in range(40):
    with open(str(i), 'wb') as file:
      written += file.write(bytes(1 << 16))
except OSError as error:
  print(error.errno)
print(written <= 1 << 20)
"""
  assert guest(code).stdout == "28\nTrue\n"  # ENOSPC


def test_an_endless_loop_ends_at_the_wall_time(isolator):
  done = _with_limits(isolator, "print('begun', flush=True)\nwhile True: pass", wall_seconds=0.7)
  assert (done.stdout, done.exit_code, done.killed_by, done.timed_out) == ("begun\n", None, "wall time", True)
  assert 0.7 <= done.seconds < 3.0


def test_an_endless_loop_ends_at_the_cpu_time(isolator):
  done = _with_limits(isolator, "while True: pass", wall_seconds=120.0, cpu_seconds=1)
  assert (done.killed_by, done.timed_out) == ("SIGXCPU", True)


def test_refusing_to_end_does_not_help(isolator):
  marker = f"marker{os.getpid()}{isolator}"
  code = f"""
import os, signal, time
'{marker}'
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGXCPU):
  signal.signal(number, signal.SIG_IGN)
if os.fork() == 0:
  os.setsid()
os.fork()
time.sleep(60)
"""
  done = _with_limits(isolator, code, wall_seconds=1.0)
  assert done.killed_by == "wall time"
  assert _gone(marker)


def test_killed_at_any_moment_of_its_start_it_leaves_nothing(isolator):
  marker = f"start{os.getpid()}{isolator}"
  code = f"'{marker}'\nimport os, time; os.fork() or os.setsid(); time.sleep(60)"
  for moment in range(50):
    assert _with_limits(isolator, code, wall_seconds=2e-3 + moment * 2.4e-4).killed_by == "wall time"
  assert _gone(marker)


def test_a_child_left_behind_ends_with_the_guest(guest, isolator):
  marker = f"left{os.getpid()}{isolator}"
  done = guest(f"import os, time\n'{marker}'\nif os.fork() == 0:\n  os.setsid()\n  time.sleep(60)\nprint('end')")
  assert done.stdout.split() == ["end"]
  assert done.seconds < 8.0
  assert _gone(marker)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_an_output_flood_is_cut(guest, stream):
  done = guest(f"import sys\nwhile True: sys.{stream}.write('x' * 65536)")
  assert (done.killed_by, done.exit_code, done.timed_out) == ("output", None, False)
  assert len(done.stdout + done.stderr) == LIMITS.output_bytes


def test_guests_die_with_the_trainer(isolator):
  marker = f"trainer{os.getpid()}{isolator}"
  code = f"""
from agentrl.envs.sandbox import PYTHON, Limits, Sandbox
command = [*PYTHON, '-c', 'print(flush=True); import time; time.sleep(50)', '{marker}']
Sandbox(Limits(wall_seconds=60.0), isolator={isolator!r}).run(command)
"""
  root = Path(sandbox_package.__file__).parents[3]
  trainer = subprocess.Popen([sys.executable, "-c", code], cwd=root)
  deadline = time.monotonic() + 20.0
  while not any(line.startswith(b"/usr/bin/python3\0-I\0-S\0-c\0print") for line in _command_lines(marker)):
    assert time.monotonic() < deadline, "the guest never started"
    time.sleep(0.05)
  trainer.kill()
  trainer.wait(10)
  assert _gone(marker)


# ---- many at once, and failing closed -------------------------------------------------------------------------------


def test_many_threads_get_their_own_answers(guest):
  before = len(os.listdir("/proc/self/fd"))
  with ThreadPoolExecutor(8) as pool:
    answers = list(pool.map(lambda i: guest("import sys; print(int(sys.stdin.read()) ** 2)", stdin=str(i)), range(24)))
  assert [int(done.stdout) for done in answers] == [i * i for i in range(24)]
  assert len(os.listdir("/proc/self/fd")) == before
