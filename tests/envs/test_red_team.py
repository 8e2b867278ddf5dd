"""Attempts to get out of the sandbox, or to hurt the trainer from inside: every one under every isolator.

A payload tells what it could do: "did ..." or "refused ...". What is asserted is the refusal that it met, by name, or
the limit that ended it. Where it does no harm, the same payload also runs unconfined and must get through: so an
attempt that fails for a reason of its own is noticed. Behind every attempt the host is looked at: nothing of the guest
runs on, a victim process lives, and files that were in reach are as they were.
"""

import contextlib
import dataclasses
import os
import platform
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from agentrl.envs.sandbox import ISOLATORS, Limits, Sandbox, WarmPool, probe, warm

SECRET = "the-secret-of-the-host"
LIMITS = Limits(
  wall_seconds=0.8, cpu_seconds=2, processes=8, memory_bytes=192 << 20, file_bytes=1 << 20, output_bytes=1 << 17
)
PATIENT = dataclasses.replace(LIMITS, wall_seconds=20.0)
X86 = platform.machine() == "x86_64"
ROOT = os.getuid() == 0

PRELUDE = """
import ctypes, errno, os, signal, socket, struct, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def attempt(action, *arguments):
  try:
    result = action(*arguments)
  except OSError as error:
    print("refused", errno.errorcode.get(error.errno, error.errno))
  else:
    print("did", str(result)[:60])
    return result
def call(function, *arguments):
  def action():
    result = function(*arguments)
    if result < 0:
      raise OSError(ctypes.get_errno(), "")
    return result
  return attempt(action)
def number(x86, arm):
  return x86 if os.uname().machine == "x86_64" else arm
def system_call(x86, arm, *arguments):
  return call(libc.syscall, number(x86, arm), *arguments)
def read(path):
  with open(path, "rb") as file:
    return file.read(100)
def write(path):
  with open(path, "ab") as file:
    file.write(b"x")
"""


@dataclasses.dataclass(frozen=True)
class Attempt:
  """`contained` is a pattern of what is told in a guest, `control` of what the same payload tells unconfined.

  What is told is stdout, stderr, and how the guest ended: "exit 0", or "killed by ...". Without `control` the payload
  would do harm, or depends on the host. `root`: the control needs uid 0.
  """

  code: str
  contained: str
  control: str = ""
  root: bool = False


EPERM = r"^refused EPERM$"
AWAY = r"^refused ENOENT$"
READ_ONLY = r"^refused (EROFS|EACCES|ENOENT|EPERM)$"
WALL = r"killed by wall time"

