"""Ways to put a command into isolation, as command lines."""

from __future__ import annotations

import os
import pathlib
import shutil
from collections.abc import Callable, Sequence

from agentrl.envs.sandbox import jail
from agentrl.envs.sandbox.limits import Limits

PYTHON = ("/usr/bin/python3", "-I", "-S")  # the guest's interpreter: ours may live where no other uid can read

_NOBODY = 65534
_NICE = 10  # a ninth of a trainer's weight: of a core that both want, a call gets a tenth, and so does what it leaves
_MOUNT = 'mount -n -t tmpfs -o "$1,nosuid,nodev" tmpfs /sys && shift && exec "$@"'
_JAIL_SOURCE = pathlib.Path(jail.__file__).read_text(encoding="utf-8")

# (command, limits, status_fd, filter_fd) -> command line. The isolator writes a line of JSON with "exit-code" to
# status_fd when the command has ended, and reads its seccomp filter from filter_fd; the command gets neither.
Isolator = Callable[[Sequence[str], Limits, int, int], list[str]]


def _bubblewrap(command: Sequence[str], limits: Limits, status_fd: int, filter_fd: int) -> list[str]:
  path = shutil.which("bwrap")
  if path is None:
    raise FileNotFoundError("bwrap is not on the PATH")
  # It cannot bound the files of a tmpfs, so it binds one that was mounted for it, in a namespace around its own. There
  # this shell is root, and the mount covers a folder that holds no programs.
  around = ["unshare", "--user", "--map-root-user", "--mount", "--", "/bin/sh", "-c", _MOUNT, "sh", _scratch(limits)]
  options = ["--unshare-user", "--uid", str(_NOBODY), "--gid", str(_NOBODY), "--unshare-all", "--hostname", "guest"]
  options += ["--die-with-parent", "--cap-drop", "ALL", "--json-status-fd", str(status_fd), "--seccomp", str(filter_fd)]
  options += ["--ro-bind", "/usr", "/usr", *_system_links(), "--dev", "/dev", "--remount-ro", "/dev"]
  options += ["--bind", "/sys", "/tmp", "--remount-ro", "/", "--chdir", "/tmp"]
  # The command alone gets a session of its own. With --new-session process 1 would have one too, before it has asked
  # to die with its parent: a guest killed then left it running.
  return [*demoted(), *around, path, *options, "--", "/usr/bin/setsid", *_limited(command, limits)]


def _jail(command: Sequence[str], limits: Limits, status_fd: int, filter_fd: int) -> list[str]:
  arguments = [str(status_fd), str(filter_fd), _scratch(limits)]
  return [*demoted(), *PYTHON, "-c", _JAIL_SOURCE, *arguments, *_limited(command, limits)]


ISOLATORS: dict[str, Isolator] = {"bubblewrap": _bubblewrap, "jail": _jail}  # in order of preference


def demoted() -> list[str]:
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
    "sigpending": 64,  # these are counted for all of a user's processes: a guest's share must be small, or none
    "memlock": 0,
    "msgqueue": 0,
    "nice": 0,
    "rtprio": 0,
    "core": 0,
  }
  lowered = ["/usr/bin/nice", "-n", str(_NICE), "/usr/bin/prlimit"]
  return [*lowered, *(f"--{name}={value}" for name, value in options.items()), "--", *command]


def _scratch(limits: Limits) -> str:
  """Options of the tmpfs. Empty files take no room, but memory of the kernel's."""
  return f"size={limits.file_bytes},nr_inodes={limits.files},mode=700"


def _system_links() -> list[str]:
  """/bin, /lib and so on as they are on the host: links into /usr, or folders of their own on older systems."""
  options: list[str] = []
  for path in ("/bin", "/lib", "/lib64", "/sbin"):
    if os.path.islink(path):
      options += ["--symlink", os.readlink(path), path]
    elif os.path.isdir(path):
      options += ["--ro-bind", path, path]
  return options
