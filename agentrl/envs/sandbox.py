"""The isolator that every tool which runs code goes through. It fails closed: without isolation nothing runs.

```python
sandbox = Sandbox(Limits(wall_seconds=2.0))
sandbox.run([*PYTHON, "-c", "print(6 * 7)"]).stdout  # 42 and a line end
```

A guest is a process tree with no network, no files but a read-only /usr and a scratch /tmp of its own, no environment
variables of ours, no view of other processes, an unprivileged uid, a seccomp filter, and `Limits`. It is built by
bubblewrap where that holds, else by `jail.py`; which one holds is found out by `probe`, whose guest tries to get out.

`Sandbox.run` may be called from any number of threads. Limits count per guest, the number of processes included: it
is set inside the guest's own user namespace, which has a count of its own since Linux 5.14.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import platform
import selectors
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import BinaryIO

from agentrl.envs import jail, seccomp
from agentrl.types import EnvironmentFailed

PYTHON = ("/usr/bin/python3", "-I", "-S")  # the guest's interpreter: ours may live where no other uid can read
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8"}

_NOBODY = 65534
_REAP_SECONDS = 5.0  # for a process that was sent SIGKILL
_CHUNK_BYTES = 1 << 16
_SIGNALS = {128 + number: number.name for number in signal.Signals}
_JAIL_SOURCE = pathlib.Path(jail.__file__).read_text(encoding="utf-8")
_INSTALL = (
  "Install bubblewrap and util-linux (`apt-get install bubblewrap util-linux`), on a kernel that allows unprivileged "
  "user namespaces (in a container: `--security-opt seccomp=unconfined`; on Ubuntu 24.04 and later: "
  "`sysctl kernel.apparmor_restrict_unprivileged_userns=0`), with the interpreter /usr/bin/python3. "
  "Code is never run unisolated."
)


class SandboxUnavailable(RuntimeError):
  """No isolation can be had on this machine; the text says what was tried and what to install."""


@dataclasses.dataclass(frozen=True)
class Limits:
  """What one guest may use.

  Attributes:
    wall_seconds: until the whole tree is killed. Below a tool's `call_seconds`, so that the guest goes first.
    cpu_seconds: whole seconds, per process.
    memory_bytes: address space per process; the tree may use up to `processes` times that.
    processes: processes and threads of the tree.
    output_bytes: stdout and stderr together; a guest that writes more is killed.
    file_bytes: size of the scratch folder, which lives in memory.
  """

  wall_seconds: float = 4.0
  cpu_seconds: int = 4
  memory_bytes: int = 512 << 20
  processes: int = 16
  output_bytes: int = 1 << 18
  file_bytes: int = 16 << 20

  def __post_init__(self):
    for name, value in vars(self).items():
      if value <= 0 or (name != "wall_seconds" and value != int(value)):
        kind = "a positive number" if name == "wall_seconds" else "a positive whole number"
        raise ValueError(f"Limits.{name} must be {kind}, got {value}")


@dataclasses.dataclass(frozen=True)
class Completed:
  """How a guest ended.

  Attributes:
    stdout, stderr: what it wrote, `Limits.output_bytes` at most; bytes that are not UTF-8 are replaced.
    exit_code: as in a shell, 128 + signal where a signal ended it; None where the sandbox killed it.
    killed_by: "wall time", "output", or the name of the signal that ended it; else None.
    seconds: wall time.
  """

  stdout: str
  stderr: str
  exit_code: int | None
  killed_by: str | None
  seconds: float

  @property
  def timed_out(self) -> bool:
    """It ran out of wall or CPU time."""
    return self.killed_by in ("wall time", "SIGXCPU")


@dataclasses.dataclass(frozen=True)
class SandboxReport:
  """What a probing guest found; True where the layer holds."""

  isolator: str
  network_blocked: bool
  host_files_hidden: bool
  writes_blocked: bool
  scratch_writable: bool
  processes_hidden: bool
  environment_hidden: bool
  unprivileged: bool
  limits_set: bool

  @property
  def open_layers(self) -> list[str]:
    """Names of the layers that do not hold."""
    return [name for name, holds in vars(self).items() if holds is False]


class Sandbox:
  """Runs commands as guests. Holds nothing but its limits: one object serves all threads.

  Args:
    limits: of each guest; None for the default ones.
    isolator: "bubblewrap" or "jail"; None for the first that holds.

  Raises:
    SandboxUnavailable: that isolator, or every one, does not hold on this machine.
    ValueError: an unknown isolator.
  """

  def __init__(self, limits: Limits | None = None, *, isolator: str | None = None):
    if isolator is not None and isolator not in ISOLATORS:
      raise ValueError(f"no isolator is called {isolator!r}; known: {', '.join(ISOLATORS)}")
    self._limits = Limits() if limits is None else limits
    self._isolate = ISOLATORS[probe(tuple(ISOLATORS) if isolator is None else (isolator,)).isolator]

  def run(self, command: Sequence[str], stdin: str = "") -> Completed:
    """Runs a command until it ends or a limit is reached; nothing of it is left running.

    Args:
      command: an absolute path under /usr and its arguments; a Python guest is `[*PYTHON, "-c", code]`.
      stdin: text that the command can read; lone surrogates reach it as "?".

    Raises:
      EnvironmentFailed: the guest could not be started, or its monitor was lost.
    """
    return _run(self._isolate, command, stdin, self._limits)


# ---- starting a guest -------------------------------------------------------------------------------------------

# (command, limits, status_fd, filter_fd) -> command line. The isolator writes a line of JSON with "exit-code" to
# status_fd when the command has ended, and reads its seccomp filter from filter_fd; the command gets neither.
Isolator = Callable[[Sequence[str], Limits, int, int], list[str]]


def _bubblewrap(command: Sequence[str], limits: Limits, status_fd: int, filter_fd: int) -> list[str]:
  path = shutil.which("bwrap")
  if path is None:
    raise FileNotFoundError("bwrap is not on the PATH")
  options = ["--unshare-user", "--unshare-all", "--hostname", "guest", "--die-with-parent", "--new-session"]
  options += ["--cap-drop", "ALL", "--json-status-fd", str(status_fd), "--seccomp", str(filter_fd)]
  options += ["--ro-bind", "/usr", "/usr", *_system_links(), "--dev", "/dev", "--remount-ro", "/dev"]
  options += ["--size", str(limits.file_bytes), "--tmpfs", "/tmp", "--remount-ro", "/", "--chdir", "/tmp"]
  return [*_demoted(), path, *options, "--", *_limited(command, limits)]


def _jail(command: Sequence[str], limits: Limits, status_fd: int, filter_fd: int) -> list[str]:
  arguments = [str(status_fd), str(filter_fd), str(limits.file_bytes)]
  return [*_demoted(), *PYTHON, "-c", _JAIL_SOURCE, *arguments, *_limited(command, limits)]


ISOLATORS: dict[str, Isolator] = {"bubblewrap": _bubblewrap, "jail": _jail}  # in order of preference


def _demoted() -> list[str]:
  """Gives up root, and has the kernel pick a guest rather than a trainer when memory runs out."""
  demoted = ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"] if os.getuid() == 0 else []
  return [*demoted, "choom", "--adjust", "1000", "--"]


def _limited(command: Sequence[str], limits: Limits) -> list[str]:
  options = {
    "as": limits.memory_bytes,
    "nproc": limits.processes,
    "cpu": f"{limits.cpu_seconds}:{limits.cpu_seconds + 1}",  # SIGXCPU, then SIGKILL
    "fsize": limits.file_bytes,
    "nofile": 64,
    "core": 0,
  }
  return ["/usr/bin/prlimit", *(f"--{name}={value}" for name, value in options.items()), "--", *command]


def _system_links() -> list[str]:
  """/bin, /lib and so on as they are on the host: links into /usr, or folders of their own on older systems."""
  options: list[str] = []
  for path in ("/bin", "/lib", "/lib64", "/sbin"):
    if os.path.islink(path):
      options += ["--symlink", os.readlink(path), path]
    elif os.path.isdir(path):
      options += ["--ro-bind", path, path]
  return options


# ---- running it ---------------------------------------------------------------------------------------------------


def _run(isolate: Isolator, command: Sequence[str], stdin: str, limits: Limits) -> Completed:
  started = time.monotonic()
  with _guest(isolate, command, limits) as (process, status_fd):
    received, killed_by = _exchange(process, status_fd, stdin.encode(errors="replace"), started, limits)
  stdout, stderr, status = (bytes(part).decode(errors="replace") for part in received)
  exit_code = None
  if killed_by is None:
    exit_code = _exit_code(status, stderr)
    killed_by = _SIGNALS.get(exit_code)
  return Completed(stdout, stderr, exit_code, killed_by, time.monotonic() - started)


@contextlib.contextmanager
def _guest(isolate: Isolator, command: Sequence[str], limits: Limits) -> Iterator[tuple[subprocess.Popen, int]]:
  """The isolator's process and the file descriptor of its status; on the way out nothing of either is left."""
  with contextlib.ExitStack() as stack:
    try:
      (status_in, status_out), (filter_in, filter_out) = _pipe(stack), _pipe(stack)
      with filter_out:
        filter_out.write(seccomp.program(platform.machine()))
      process = subprocess.Popen(
        isolate(command, limits, status_out.fileno(), filter_in.fileno()),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        env=ENVIRONMENT,
        cwd="/",
        pass_fds=(status_out.fileno(), filter_in.fileno()),
        start_new_session=True,
      )
    except OSError as error:
      raise EnvironmentFailed(f"a sandbox could not be started: {error}") from error
    stack.callback(_end, process)
    status_out.close()
    yield process, status_in.fileno()