ATTEMPTS = {
  # ---- network
  "tcp": Attempt("attempt(socket.create_connection, ('127.0.0.1', HOST['tcp']), 1)", EPERM, "^did"),
  "udp": Attempt("attempt(lambda: socket.socket(type=2).sendto(b'x', ('127.0.0.1', HOST['udp'])))", EPERM, "^did 1"),
  "listen": Attempt("attempt(socket.create_server, ('127.0.0.1', 0))", EPERM, "^did"),
  "unix socket": Attempt("attempt(lambda: socket.socket(socket.AF_UNIX).connect(HOST['unix']))", EPERM, "^did"),
  "abstract socket": Attempt("attempt(lambda: socket.socket(socket.AF_UNIX).connect(HOST['abstract']))", EPERM, "^did"),
  "netlink": Attempt("attempt(socket.socket, socket.AF_NETLINK, socket.SOCK_RAW, 0)", EPERM, "^did"),
  "packets": Attempt("attempt(socket.socket, socket.AF_PACKET, socket.SOCK_RAW, 0)", EPERM, "^did", root=True),
  "names": Attempt("attempt(socket.getaddrinfo, 'example.com', 80)", r"^refused (-\d+|EPERM)$"),
  "vsock": Attempt("attempt(socket.socket, 40, socket.SOCK_STREAM)", EPERM),
  # ---- reading
  "/etc/passwd": Attempt("attempt(read, '/etc/passwd')", AWAY, "^did"),
  "/etc/shadow": Attempt("attempt(read, '/etc/shadow')", AWAY, "^did", root=True),
  "home": Attempt("attempt(os.listdir, HOST['home'])", AWAY, "^did"),
  "host file": Attempt("attempt(read, HOST['secret'])", AWAY, f"^did b'{SECRET}"),
  "host file, upwards": Attempt("attempt(read, '/tmp/../..' + HOST['secret'])", AWAY, f"^did b'{SECRET}"),
  "our environment": Attempt("attempt(lambda: os.stat('/' if 'AGENTRL_SECRET' in os.environ else '/-'))", AWAY, "^did"),
  "other's environment": Attempt("attempt(read, '/proc/%d/environ' % HOST['victim'])", AWAY, "^did"),
  "processes": Attempt("attempt(os.listdir, '/proc')", AWAY, "^did"),
  "/proc/1/root": Attempt("attempt(read, '/proc/%d/root/etc/passwd' % HOST['victim'])", AWAY, "^did"),
  "/proc/self/exe": Attempt("attempt(open, '/proc/self/exe', 'rb')", AWAY, "^did"),
  "/sys": Attempt("attempt(os.listdir, '/sys')", AWAY, "^did"),
  "kernel messages": Attempt("attempt(open, '/dev/kmsg', 'rb')", AWAY),
  "terminal": Attempt("attempt(open, '/dev/tty', 'r+b', 0)", r"^refused (ENXIO|EACCES|ENOENT)$"),
  "inherited descriptors": Attempt(
    """
found = []
for fd in range(64):
  try:
    found.append(os.pread(fd, 100, 0))
  except OSError:
    pass
print("did" if HOST['content'].encode() in b"".join(found) else "refused", len(found))
""",
    r"^refused \d",
    "^did",
  ),
  # ---- writing
  "host folder": Attempt("attempt(write, HOST['folder'] + '/written')", AWAY, "^did"),
  "/usr": Attempt("attempt(write, '/usr/written')", READ_ONLY),
  "interpreter": Attempt("attempt(write, '/usr/bin/python3')", READ_ONLY),
  "library": Attempt("attempt(os.remove, os.__file__)", READ_ONLY),
  "preload": Attempt("attempt(write, '/etc/ld.so.preload')", READ_ONLY),
  "shared memory": Attempt("attempt(write, '/dev/shm/agentrl_red_team')", READ_ONLY),
  "root folder": Attempt("attempt(os.mkdir, '/made')", READ_ONLY),
  "own memory by /proc": Attempt("attempt(open, '/proc/self/mem', 'r+b')", AWAY, "^did"),
  "kernel settings": Attempt("attempt(open, '/proc/sys/kernel/hostname', 'r+')", AWAY, "^did", root=True),
  "memory pressure score": Attempt("attempt(open, '/proc/self/oom_score_adj', 'r+')", AWAY, "^did"),
  "control groups": Attempt("attempt(os.listdir, '/sys/fs/cgroup')", AWAY),
  "symlink": Attempt(
    "os.symlink(HOST['secret'], WORK + '/link'); attempt(read, WORK + '/link')", AWAY, f"^did b'{SECRET}"
  ),
  "symlink race": Attempt(
    """
own, swapped, stop = WORK + "/own", WORK + "/swapped", []
write(own)
def swap():
  while not stop:
    for target in (own, HOST['secret']):
      os.symlink(target, swapped + "~")
      os.rename(swapped + "~", swapped)
os.symlink(own, swapped)
thread = threading.Thread(target=swap)
thread.start()
seen, reads, until = set(), 0, time.monotonic() + 3
while reads < 2000 or (len(seen) < 2 and time.monotonic() < until):
  reads += 1
  try:
    seen.add(read(swapped))
  except OSError as error:
    seen.add(errno.errorcode[error.errno])
stop.append(1)
thread.join()
print("did" if HOST['content'].encode() in seen else "refused", seen)
""",
    r"^refused .*'ENOENT'",
    "^did",
  ),
  "hardlink to the host": Attempt("attempt(os.link, HOST['secret'], WORK + '/hard')", AWAY, "^did"),
  "hardlink to the system": Attempt(
    "attempt(os.link, '/usr/bin/env', WORK + '/hard')", r"^refused (EXDEV|EPERM|EROFS|EACCES)$"
  ),
  "device node": Attempt("attempt(os.mknod, WORK + '/node', 0o20666, os.makedev(1, 1))", EPERM, "^did", root=True),
  # ---- other processes
  "signal": Attempt("attempt(os.kill, HOST['victim'], 0)", r"^refused (ESRCH|EPERM)$", "^did"),
  "signal to all": Attempt(
    """
child = os.fork()
if child == 0:
  time.sleep(60)
try:
  os.kill(-1, signal.SIGKILL)
except OSError:
  os.kill(child, signal.SIGKILL)
print("own child", os.waitpid(child, 0)[1])
""",
    "^own child 9$",
  ),
  "signal to process 1": Attempt(
    """
for name in ("SIGKILL", "SIGSTOP", "SIGTERM"):
  try:
    os.kill(1, getattr(signal, name))
  except OSError:
    pass
print("still", os.getppid())
""",
    r"^still 1$[\s\S]*exit 0",
  ),
  "signal to the group": Attempt("os.killpg(0, signal.SIGKILL)", "killed by SIGKILL"),
  "limits of another": Attempt(
    "import resource; attempt(resource.prlimit, HOST['victim'], 0)", r"^refused (ESRCH|EPERM)$", "^did"
  ),
  "ptrace": Attempt("system_call(101, 117, 0, 0, 0, 0)", EPERM, "^did"),
  "process_vm_readv": Attempt(
    """
one, source, target = ctypes.c_ulong(1), ctypes.create_string_buffer(8), ctypes.create_string_buffer(8)
vector = lambda buffer: ctypes.byref((ctypes.c_void_p * 2)(ctypes.addressof(buffer), 8))
system_call(310, 270, os.getpid(), vector(target), one, vector(source), one, ctypes.c_ulong(0))
""",
    EPERM,
    "^did 8",
  ),
  # ---- privileges and the kernel
  "setuid": Attempt("attempt(os.setuid, 0)", r"^refused (EINVAL|EPERM)$", "^did", root=True),
  "setgroups": Attempt("attempt(os.setgroups, [0])", r"^refused (EINVAL|EPERM)$", "^did", root=True),
  "setuid programs": Attempt(
    "print('no_new_privs', libc.prctl(39, 0, 0, 0, 0), 'nosuid', os.statvfs('/usr').f_flag & os.ST_NOSUID)",
    "^no_new_privs 1 nosuid 2$",
    "^no_new_privs 0",
  ),
  "capabilities": Attempt(
    """
data = (ctypes.c_uint32 * 6)()
libc.capget((ctypes.c_uint32 * 2)(0x20080522, 0), data)
print("held" if any(data) else "none", list(data))
""",
    "^none",
    "^held",
    root=True,
  ),
  "chroot": Attempt("attempt(os.chroot, WORK)", EPERM, "^did", root=True),
  "unshare users": Attempt("call(libc.unshare, 0x10000000)", EPERM, "^did"),
  "unshare mounts": Attempt("call(libc.unshare, 0x20000)", EPERM, "^did", root=True),
  "clone into a namespace": Attempt("system_call(56, 220, 0x10000011, 0, 0, 0, 0)", EPERM),
  "clone3": Attempt("system_call(435, 435, 0, 0)", "^refused ENOSYS$", "^refused EINVAL$"),
  "setns": Attempt("system_call(308, 268, 0, 0)", EPERM, "^refused EINVAL$"),
  "mount": Attempt("call(libc.mount, b'tmpfs', b'/tmp', b'tmpfs', 0, None)", EPERM),
  "remount": Attempt("call(libc.mount, b'none', b'/usr', None, 0x1020, None)", EPERM),
  "mount, new calls": Attempt("system_call(430, 430, b'tmpfs', 0)", EPERM, "^did", root=True),
  "umount": Attempt("call(libc.umount2, b'/usr', 2)", EPERM),
  "pivot_root": Attempt("system_call(155, 41, b'/', b'/')", EPERM),
  "file handles": Attempt("system_call(304, 265, 0, 0, 0)", EPERM),
  "keys": Attempt("system_call(250, 219, 0, -3, 0)", EPERM, "^did"),
  "bpf": Attempt("system_call(321, 280, 0xffff, 0, 0)", EPERM, "^refused EINVAL$", root=True),
  "io_uring": Attempt("system_call(425, 425, 8, ctypes.create_string_buffer(120))", EPERM),
  "perf events": Attempt("system_call(298, 241, 0, 0, -1, -1, 0)", EPERM),
  "userfaultfd": Attempt("system_call(323, 282, 0)", EPERM),
  "kernel module": Attempt("system_call(175, 105, 0, 0, b'')", EPERM),
  "reboot": Attempt("system_call(169, 142, 0, 0, 0, 0)", EPERM, "^refused EINVAL$", root=True),
  "host name": Attempt("call(libc.sethostname, b'owned', 5)", EPERM),
  "clock": Attempt("attempt(time.clock_settime, time.CLOCK_REALTIME, 0.0)", EPERM),
  "real-time priority": Attempt("attempt(os.sched_setscheduler, 0, os.SCHED_FIFO, os.sched_param(1))", EPERM),
  "raised limits": Attempt(
    """
import resource
try:
  resource.setrlimit(resource.RLIMIT_NPROC, (20, 20))
  print("did")
except ValueError as error:
  print("refused", error)
""",
    "^refused not allowed",
    "^did",
  ),
  # ---- floods
  "forks": Attempt(
    """
count = 0
try:
  while count < 40:
    if os.fork() == 0:
      time.sleep(1.5)
      os._exit(0)
    count += 1
except OSError as error:
  print("refused", errno.errorcode[error.errno])
print("children", count)
""",
    r"^refused EAGAIN\nchildren [1-7]$",
    "^children 40$",
  ),
  "fork bomb": Attempt("while True:\n  try: os.fork()\n  except OSError: pass", r"killed by (wall time|SIGXCPU)"),
  "threads": Attempt(
    """
count, stop = 0, threading.Event()
try:
  while count < 40:
    threading.Thread(target=stop.wait, daemon=True).start()
    count += 1
except RuntimeError as error:
  print("refused", error)
print("threads", count)
stop.set()
""",
    r"^refused can't start new thread\nthreads [1-7]$",
    "^threads 40$",
  ),
  "memory": Attempt("blocks = []\nwhile True: blocks.append(bytearray(1 << 24))", "^MemoryError"),
  "disk": Attempt(
    "attempt(lambda: open(WORK + '/big', 'wb').write(bytes(1 << 22)))", "^refused (ENOSPC|EFBIG)$", "^did"
  ),
  "many files": Attempt(
    """
def fill():
  for name in range(40):
    with open(f"{WORK}/{name}", "wb") as file:
      file.write(bytes(1 << 16))
attempt(fill)
""",
    "^refused ENOSPC$",
    "^did",
  ),
  "sparse file": Attempt("attempt(os.truncate, os.open(WORK + '/sparse', 0o102), 1 << 40)", "^refused EFBIG$"),
  "descriptors": Attempt("attempt(lambda: [open('/dev/null') for _ in range(80)])", "^refused EMFILE$", "^did"),
  "stdout": Attempt("while True: os.write(1, bytes(65536))", "killed by output"),
  "stderr": Attempt("while True: os.write(2, bytes(65536))", "killed by output"),
  "every descriptor": Attempt(
    """
while True:
  for fd in range(3, 64):
    try:
      os.write(fd, b"0" * 4096)
    except OSError:
      pass
""",
    "killed by output",
  ),
  "processor": Attempt("print('begun')\nwhile True: pass", r"^begun$[\s\S]*killed by (wall time|SIGXCPU)"),
  # ---- not ending
  "sleep": Attempt("print('begun'); time.sleep(60)", rf"^begun$[\s\S]*{WALL}"),
  "ignored signals": Attempt(
    """
for name in ("SIGTERM", "SIGHUP", "SIGINT", "SIGQUIT", "SIGALRM", "SIGXCPU", "SIGPIPE"):
  signal.signal(getattr(signal, name), signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
print("deaf")
while True:
  time.sleep(60)
""",
    rf"^deaf$[\s\S]*{WALL}",
  ),
  "stopped": Attempt("print('stopping'); os.kill(os.getpid(), signal.SIGSTOP)", rf"^stopping$[\s\S]*{WALL}"),
  "daemon": Attempt(
    """
if os.fork() == 0:
  os.setsid()
  if os.fork() == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.execv("/usr/bin/sleep", [HOST['marker'], "60"])
  os._exit(0)
os.wait()
print("left behind")
""",
    r"^left behind$[\s\S]*exit 0",
  ),
  "daemon of a killed guest": Attempt(
    """
if os.fork() == 0:
  os.setsid()
  os.execv("/usr/bin/sleep", [HOST['marker'], "60"])
print("left behind")
time.sleep(60)
""",
    rf"^left behind$[\s\S]*{WALL}",
  ),
  "no end at exit": Attempt("import atexit; atexit.register(time.sleep, 60); print('done')", rf"^done$[\s\S]*{WALL}"),
  "no end of a value": Attempt(
    "class Slow:\n  def __repr__(self):\n    print('asked')\n    while True: time.sleep(1)\nSlow()",
    rf"^asked$[\s\S]*{WALL}",
  ),
  # ---- the result
  "closed streams": Attempt("os.closerange(0, 3)\ntime.sleep(60)", WALL),
  "closed channel": Attempt("os.closerange(3, 64)\nprint('no channel')", r"^no channel$[\s\S]*exit 0"),
  "forged exit code": Attempt(
    """
for fd in range(64):
  try:
    os.write(fd, b'{"exit-code": 0}\\n')
  except OSError:
    pass
os._exit(5)
""",
    "exit 5",
  ),
  "forged end": Attempt(
    """
for fd in range(3, 64):
  try:
    os.write(fd, b"b0" * 99)
  except OSError:
    pass
time.sleep(60)
""",
    WALL,
  ),
  "huge value": Attempt("'x' * 30_000_000", r"\[the first 50000 of 30000002 characters\][\s\S]*exit 0"),
  "unpicklable value": Attempt("(x for x in []), (lambda: 0), sys", r"^\(<generator object[\s\S]*exit 0"),
  "value that raises": Attempt(
    "class Rude:\n  def __repr__(self): raise BaseException('no')\nRude()", r"^BaseException: no[\s\S]*exit 1"
  ),
  "value without a text": Attempt(
    "class Odd:\n  def __repr__(self): return 5\nOdd()", r"^TypeError: __repr__[\s\S]*exit 1"
  ),
  "bytes": Attempt("os.write(1, bytes(range(256)))", "\ufffd{128}256\n[\\s\\S]*exit 0"),
  "broken builtins": Attempt(
    "import builtins as b\nb.print = b.len = b.repr = b.int = None\n42", r"^TypeError[\s\S]*exit 1"
  ),
  "no streams": Attempt("sys.stdout = sys.stderr = None\n42", "exit 0"),
  "interpreter turned over": Attempt(
    "print('begun')\nimport gc\nfor found in gc.get_objects():\n  if type(found) is dict: found.clear()", "^begun$"
  ),
  "native crash": Attempt("ctypes.string_at(0)", "killed by SIGSEGV"),
}

