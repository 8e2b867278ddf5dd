"""Attempts to use more than a guest may."""

import re

import pytest

from agentrl.envs.sandbox import Sandbox, WarmPool, probe
from tests.envs.red_team.conftest import EPERM, PATIENT, Attempt, told_of

ATTEMPTS = {
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
  "empty files": Attempt(
    """
def fill():
  for name in range(5000):
    os.close(os.open(f"{WORK}/{name}", os.O_CREAT))
attempt(fill)
""",
    "^refused ENOSPC$",
    "^did",
  ),
  "empty folders": Attempt(
    "attempt(lambda: [os.mkdir(f'{WORK}/{i}') for i in range(5000)])", "^refused ENOSPC$", "^did"
  ),
  "names of one file": Attempt(
    "write(WORK + '/one'); attempt(lambda: [os.link(WORK + '/one', f'{WORK}/{i}') for i in range(5000)])",
    "^refused ENOSPC$",
    "^did",
  ),
  "links to nothing": Attempt(
    "attempt(lambda: [os.symlink('x' * 4000, f'{WORK}/{i}') for i in range(5000)])", "^refused ENOSPC$", "^did"
  ),
  "files without a name": Attempt(
    "attempt(lambda: [os.write(os.open(WORK, os.O_TMPFILE | os.O_RDWR), bytes(1 << 16)) for _ in range(40)])",
    "^refused (ENOSPC|EOPNOTSUPP)$",
  ),
  # ---- memory that is no process's
  "System V memory": Attempt(
    "made = call(libc.shmget, 0, 1 << 24, 0o1600)\nif made is not None: libc.shmctl(made, 0, None)", EPERM, "^did"
  ),
  "System V semaphores": Attempt(
    "made = call(libc.semget, 0, 32000, 0o1600)\nif made is not None: libc.semctl(made, 0, 0)", EPERM, "^did"
  ),
  "System V messages": Attempt(
    "made = call(libc.msgget, 0, 0o1600)\nif made is not None: libc.msgctl(made, 0, None)", EPERM, "^did"
  ),
  "queue of messages": Attempt(
    "system_call(240, 180, b'red_team', 0o102, 0o600, None); libc.syscall(number(241, 181), b'red_team')", EPERM, "^did"
  ),
  "memory file": Attempt("attempt(lambda: os.write(os.memfd_create('x'), bytes(1 << 24)))", EPERM, "^did 16777216"),
  "memory file of large pages": Attempt("attempt(os.memfd_create, 'x', 4)", EPERM, "^did"),
  "shared memory": Attempt("import mmap; attempt(mmap.mmap, -1, 1 << 24)", EPERM, "^did"),
  "shared memory, then all but a page of it given back": Attempt(
    """
libc.mmap.restype = ctypes.c_void_p
for _ in range(10):
  place = libc.mmap(None, ctypes.c_size_t(1 << 26), 3, 0x21, -1, ctypes.c_long(0))
  if place == ctypes.c_void_p(-1).value:
    print("refused", errno.errorcode[ctypes.get_errno()])
    break
  ctypes.memset(place, 1, 1 << 26)
  libc.munmap(ctypes.c_void_p(place + 4096), ctypes.c_size_t((1 << 26) - 4096))
else:
  print("did hold 640 MB")
""",
    EPERM,
    "^did hold",
  ),
  "shared memory by its device": Attempt(
    "import mmap; attempt(lambda: mmap.mmap(os.open('/dev/zero', os.O_RDONLY), 1 << 24, access=mmap.ACCESS_READ))",
    EPERM,
    "^did",
  ),
  "secret memory": Attempt("system_call(447, 447, 0)", EPERM),
  "pages in a pipe": Attempt(
    """
page = ctypes.create_string_buffer(b"x" * 4096)
vector = (ctypes.c_size_t * 2)(ctypes.addressof(page), 4096)
system_call(278, 75, os.pipe()[1], ctypes.byref(vector), ctypes.c_size_t(1), 0)
""",
    EPERM,
    "^did 4096",
  ),
  "large pipe": Attempt("import fcntl; attempt(fcntl.fcntl, os.pipe()[1], 1031, 1 << 18)", EPERM, "^did 262144"),
  "large buffer of a pair": Attempt(
    "attempt(lambda: socket.socketpair()[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20))", EPERM, "^did"
  ),
  "locked memory": Attempt(
    "page = ctypes.create_string_buffer(9999)\ncall(libc.mlock, page, 9999)", "^refused (EPERM|ENOMEM)$", "^did"
  ),
  "pipes": Attempt(
    """
held = []
def fill():
  while True:
    held.append(os.pipe())
    os.set_blocking(held[-1][1], False)
    try:
      while os.write(held[-1][1], bytes(4096)): pass
    except BlockingIOError:
      pass
attempt(fill)
print("pipes", len(held))
""",
    r"^refused EMFILE$[\s\S]*pipes (1|2|3)\d$",
  ),
  "pairs": Attempt(
    """
held = []
def fill():
  while True:
    held.append(socket.socketpair())
    held[-1][0].setblocking(False)
    try:
      while held[-1][0].send(bytes(4096)): pass
    except BlockingIOError:
      pass
attempt(fill)
print("pairs", len(held))
""",
    r"^refused EMFILE$[\s\S]*pairs (1|2|3)\d$",
  ),
  "descriptors in flight": Attempt(
    """
one, other = socket.socketpair()
sent = 0
def fill():
  global sent
  while True:
    socket.send_fds(one, [b"x"], [1])
    sent += 1
one.setblocking(False)
attempt(fill)
print("sent", sent)
""",
    r"^refused (ETOOMANYREFS|EAGAIN)$[\s\S]*sent \d{1,3}$",
  ),
  "queued signals": Attempt(
    """
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGRTMIN})
def fill():
  for _ in range(5000):
    if libc.sigqueue(os.getpid(), int(signal.SIGRTMIN), None) < 0:
      raise OSError(ctypes.get_errno(), "")
attempt(fill)
""",
    "^refused EAGAIN$",
    "^did",
  ),
  "timers": Attempt(
    """
def fill():
  for _ in range(5000):
    if libc.timer_create(1, None, ctypes.byref(ctypes.c_void_p())) < 0:
      raise OSError(ctypes.get_errno(), "")
attempt(fill)
""",
    "^refused EAGAIN$",
    "^did",
  ),
  # ---- files, output and time
  "sparse file": Attempt("attempt(os.truncate, os.open(WORK + '/sparse', 0o102), 1 << 40)", "^refused EFBIG$"),
  "descriptors": Attempt("attempt(lambda: [open('/dev/null') for _ in range(80)])", "^refused EMFILE$", "^did"),
  "stdout": Attempt("while True: os.write(1, bytes(65536))", "killed by output"),
  "stderr": Attempt("while True: os.write(2, bytes(65536))", "killed by output"),
  "every descriptor": Attempt(
    """
def takes(fd):
  try:
    return os.write(fd, b"0" * 4096) > 0
  except OSError:
    return False
writable = [fd for fd in range(3, 64) if takes(fd)]  # failing calls on closed ones would use up the processor time
while writable:
  for fd in writable:
    takes(fd)
""",
    "killed by output",
  ),
  "processor": Attempt("print('begun')\nwhile True: pass", r"^begun$[\s\S]*killed by (wall time|SIGXCPU)"),
}


