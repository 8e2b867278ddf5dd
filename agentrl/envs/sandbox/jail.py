"""Isolation with nothing but the kernel and a Python interpreter, for machines without bubblewrap.

`isolators.py` hands this file to the system's interpreter as text:

  python3 -I -S -c SOURCE STATUS_FD FILTER_FD SCRATCH COMMAND...

Layers: user, mount, network, PID, IPC and UTS namespaces; a root that holds a read-only /usr, a tmpfs with the options
SCRATCH on /tmp, and little else; Landlock, which says the same once more; the seccomp filter read from FILTER_FD. Every
layer must hold, or the command does not start. Resource limits are the caller's: it puts `prlimit` in front of the
command.

Processes: this one stays outside as monitor; process 1 inside reaps, and with it the whole tree dies; process 2 becomes
the command. The monitor writes `{"exit-code": n}` to STATUS_FD, 128 + signal where one killed the command, and
nothing where the command never started; the reason is then on stderr.

Sources: man 7 landlock, man 7 user_namespaces, man 2 pivot_root, man 2 seccomp; structs as in
include/uapi/linux/landlock.h.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import sys
from collections.abc import Sequence

# CLONE_NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET.
_CLONE_NAMESPACES = 0x00020000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 1, 2, 4, 0x20, 0x1000, 0x4000, 0x40000
_LOCKED_FLAGS = (
  2 | 4 | 8 | 1024 | 2048
)  # nosuid, nodev, noexec, noatime, nodiratime: the same bits in statvfs and mount
_MNT_DETACH = 2
_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _SECCOMP_MODE_FILTER = 1, 22, 38, 2
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446  # the same on every architecture
_LANDLOCK_VERSION, _LANDLOCK_PATH_BENEATH = 1, 1

# LANDLOCK_ACCESS_FS_*: how many rights each ABI knows, from the lowest bit on.
_RIGHTS_OF_ABI = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_ALL_PORTS, _ALL_SCOPES = 3, 3  # bind and connect; abstract unix sockets and signals
_READ = 1 << 0 | 1 << 2 | 1 << 3  # execute, read file, read directory
_FILE_RIGHTS = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14  # execute, write, read, truncate
_FOLDERS = ("/usr", "/lib", "/lib64", "/bin", "/sbin")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
_READABLE = (*_FOLDERS, *_DEVICES)
_WRITABLE = ("/tmp", "/dev/null")

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def main(arguments: Sequence[str]) -> int:
  """Runs the command in the jail and reports how it ended; returns the monitor's exit code."""
  status_fd, filter_fd, scratch = int(arguments[0]), int(arguments[1]), arguments[2]
  with os.fdopen(filter_fd, "rb") as stream:
    seccomp_filter = stream.read()
  os.set_inheritable(status_fd, False)
  _die_with_parent()
  _enter_namespaces()
  # Closed unwritten by a successful exec; otherwise it carries why there was none.
  reason_in, reason_out = os.pipe()
  init = os.fork()
  if init == 0:
    os.close(reason_in)
    _run_init(arguments[3:], scratch, seccomp_filter, reason_out)
  os.close(reason_out)
  with os.fdopen(reason_in, "rb") as stream:
    reason = stream.read()
  exit_code = _exit_code(os.waitpid(init, 0)[1])
  if reason:
    sys.stderr.write(f"jail: {reason.decode()}\n")
    return 1
  os.write(status_fd, b'{"exit-code": %d}\n' % exit_code)
  return exit_code


def _enter_namespaces() -> None:
  """New namespaces for the children of this process, under its own uid and gid."""
  uid, gid = os.getuid(), os.getgid()
  if uid == 0:
    raise PermissionError("guests never run as root: start the jail under another uid")
  _check(_libc.unshare(_CLONE_NAMESPACES), "user, mount, network, PID, IPC and UTS namespaces (unshare)")
  for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
    with open(f"/proc/self/{name}", "w") as stream:
      stream.write(text)


def _run_init(command: Sequence[str], scratch: str, seccomp_filter: bytes, reason_out: int) -> None:
  """Process 1: starts the command, reaps what is orphaned, and ends, and the tree with it, when the command ends."""
  try:
    _die_with_parent()
    _build_root(scratch)
    guest = os.fork()
    if guest == 0:
      _become(command, seccomp_filter)
    os.close(reason_out)
    while True:
      pid, status = os.wait()
      if pid == guest:
        os._exit(_exit_code(status))
  except BaseException as error:  # of both children: a child must never return into its parent's code
    os.write(reason_out, f"{type(error).__name__}: {error}".encode())
    os._exit(1)