if X86:
  ATTEMPTS["x32 calls"] = Attempt("libc.syscall(0x40000000 + 39)", "killed by SIGSYS")


class Host:
  """What is in reach of an unconfined process, and must not be of a guest."""

  def __init__(self, stack: contextlib.ExitStack):
    self.marker = f"red-team-{os.getpid()}-{time.monotonic_ns()}"
    self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    self.folder.chmod(0o777)
    self.secret = self.folder / "secret"
    self.secret.write_text(SECRET)
    self.secret.chmod(0o644)
    self.victim = subprocess.Popen(["/usr/bin/sleep", "600"])
    stack.callback(self.victim.wait)
    stack.callback(self.victim.kill)
    self.leaked = os.open(self.secret, os.O_RDONLY)
    os.set_inheritable(self.leaked, True)
    stack.callback(os.close, self.leaked)
    listening = [stack.enter_context(socket.socket(*kind)) for kind in ((2, 1), (2, 2), (1, 1), (1, 1))]
    places = [("127.0.0.1", 0), ("127.0.0.1", 0), str(self.folder / "socket"), f"\0{self.marker}"]
    for one, place in zip(listening, places, strict=True):
      one.bind(place)
      if one.type == socket.SOCK_STREAM:
        one.listen(8)
    (self.folder / "socket").chmod(0o777)
    self.described = {
      "tcp": listening[0].getsockname()[1],
      "udp": listening[1].getsockname()[1],
      "unix": places[2],
      "abstract": places[3],
      "secret": str(self.secret),
      "content": SECRET,
      "folder": str(self.folder),
      "home": str(Path.home()),
      "victim": self.victim.pid,
      "marker": self.marker,
    }

  def payload(self, code: str, work: str = "/tmp") -> str:
    return f"HOST, WORK = {self.described!r}, {work!r}\n{PRELUDE}{code}"

  def assert_unharmed(self) -> None:
    assert self.victim.poll() is None
    assert self.secret.read_text() == SECRET
    assert self.secret.stat().st_nlink == 1
    assert {path.name for path in self.folder.iterdir()} == {"secret", "socket"}
    assert not Path("/dev/shm/agentrl_red_team").exists()
    deadline = time.monotonic() + 10.0
    while survivors := _processes(self.marker):
      assert time.monotonic() < deadline, survivors
      time.sleep(0.02)


