"""A seccomp filter for guests: no sockets, no namespaces, no mounts, no tracing, no kernel interfaces.

Namespaces already keep a guest from seeing anything; the filter keeps it from the system calls through which kernels
have been broken. Refused calls return EPERM, so that Python reports `PermissionError`, and `clone3`, whose flags no
filter can read, returns ENOSYS, after which the C library takes `clone`.

The program is classic BPF, as `struct sock_filter` in include/uapi/linux/filter.h; numbers are those of
arch/x86/entry/syscalls/syscall_64.tbl and of include/uapi/asm-generic/unistd.h.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in `struct seccomp_data`
_KILL, _ERRNO, _ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
_EPERM, _ENOSYS = 1, 38
_X32 = 0x40000000  # x86-64 calls at or above this number belong to another ABI
# CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET.
_NAMESPACE_FLAGS = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000

# The same number on every architecture since Linux 5.1: io_uring, the new mount interface, clone3 apart.
_IO_URING = (425, 426, 427)
_MOUNT_API = (428, 429, 430, 431, 432, 433, 442)


class _Architecture(NamedTuple):
  """What differs between machines: `AUDIT_ARCH_*`, the number of `clone`, and the refused calls by name."""

  audit: int
  clone: int
  refused: dict[str, int]


_ARCHITECTURES = {
  "x86_64": _Architecture(
    0xC000003E,
    56,
    {
      "socket": 41, "ptrace": 101, "pivot_root": 155, "chroot": 161, "acct": 163, "mount": 165, "umount2": 166,
      "swapon": 167, "swapoff": 168, "reboot": 169, "init_module": 175, "delete_module": 176, "quotactl": 179,
      "kexec_load": 246, "add_key": 248, "request_key": 249, "keyctl": 250, "unshare": 272,
      "perf_event_open": 298, "name_to_handle_at": 303, "open_by_handle_at": 304, "setns": 308,
      "process_vm_readv": 310, "process_vm_writev": 311, "finit_module": 313, "kexec_file_load": 320,
      "bpf": 321, "userfaultfd": 323,
    },
  ),
  "aarch64": _Architecture(
    0xC00000B7,
    220,
    {
      "umount2": 39, "mount": 40, "pivot_root": 41, "chroot": 51, "quotactl": 60, "acct": 89, "unshare": 97,
      "kexec_load": 104, "init_module": 105, "delete_module": 106, "ptrace": 117, "reboot": 142, "socket": 198,
      "add_key": 217, "request_key": 218, "keyctl": 219, "swapon": 224, "swapoff": 225, "perf_event_open": 241,
      "name_to_handle_at": 264, "open_by_handle_at": 265, "setns": 268, "process_vm_readv": 270,
      "process_vm_writev": 271, "finit_module": 273, "bpf": 280, "userfaultfd": 282, "kexec_file_load": 294,
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
  for number in (*architecture.refused.values(), *_IO_URING, *_MOUNT_API):
    code += [_op(_EQUAL, number, no=1), _op(_RETURN, _ERRNO | _EPERM)]
  code += [_op(_EQUAL, _CLONE3, no=1), _op(_RETURN, _ERRNO | _ENOSYS)]
  code += [_op(_EQUAL, architecture.clone, no=3), _op(_LOAD, _FIRST_ARGUMENT)]
  code += [_op(_ANY_BIT, _NAMESPACE_FLAGS, no=1), _op(_RETURN, _ERRNO | _EPERM), _op(_RETURN, _ALLOW)]
  return b"".join(code)


def _op(code: int, operand: int, *, yes: int = 0, no: int = 0) -> bytes:
  """One instruction; `yes` and `no` are how many instructions a jump skips."""
  return struct.pack("=HBBI", code, yes, no, operand)