def _build_root(scratch: str) -> None:
  """A root of its own: the system's folders read-only, a few devices, and a tmpfs on /tmp to work in."""
  _mount("none", "/", "", _MS_REC | _MS_PRIVATE)
  _mount("tmpfs", "/tmp", "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=755")
  os.chdir("/tmp")
  for path in _FOLDERS:
    if os.path.islink(path):
      os.symlink(os.readlink(path), path[1:])
    elif os.path.isdir(path):
      _bind_folder(path)
  os.mkdir("dev")
  for path in _DEVICES:
    os.close(os.open(path[1:], os.O_CREAT, 0o644))
    _mount(path, path[1:], "", _MS_BIND)
  os.mkdir("tmp")
  _mount("tmpfs", "tmp", "tmpfs", _MS_NOSUID | _MS_NODEV, scratch)
  _check(_libc.pivot_root(b".", b"."), "pivot_root")
  _check(_libc.umount2(b".", _MNT_DETACH), "detaching the host's root")
  _mount("none", "/", "", _MS_REMOUNT | _MS_BIND | _MS_RDONLY | _MS_NOSUID | _MS_NODEV)
  os.chdir("/tmp")
  _check(_libc.sethostname(b"guest", 5), "setting the host name")


def _bind_folder(path: str) -> None:
  """Shows a folder of the host, read-only; what its mount forbids already stays forbidden, or the kernel refuses."""
  os.mkdir(path[1:])
  _mount(path, path[1:], "", _MS_BIND | _MS_REC)
  kept = os.statvfs(path).f_flag & _LOCKED_FLAGS
  _mount("none", path[1:], "", _MS_REMOUNT | _MS_BIND | _MS_RDONLY | _MS_NOSUID | _MS_NODEV | kept)


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
  result = _libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode())
  _check(result, f"mounting {kind or source} on {target} ({options or hex(flags)})")


def _become(command: Sequence[str], seccomp_filter: bytes) -> None:
  """Process 2: gives up everything and becomes the command. `execve` drops its capabilities, since its uid is not 0."""
  os.setsid()
  _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
  _restrict_files()
  _restrict_calls(seccomp_filter)
  os.execve(command[0], list(command), dict(os.environ))


def _restrict_files() -> None:
  """Landlock: `_READABLE` may be read, `_WRITABLE` written, nothing else opened.

  Newer kernels also keep it from TCP ports, and from abstract sockets and signals to processes outside.
  """
  abi = _landlock(_LANDLOCK_CREATE, None, 0, _LANDLOCK_VERSION)
  handled = (1 << _RIGHTS_OF_ABI[min(abi, max(_RIGHTS_OF_ABI))]) - 1
  attributes = struct.pack("=QQQ", handled, _ALL_PORTS, _ALL_SCOPES)[: 8 if abi < 4 else 16 if abi < 6 else 24]
  ruleset = _landlock(_LANDLOCK_CREATE, attributes, len(attributes), 0)
  for paths, rights in ((_READABLE, _READ), (_WRITABLE, handled)):
    for path in filter(os.path.exists, paths):
      _allow(ruleset, path, rights & handled)
  _landlock(_LANDLOCK_RESTRICT, ruleset, 0)
  os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
  """Adds one `struct landlock_path_beneath_attr`; a file takes only rights that files have."""
  fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
  rights = rights if os.path.isdir(path) else rights & _FILE_RIGHTS
  _landlock(_LANDLOCK_ADD, ruleset, _LANDLOCK_PATH_BENEATH, struct.pack("=Qi", rights, fd), 0)
  os.close(fd)


def _landlock(number: int, *arguments: int | bytes | None) -> int:
  converted = [ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments]
  return _check(_libc.syscall(ctypes.c_long(number), *converted), "Landlock (Linux 5.13 with the landlock LSM on)")


def _restrict_calls(seccomp_filter: bytes) -> None:
  """Installs the BPF program, a `struct sock_fprog` of 8-byte instructions."""
  code = ctypes.create_string_buffer(seccomp_filter, len(seccomp_filter))
  program = ctypes.create_string_buffer(struct.pack("@HP", len(seccomp_filter) // 8, ctypes.addressof(code)))
  _check(_libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0), "the seccomp filter")


def _die_with_parent() -> None:
  _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "PR_SET_PDEATHSIG")


def _check(result: int, what: str) -> int:
  """Passes on what the C library returned, or raises with the layer that failed."""
  if result < 0:
    error = ctypes.get_errno()
    raise OSError(error, f"{what}: {os.strerror(error)}")
  return result


def _exit_code(status: int) -> int:
  """A wait status as a shell writes it: the exit code, or 128 + signal."""
  code = os.waitstatus_to_exitcode(status)
  return code if code >= 0 else 128 - code


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