def _processes(marker: str) -> list[str]:
  """Command lines of the host's processes, zombies apart, that carry the marker."""
  found = []
  for folder in Path("/proc").glob("[0-9]*"):
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
      line = (folder / "cmdline").read_bytes().decode(errors="replace")
      if marker in line:
        found.append(line[-200:])
  return found


@pytest.fixture(scope="module")
def host():
  with contextlib.ExitStack() as stack:
    with pytest.MonkeyPatch.context() as patch:
      patch.setenv("AGENTRL_SECRET", SECRET)
      one = Host(stack)
      patch.setattr(warm, "_COMMAND", [*warm._COMMAND, one.marker])  # all of a guest's forks can be told by it
      yield one


@pytest.fixture(scope="module", params=tuple(ISOLATORS))
def isolator(request) -> str:
  """Both must hold on the machine that tests: `scripts/test.sh` installs bubblewrap."""
  return request.param


@pytest.fixture(scope="module")
def pool(host, isolator):
  """Starts none ahead, so that whatever runs behind a call has survived it. Its calls are short."""
  with WarmPool(Sandbox(LIMITS, isolator=isolator), size=0) as cold:
    yield cold


@pytest.fixture(scope="module")
def patient_pool(host, isolator):
  """For attempts that end by themselves, on a machine that may be busy."""
  with WarmPool(Sandbox(PATIENT, isolator=isolator), size=0) as cold:
    yield cold