def _pipe(stack: contextlib.ExitStack) -> tuple[BinaryIO, BinaryIO]:
  reading, writing = os.pipe()
  return stack.enter_context(os.fdopen(reading, "rb", 0)), stack.enter_context(os.fdopen(writing, "wb", 0))


def _end(process: subprocess.Popen) -> None:
  """Kills the isolator's process group, and with it the guest's PID namespace; harmless when all is over."""
  try:
    with contextlib.suppress(ProcessLookupError):
      os.killpg(process.pid, signal.SIGKILL)
    process.wait(_REAP_SECONDS)
  except subprocess.TimeoutExpired as error:
    raise EnvironmentFailed(f"process {process.pid} of a sandbox outlived SIGKILL by {_REAP_SECONDS:g} s") from error
  finally:
    for stream in (process.stdin, process.stdout, process.stderr):
      stream.close()


def _exchange(
  process: subprocess.Popen, status_fd: int, stdin: bytes, started: float, limits: Limits
) -> tuple[list[bytearray], str | None]:
  """Writes stdin and reads stdout, stderr and status until all are closed, time is up or the output is too long."""
  stdout, stderr, _ = received = [bytearray(), bytearray(), bytearray()]
  target = dict(zip((process.stdout.fileno(), process.stderr.fileno(), status_fd), received, strict=True))
  unsent = memoryview(stdin)
  with selectors.DefaultSelector() as selector:
    for fd in target:
      selector.register(fd, selectors.EVENT_READ)
    selector.register(process.stdin, selectors.EVENT_WRITE)
    os.set_blocking(process.stdin.fileno(), False)
    while selector.get_map():
      left = started + limits.wall_seconds - time.monotonic()
      if left <= 0:
        return received, "wall time"
      for key, _ in selector.select(left):
        if key.fileobj is process.stdin:
          unsent = _feed(selector, process.stdin, unsent)
        else:
          _receive(selector, key.fd, target[key.fd])
      excess = len(stdout) + len(stderr) - limits.output_bytes
      if excess > 0:
        longer = max(stdout, stderr, key=len)
        del longer[max(len(longer) - excess, 0) :]
        return received, "output"
  return received, None


