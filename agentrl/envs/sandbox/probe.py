"""Whether an isolator holds on this machine: a guest tries to get out, and says what it found."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import platform
import socket
import tempfile
import threading
from collections.abc import Mapping, Sequence

from agentrl.envs.sandbox import cgroup, seccomp
from agentrl.envs.sandbox.guest import ENVIRONMENT, Guest
from agentrl.envs.sandbox.isolators import ISOLATORS, PYTHON, Isolator
from agentrl.envs.sandbox.limits import Completed, Limits, SandboxUnavailable
from agentrl.types import EnvironmentFailed

INSTALL = (
  "Install bubblewrap and util-linux (`apt-get install bubblewrap util-linux mount`), on a kernel that allows "
  "unprivileged user namespaces (in a container: `--security-opt seccomp=unconfined`; on Ubuntu 24.04 and later: "
  "`sysctl kernel.apparmor_restrict_unprivileged_userns=0`), with the interpreter /usr/bin/python3. "
  "Code is never run unisolated."
)


def _layer(meaning: str, absent: str = "") -> dataclasses.Field:
  """What was tried, and what None stands for."""
  return dataclasses.field(metadata={"meaning": meaning, "absent": absent})


@dataclasses.dataclass(frozen=True)
class SandboxReport:
  """What a probing guest found: True where a layer holds, None where this isolator or machine has none of the kind."""

  isolator: str
  network_blocked: bool = _layer("a port of the host's loopback cannot be reached")
  host_files_hidden: bool = _layer("files that anybody may read are not there")
  writes_blocked: bool = _layer("nothing outside the scratch folder can be written")
  scratch_writable: bool = _layer("the scratch folder can")
  processes_hidden: bool = _layer("it is process 2 of a PID namespace, and sees no other")
  environment_hidden: bool = _layer("no variables of the trainer's environment")
  unprivileged: bool = _layer("neither uid 0 nor able to become it, or to change its root")
  calls_filtered: bool = _layer(
    "seccomp refuses sockets, memory files, shared memory, namespaces and keys; no new privileges"
  )
  limits_set: bool = _layer("limits of memory, processes, CPU time and file size for each process; of files in all")
  tree_processes_capped: bool = _layer("the tree cannot fork past its limit")
  tree_memory_capped: bool | None = _layer(
    "the tree together cannot allocate past its limit (cgroup)", "not available here"
  )
  landlock: bool | None = _layer("Landlock refuses once more what the mounts hide", "no part of it")

  @property
  def open_layers(self) -> list[str]:
    """Names of the layers that do not hold."""
    return [name for name, holds in vars(self).items() if holds is False]


# Tries to get out, and prints what it found as JSON. Arguments: a port of the host's loopback, and a file of the host
# that anybody may read, in a folder where anybody may write.
_PROBE = """
import ctypes, errno, json, os, resource, socket, sys, time
port, host_file = int(sys.argv[1]), sys.argv[2]
libc = ctypes.CDLL(None, use_errno=True)

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

def filtered(call, *arguments):
  return call(*arguments) == -1 and ctypes.get_errno() == errno.EPERM

def forked():
  children = []
  try:
    while len(children) < 100:
      child = os.fork()
      if child == 0:
        time.sleep(60)
      children.append(child)
  except OSError:
    pass
  for child in children:
    os.kill(child, 9)
    os.waitpid(child, 0)
  return len(children)