def _told(completed) -> str:
  how = f"killed by {completed.killed_by}" if completed.killed_by else f"exit {completed.exit_code}"
  return f"{completed.stdout}\n{completed.stderr}\n{how}"


@pytest.mark.parametrize("name", ATTEMPTS)
def test_contained(host, pool, patient_pool, name):
  chosen = pool if "wall time" in ATTEMPTS[name].contained else patient_pool
  completed = chosen.run(host.payload(ATTEMPTS[name].code))
  assert re.search(ATTEMPTS[name].contained, _told(completed), re.MULTILINE), _told(completed)
  assert not re.search("^did", completed.stdout, re.MULTILINE)
  assert completed.seconds < 30.0
  assert len(completed.stdout) + len(completed.stderr) <= LIMITS.output_bytes
  host.assert_unharmed()


@pytest.mark.parametrize("name", [name for name, attempt in ATTEMPTS.items() if attempt.control])
def test_unconfined_it_gets_through(host, name):
  attempt = ATTEMPTS[name]
  if attempt.root and not ROOT:
    pytest.skip("only root could do this unconfined")
  with tempfile.TemporaryDirectory(dir=host.folder) as work:
    done = subprocess.run(
      [sys.executable, "-c", host.payload(attempt.code, work)],
      capture_output=True, text=True, timeout=60, pass_fds=[host.leaked],
    )  # fmt: skip
  (host.folder / "written").unlink(missing_ok=True)
  assert re.search(attempt.control, done.stdout, re.MULTILINE), (done.stdout, done.stderr)


