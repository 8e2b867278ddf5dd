"""Attempts upon other processes, privileges and the kernel's interfaces."""

import pytest

from tests.envs.red_team.conftest import EPERM, X86, Attempt

ATTEMPTS = {
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
  "limits of process 1": Attempt(
    """
import resource
try:
  resource.prlimit(1, resource.RLIMIT_CPU, (1, 1))
  resource.prlimit(1, resource.RLIMIT_FSIZE, (0, 0))
  resource.prlimit(1, resource.RLIMIT_NOFILE, (0, 0))
except OSError:
  pass
print("still", os.getppid())
""",
    r"^still 1$[\s\S]*(exit 0|killed by SIGKILL)",
  ),
  "descriptor of another": Attempt("system_call(438, 438, os.pidfd_open(os.getpid()), 1, 0)", EPERM, "^did"),
  "descriptor of process 1": Attempt("system_call(438, 438, os.pidfd_open(1), 0, 0)", EPERM),
  "objects of the kernel compared": Attempt(
    "system_call(312, 272, os.getpid(), os.getpid(), 1, 0, 0)", EPERM, "^(did 0|refused ENOSYS)$"
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
  "file events": Attempt("system_call(294, 26, 0)", EPERM, "^did"),
  "events of all files": Attempt("system_call(300, 262, 0, 0)", EPERM, "^did", root=True),
  "asynchronous I/O": Attempt(
    "context = ctypes.c_ulong(0)\nsystem_call(206, 0, 8, ctypes.byref(context))", EPERM, "^did 0"
  ),
  "Landlock": Attempt("system_call(444, 444, 0, 0, 1)", EPERM),
  "pages of another node": Attempt("system_call(279, 239, 0, 0, 0, 0, 0, 0)", EPERM),
  "priority": Attempt("attempt(os.setpriority, os.PRIO_PROCESS, 0, -5)", "^refused (EPERM|EACCES)$", "^did", root=True),
  "usual priority": Attempt("attempt(os.setpriority, os.PRIO_PROCESS, 0, 0)", "^refused (EPERM|EACCES)$"),
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
  "raised limit of locked memory": Attempt(
    """
import resource
try:
  resource.setrlimit(resource.RLIMIT_MEMLOCK, (4096, 4096))
  print("did")
except ValueError as error:
  print("refused", error)
""",
    "^refused not allowed",
    "^did",
  ),
}

if X86:
  ATTEMPTS |= {
    "local descriptor table": Attempt("call(lambda: ctypes.c_int(libc.syscall(154, 0, 0, 0)).value)", EPERM, "^did 0"),
    "file events, as of old": Attempt("call(libc.syscall, 253)", EPERM, "^did"),
  }


@pytest.mark.parametrize("name", ATTEMPTS)
def test_contained(contain, name):
  contain(ATTEMPTS[name])


@pytest.mark.parametrize("name", [name for name, attempt in ATTEMPTS.items() if attempt.control])
def test_unconfined_it_gets_through(let_through, name):
  let_through(ATTEMPTS[name])
