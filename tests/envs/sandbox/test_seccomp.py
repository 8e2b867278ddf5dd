import re
import socket
import struct
from pathlib import Path

import pytest

from agentrl.envs.sandbox import seccomp
from agentrl.envs.sandbox.seccomp import MACHINES, program

ALLOW, KILL, EPERM, ENOSYS = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# From the kernel's own tables.
NUMBERS = {
  "x86_64": {
    "read": 0, "socket": 41, "mount": 165, "unshare": 272, "clone": 56, "socketpair": 53, "fcntl": 72, "shmget": 29,
    "semget": 64, "msgget": 68, "memfd_create": 319, "kcmp": 312, "modify_ldt": 154, "mq_open": 240,
    "inotify_init1": 294, "fanotify_init": 300, "syslog": 103, "vmsplice": 278, "io_setup": 206, "setsockopt": 54,
    "mmap": 9,
  },
  "aarch64": {
    "read": 63, "socket": 198, "mount": 40, "unshare": 97, "clone": 220, "socketpair": 199, "fcntl": 25, "shmget": 194,
    "semget": 190, "msgget": 186, "memfd_create": 279, "kcmp": 272, "mq_open": 180, "inotify_init1": 26,
    "fanotify_init": 262, "syslog": 116, "vmsplice": 75, "io_setup": 0, "setsockopt": 208,
    "mmap": 222,
  },
}  # fmt: skip
STREAM, DATAGRAM, PACKETS, CLOEXEC, NONBLOCK = 1, 2, 5, 0x80000, 0x800
F_GETFL, F_SETPIPE_SZ = 3, 1031


def run(code: bytes, *, audit: int, number: int, arguments: tuple[int, ...] = (0, 0, 0, 0)) -> int:
  """A small BPF machine: loads, the three jumps in use, "and", and return."""
  words = {0: number, 4: audit} | {16 + 8 * position: argument for position, argument in enumerate(arguments)}
  instructions = list(struct.iter_unpack("=HBBI", code))
  position, accumulator = 0, 0
  while True:
    operation, yes, no, operand = instructions[position]
    position += 1
    if operation == 0x06:
      return operand
    if operation == 0x20:
      accumulator = words[operand]
    elif operation == 0x54:
      accumulator &= operand
    else:
      test = {0x15: accumulator == operand, 0x35: accumulator >= operand, 0x45: accumulator & operand != 0}[operation]
      position += yes if test else no


@pytest.fixture(params=MACHINES)
def judge(request):
  """`judge(name or number)` is what the filter of a machine returns for that call."""
  machine = request.param

  def judge_call(call: str | int, *arguments: int) -> int:
    number = NUMBERS[machine][call] if isinstance(call, str) else call
    return run(program(machine), audit=AUDIT[machine], number=number, arguments=(*arguments, 0, 0, 0, 0))

  return judge_call


def test_ordinary_calls_pass(judge):
  assert judge("read") == ALLOW


@pytest.mark.parametrize(
  "call",
  ["socket", "mount", "unshare", "shmget", "semget", "msgget", "memfd_create", "kcmp", "mq_open", "inotify_init1",
   "fanotify_init", "syslog", "vmsplice", "io_setup", "setsockopt", 425, 428, 438, 442, 444, 447],
)  # fmt: skip
def test_dangerous_calls_are_refused(judge, call):
  assert judge(call) == EPERM


@pytest.mark.parametrize(
  ("machine", "header"),
  [("x86_64", "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), ("aarch64", "/usr/include/asm-generic/unistd.h")],
)
def test_numbers_are_those_of_the_kernel_s_headers(machine, header):
  if not Path(header).exists():
    pytest.skip("the kernel's headers are not installed")
  known = dict(re.findall(r"^#define __NR(?:3264)?_(\w+)\s+(\d+)", Path(header).read_text(), re.MULTILINE))
  ours = seccomp._ARCHITECTURES[machine]
  numbers = ours.refused | {name: getattr(ours, name) for name in ("clone", "socketpair", "fcntl", "mmap")}
  assert {name: int(known[name]) for name in numbers} == numbers
  recent = {name: number for name, number in seccomp._REFUSED.items() if name in known}
  assert {name: int(known[name]) for name in recent} == recent


def test_a_local_descriptor_table_is_refused_where_there_are_any():
  assert run(program("x86_64"), audit=AUDIT["x86_64"], number=NUMBERS["x86_64"]["modify_ldt"]) == EPERM


@pytest.mark.parametrize("flags", [0, CLOEXEC, NONBLOCK, CLOEXEC | NONBLOCK])
def test_of_socket_pairs_connected_streams_pass(judge, flags):
  assert judge("socketpair", socket.AF_UNIX, STREAM | flags) == ALLOW
  for kind in (DATAGRAM, PACKETS, 0, STREAM | 0x100):
    assert judge("socketpair", socket.AF_UNIX, kind | flags) == EPERM
  assert judge("socketpair", 30, STREAM | flags) == EPERM  # AF_TIPC, which has pairs too


def test_pipes_keep_their_size(judge):
  assert judge("fcntl", 5, F_SETPIPE_SZ) == EPERM
  assert judge("fcntl", F_SETPIPE_SZ, F_GETFL) == ALLOW


def test_private_mappings_pass_and_shared_ones_do_not(judge):
  shared, private, anonymous, fixed = 0x01, 0x02, 0x20, 0x10
  for flags in (private, private | anonymous, private | anonymous | fixed):
    assert judge("mmap", 1, 4096, 1, flags) == ALLOW
  for flags in (shared, shared | anonymous, shared | private | 0x8000):
    assert judge("mmap", 0, 4096, 3, flags) == EPERM


@pytest.mark.parametrize("flag", [0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000])
def test_clone_makes_processes_but_no_namespaces(judge, flag):
  threads = 0x003D0F00  # what pthread_create asks for
  assert judge("clone", threads) == ALLOW
  assert judge("clone", 17) == ALLOW  # fork: SIGCHLD alone
  assert judge("clone", flag | 17) == EPERM


def test_clone3_is_said_not_to_exist(judge):
  assert judge(435) == ENOSYS


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_of_another_architecture_kill(machine):
  other = AUDIT["aarch64" if machine == "x86_64" else "x86_64"]
  assert run(program(machine), audit=other, number=0) == KILL


def test_x32_calls_kill():
  assert run(program("x86_64"), audit=AUDIT["x86_64"], number=0x40000000) == KILL


@pytest.mark.parametrize("machine", MACHINES)
def test_the_program_fits_in_a_pipe_and_in_the_kernel(machine):
  assert len(program(machine)) % 8 == 0
  assert len(program(machine)) <= 4096  # the kernel takes 4096 instructions; a pipe holds at least 4096 bytes