# ---- from one call to the next ------------------------------------------------------------------------------------

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


def test_a_tree_that_shares_out_its_memory_is_killed(host, isolator):
  if probe((isolator,)).tree_memory_capped is None:
    pytest.skip("this machine lets nobody make a control group")
  hoard = """
done, tell = os.pipe()
children = []
for _ in range(5):
  child = os.fork()
  if child == 0:
    block = bytearray(b"x") * (90 << 20)
    os.close(tell)
    time.sleep(60)
  children.append(child)
os.close(tell)
os.read(done, 1)
print("killed", [os.waitpid(child, os.WNOHANG)[1] for child in children].count(9) > 0)
os._exit(0)
"""
  with WarmPool(Sandbox(PATIENT, isolator=isolator), size=0) as pool:
    assert re.search("killed True|killed by SIGKILL", _told(pool.run(host.payload(hoard))))
  host.assert_unharmed()


def test_empty_files_run_out_in_the_jail(host):
  """They take no room of a scratch folder, but memory of the kernel's; bubblewrap has no option against it."""
  fill = """
def fill():
  for name in range(100_000):
    os.close(os.open(f"{WORK}/{name}", os.O_CREAT))
attempt(fill)
"""
  with WarmPool(Sandbox(PATIENT, isolator="jail"), size=0) as pool:
    assert "refused ENOSPC" in pool.run(host.payload(fill)).stdout