def _feed(selector: selectors.BaseSelector, stream: BinaryIO, unsent: memoryview) -> memoryview:
  """Writes what fits; closes the stream when nothing is left, or when the guest no longer listens."""
  try:
    unsent = unsent[os.write(stream.fileno(), unsent[:_CHUNK_BYTES]) :]
  except BrokenPipeError:
    unsent = unsent[:0]
  if not unsent:
    selector.unregister(stream)
    stream.close()
  return unsent


def _receive(selector: selectors.BaseSelector, fd: int, received: bytearray) -> None:
  chunk = os.read(fd, _CHUNK_BYTES)
  received += chunk
  if not chunk:
    selector.unregister(fd)


def _exit_code(status: str, stderr: str) -> int:
  """The exit code that the isolator reported; it reports none where the command never ran."""
  for line in status.splitlines():
    fields = json.loads(line)
    if "exit-code" in fields:
      return fields["exit-code"]
  raise EnvironmentFailed(f"the sandbox did not run its command: {stderr.strip()[-500:] or 'no reason given'}")


# ---- whether it holds ---------------------------------------------------------------------------------------------

# Tries to get out, and prints what it found as JSON. Arguments: a port of the host's loopback, and a file of the host
# that anybody may read, in a folder where anybody may write.
_PROBE = """
import json, os, resource, socket, sys
port, host_file = int(sys.argv[1]), sys.argv[2]

def refused(action, *arguments):
  try:
    action(*arguments)
  except OSError:
    return True
  return False

def connect():
  with socket.socket() as connection:
    connection.settimeout(1)
    connection.connect(("127.0.0.1", port))

outside = (os.path.dirname(host_file), "", "/usr", "/dev", "/dev/shm", "/var/tmp", "/etc")
limits = ("RLIMIT_AS", "RLIMIT_NPROC", "RLIMIT_CPU", "RLIMIT_FSIZE")
print(json.dumps({
  "network_blocked": refused(connect),
  "host_files_hidden": refused(open, host_file) and refused(open, "/etc/passwd"),
  "writes_blocked": all(refused(open, f"{folder}/agentrl_probe", "w") for folder in outside),
  "scratch_writable": not refused(open, "/tmp/agentrl_probe", "w"),
  "processes_hidden": (os.getpid(), os.getppid()) == (2, 1),
  "environment": sorted(os.environ),
  "unprivileged": os.getuid() != 0 and refused(os.setuid, 0) and refused(os.chroot, "/tmp"),
  "limits": [resource.getrlimit(getattr(resource, name))[0] for name in limits],
}))
"""
_probe_lock = threading.Lock()
_probed: dict[tuple[str, ...], SandboxReport] = {}


