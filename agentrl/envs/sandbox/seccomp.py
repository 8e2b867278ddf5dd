"""A seccomp filter for guests: no sockets, no namespaces, no mounts, no tracing, no memory outside the limits.

Namespaces already keep a guest from seeing anything; the filter keeps it from the system calls through which kernels
have been broken, from those that take what is counted for the whole machine or for all of a user's processes (message
queues, watches of files, contexts of asynchronous I/O), and from those that hold memory apart from any process, where
no resource limit counts it (System V objects, memory files, pages in a pipe, buffers of more than the usual size).
Of a shared mapping of memory all pages that were ever written are kept as long as one of them is mapped, and only that
one is counted. A file may be mapped so as well, and no filter can see whether it is /dev/zero, which makes such memory:
every shared mapping is refused, and private ones, of files too, pass.
Socket pairs pass where they are connected streams: from the end of a datagram pair one can send to any socket that has
a path.

Refused calls return EPERM, so that Python reports `PermissionError`, and `clone3`, whose flags no filter can read,
returns ENOSYS, after which the C library takes `clone`.

The program is classic BPF, as `struct sock_filter` in include/uapi/linux/filter.h; numbers are those of
arch/x86/entry/syscalls/syscall_64.tbl and of include/uapi/asm-generic/unistd.h.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_NUMBER, _ARCHITECTURE = 0, 4  # offsets in `struct seccomp_data`
_ARGUMENTS = (16, 24, 32, 40)  # likewise; low halves of the first four
_KILL, _ERRNO, _ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
_EPERM, _ENOSYS = 1, 38
_X32 = 0x40000000  # x86-64 calls at or above this number belong to another ABI
# CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET.
_NAMESPACE_FLAGS = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
_AF_UNIX, _SOCK_STREAM = 1, 1
_KIND_OF_SOCKET = 0xFFFFFFFF & ~(0x80000 | 0x800)  # SOCK_CLOEXEC and SOCK_NONBLOCK do not count
_F_SETPIPE_SZ = 1031
_SHARED = 0x01  # bit of MAP_SHARED and MAP_SHARED_VALIDATE in the flags of mmap, and not of MAP_PRIVATE

# The same number on every architecture since Linux 5.1.
_REFUSED = {
  "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428, "move_mount": 429,
  "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "pidfd_getfd": 438, "mount_setattr": 442,
  "quotactl_fd": 443, "landlock_create_ruleset": 444, "landlock_add_rule": 445, "landlock_restrict_self": 446,
  "memfd_secret": 447, "statmount": 457, "listmount": 458, "open_tree_attr": 467,
}  # fmt: skip


class _Architecture(NamedTuple):
  """What differs between machines: `AUDIT_ARCH_*`, calls that are judged by their arguments, refused ones by name."""

  audit: int
  clone: int
  socketpair: int
  fcntl: int
  mmap: int
  refused: dict[str, int]


_ARCHITECTURES = {
  "x86_64": _Architecture(
    0xC000003E,
    56,
    53,
    72,
    9,
    {
      "shmget": 29, "socket": 41, "connect": 42, "bind": 49, "setsockopt": 54, "semget": 64, "msgget": 68,
      "ptrace": 101, "syslog": 103, "modify_ldt": 154, "pivot_root": 155, "chroot": 161, "acct": 163, "mount": 165,
      "umount2": 166, "swapon": 167, "swapoff": 168, "reboot": 169, "init_module": 175, "delete_module": 176,
      "quotactl": 179, "io_setup": 206, "mq_open": 240, "kexec_load": 246, "add_key": 248, "request_key": 249,
      "keyctl": 250, "inotify_init": 253, "migrate_pages": 256, "unshare": 272, "vmsplice": 278, "move_pages": 279,
      "inotify_init1": 294, "perf_event_open": 298, "fanotify_init": 300, "name_to_handle_at": 303,
      "open_by_handle_at": 304, "setns": 308, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312,
      "finit_module": 313, "memfd_create": 319, "kexec_file_load": 320, "bpf": 321, "userfaultfd": 323,
    },
  ),
  "aarch64": _Architecture(
    0xC00000B7,
    220,
    199,
    25,
    222,
    {
      "io_setup": 0, "inotify_init1": 26, "umount2": 39, "mount": 40, "pivot_root": 41, "chroot": 51, "quotactl": 60,
      "vmsplice": 75, "acct": 89, "unshare": 97, "kexec_load": 104, "init_module": 105, "delete_module": 106,
      "syslog": 116, "ptrace": 117, "reboot": 142, "mq_open": 180, "msgget": 186, "semget": 190, "shmget": 194,
      "socket": 198, "bind": 200, "connect": 203, "setsockopt": 208, "add_key": 217, "request_key": 218, "keyctl": 219,
      "swapon": 224, "swapoff": 225, "migrate_pages": 238, "move_pages": 239, "perf_event_open": 241,
      "fanotify_init": 262, "name_to_handle_at": 264, "open_by_handle_at": 265, "setns": 268, "process_vm_readv": 270,
      "process_vm_writev": 271, "kcmp": 272, "finit_module": 273, "memfd_create": 279, "bpf": 280, "userfaultfd": 282,
      "kexec_file_load": 294,
    },
  ),
}  # fmt: skip
_CLONE3 = 435
MACHINES = tuple(_ARCHITECTURES)


def program(machine: str) -> bytes:
  """The filter as an array of 8-byte `struct sock_filter`.

  Args:
    machine: as `platform.machine()` names it, one of `MACHINES`.
  """
  architecture = _ARCHITECTURES[machine]
  code = [_op(_LOAD, _ARCHITECTURE), _op(_EQUAL, architecture.audit, yes=1), _op(_RETURN, _KILL), _op(_LOAD, _NUMBER)]
  if machine == "x86_64":
    code += [_op(_AT_LEAST, _X32, no=1), _op(_RETURN, _KILL)]
  for number in (*architecture.refused.values(), *_REFUSED.values()):
    code += [_op(_EQUAL, number, no=1), _REFUSE]
  code += [_op(_EQUAL, _CLONE3, no=1), _op(_RETURN, _ERRNO | _ENOSYS)]
  code += [_op(_EQUAL, architecture.socketpair, no=7), _op(_LOAD, _ARGUMENTS[0]), _op(_EQUAL, _AF_UNIX, no=3)]
  code += [_op(_LOAD, _ARGUMENTS[1]), _op(_AND, _KIND_OF_SOCKET), _op(_EQUAL, _SOCK_STREAM, yes=1), _REFUSE, _PASS]
  code += [_op(_EQUAL, architecture.fcntl, no=4), _op(_LOAD, _ARGUMENTS[1])]
  code += [_op(_EQUAL, _F_SETPIPE_SZ, no=1), _REFUSE, _PASS]
  code += [_op(_EQUAL, architecture.mmap, no=4), _op(_LOAD, _ARGUMENTS[3])]
  code += [_op(_ANY_BIT, _SHARED, no=1), _REFUSE, _PASS]
  code += [_op(_EQUAL, architecture.clone, no=3), _op(_LOAD, _ARGUMENTS[0])]
  code += [_op(_ANY_BIT, _NAMESPACE_FLAGS, no=1), _REFUSE, _PASS]
  return b"".join(code)


def _op(code: int, operand: int, *, yes: int = 0, no: int = 0) -> bytes:
  """One instruction; `yes` and `no` are how many instructions a jump skips."""
  return struct.pack("=HBBI", code, yes, no, operand)


_REFUSE, _PASS = _op(_RETURN, _ERRNO | _EPERM), _op(_RETURN, _ALLOW)