outside = (os.path.dirname(host_file), "", "/usr", "/dev", "/dev/shm", "/var/tmp", "/etc")
limits = ("RLIMIT_AS", "RLIMIT_NPROC", "RLIMIT_CPU", "RLIMIT_FSIZE")
keyctl = {"x86_64": 250, "aarch64": 219}[os.uname().machine]
print(json.dumps({
  "network_blocked": refused(connect),
  "host_files_hidden": refused(open, host_file) and refused(open, "/etc/passwd"),
  "writes_blocked": all(refused(open, f"{folder}/agentrl_probe", "w") for folder in outside),
  "scratch_writable": not refused(open, "/tmp/agentrl_probe", "w"),
  "processes_hidden": (os.getpid(), os.getppid()) == (2, 1),
  "environment": sorted(os.environ),
  "unprivileged": os.getuid() != 0 and refused(os.setuid, 0) and refused(os.chroot, "/tmp"),
  "calls_filtered": filtered(libc.socket, 1, 1, 0) and filtered(libc.unshare, 0) and filtered(libc.syscall, keyctl, 0)
    and filtered(libc.socketpair, 1, 2, 0, (ctypes.c_int * 2)()) and filtered(libc.memfd_create, b"", 0)
    and filtered(libc.mmap, None, 4096, 3, 0x21, -1, 0)
    and libc.prctl(39, 0, 0, 0, 0) == 1,
  "limits": [*(resource.getrlimit(getattr(resource, name))[0] for name in limits), os.statvfs("/tmp").f_files],
  "forked": forked(),
  "landlock": refused(os.listdir, "/"),
}))
"""

# Four children that together would hold twice what the tree may, each well below what a process may. Prints how many
# of them were killed.
_HOARD = """
import os
hold, release = os.pipe()
done, tell = os.pipe()
children = []
for _ in range(4):
  child = os.fork()
  if child == 0:
    os.close(release)
    block = bytearray(b"x") * (64 << 20)
    os.close(tell)
    os.read(hold, 1)
    os._exit(0)
  children.append(child)
os.close(tell)
os.read(done, 1)
os.close(release)
print(sum(os.waitpid(child, 0)[1] == 9 for child in children))
"""
_WALL_SECONDS = 60.0  # on a machine that others keep busy
_HOARD_LIMITS = Limits(wall_seconds=_WALL_SECONDS, memory_bytes=128 << 20, file_bytes=1 << 20)

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
  if reason := unsupported():
    raise SandboxUnavailable(reason)
  reasons = []
  for name, isolate in isolators.items():
    try:
      report = look_inside(name, isolate)
    except EnvironmentFailed as error:
      reasons.append(f"{name}: {error}")
      continue
    if not report.open_layers:
      return report
    reasons.append(f"{name}: does not hold: {', '.join(report.open_layers)}")
  raise SandboxUnavailable(f"no sandbox works on this machine ({'; '.join(reasons)}). {INSTALL}")


def unsupported() -> str:
  """Why no isolator can hold on this kind of machine; "" where one may."""
  if platform.system() == "Linux" and platform.machine() in seccomp.MACHINES:
    return ""
  return f"guests need Linux on {' or '.join(seccomp.MACHINES)}; this is {platform.system()} on {platform.machine()}"


def look_inside(name: str, isolate: Isolator) -> SandboxReport:
  """Runs the probing guest beside an open port, and a folder and a file of the host that are open to anybody.

  Raises:
    EnvironmentFailed: the isolator starts no guest, or its guest broke.
  """
  limits = Limits(wall_seconds=_WALL_SECONDS)
  with socket.create_server(("127.0.0.1", 0)) as server, tempfile.TemporaryDirectory() as folder:
    host_file = pathlib.Path(folder, "host_file")
    host_file.touch(0o644)
    os.chmod(folder, 0o777)
    completed = _run(isolate, limits, _PROBE, str(server.getsockname()[1]), str(host_file))
  if completed.exit_code != 0:
    how = completed.killed_by or f"exit code {completed.exit_code}"
    raise EnvironmentFailed(f"its guest failed ({how}): {completed.stderr.strip()[-500:]}")
  found = json.loads(completed.stdout)
  environment, limits_found, forked = found.pop("environment"), found.pop("limits"), found.pop("forked")
  landlock = found.pop("landlock")
  return SandboxReport(
    isolator=name,
    environment_hidden=set(environment) <= {*ENVIRONMENT, "PWD", "LC_CTYPE"},
    limits_set=limits_found
    == [limits.memory_bytes, limits.processes, limits.cpu_seconds, limits.file_bytes, limits.files],
    tree_processes_capped=0 < forked < limits.processes,
    tree_memory_capped=_caps_memory(isolate) if cgroup.groups(limits) is not None else None,
    landlock=landlock if name == "jail" else None,
    **found,
  )


def _caps_memory(isolate: Isolator) -> bool:
  """Whether a tree that holds too much is killed, or some of it."""
  completed = _run(isolate, _HOARD_LIMITS, _HOARD)
  return completed.killed_by == "SIGKILL" or int(completed.stdout or 0) > 0


def _run(isolate: Isolator, limits: Limits, code: str, *arguments: str) -> Completed:
  with contextlib.closing(Guest(isolate, [*PYTHON, "-c", code, *arguments], limits)) as guest:
    return guest.run(b"")