@pytest.mark.parametrize("name", ATTEMPTS)
def test_contained(contain, name):
  contain(ATTEMPTS[name])


@pytest.mark.parametrize("name", [name for name, attempt in ATTEMPTS.items() if attempt.control])
def test_unconfined_it_gets_through(let_through, name):
  let_through(ATTEMPTS[name])


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
    assert re.search("killed True|killed by SIGKILL", told_of(pool.run(host.payload(hoard))))
  host.assert_unharmed()


OWN = "block = bytearray(b'x') * (90 << 20)"
HOGS = {"own pages": OWN, "pages of a program that is no more": f"{OWN}; os.execv(*SMALL)"}


@pytest.mark.parametrize("hog", HOGS)
def test_a_hog_that_looks_small_is_told_of_its_own_end(host, pool, hog):
  """Whatever the kernel picks to kill, it is nothing of ours: the call ends as the policy's."""
  code = f"""
SMALL = ("/usr/bin/sleep", [HOST["marker"], "60"])
for _ in range(4):
  if os.fork() == 0:
    {HOGS[hog]}
    time.sleep(60)
os.execv(*SMALL)
"""
  for _ in range(2):
    assert pool.run(host.payload(code)).killed_by in ("SIGKILL", "wall time")
  host.assert_unharmed()