def probe(isolators: Sequence[str] = tuple(ISOLATORS)) -> SandboxReport:
  """The first isolator whose guest could not get out; found once per process.

  Args:
    isolators: names in `ISOLATORS`, in order of preference.

  Raises:
    SandboxUnavailable: there is none.
  """
  names = tuple(isolators)
  with _probe_lock:
    if names not in _probed:
      _probed[names] = find_isolator({name: ISOLATORS[name] for name in names})
    return _probed[names]


def find_isolator(isolators: Mapping[str, Isolator]) -> SandboxReport:
  """`probe` without its memory."""
  if platform.system() != "Linux" or platform.machine() not in seccomp.MACHINES:
    found = f"{platform.system()} on {platform.machine()}"
    raise SandboxUnavailable(f"guests need Linux on {' or '.join(seccomp.MACHINES)}; this is {found}")
  reasons = []
  for name, isolate in isolators.items():
    try:
      report = _look_inside(name, isolate)
    except EnvironmentFailed as error:
      reasons.append(f"{name}: {error}")
      continue
    if not report.open_layers:
      return report
    reasons.append(f"{name}: does not hold: {', '.join(report.open_layers)}")
  raise SandboxUnavailable(f"no sandbox works on this machine ({'; '.join(reasons)}). {_INSTALL}")


def _look_inside(name: str, isolate: Isolator) -> SandboxReport:
  """Runs the probing guest beside an open port, and a folder and a file of the host that are open to anybody."""
  limits = Limits(wall_seconds=10.0)
  with socket.create_server(("127.0.0.1", 0)) as server, tempfile.TemporaryDirectory() as folder:
    host_file = pathlib.Path(folder, "host_file")
    host_file.touch(0o644)
    os.chmod(folder, 0o777)
    arguments = [str(server.getsockname()[1]), str(host_file)]
    completed = _run(isolate, [*PYTHON, "-c", _PROBE, *arguments], "", limits)
  if completed.exit_code != 0:
    how = completed.killed_by or f"exit code {completed.exit_code}"
    raise EnvironmentFailed(f"its guest failed ({how}): {completed.stderr.strip()[-500:]}")
  found = json.loads(completed.stdout)
  environment, limits_found = found.pop("environment"), found.pop("limits")
  return SandboxReport(
    isolator=name,
    environment_hidden=set(environment) <= {*ENVIRONMENT, "PWD", "LC_CTYPE"},
    limits_set=limits_found == [limits.memory_bytes, limits.processes, limits.cpu_seconds, limits.file_bytes],
    **found,
  )
