"""Attempts not to end, or to have another end told."""

import pytest

from tests.envs.red_team.conftest import WALL, X86, Attempt

ATTEMPTS = {
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


@pytest.mark.parametrize("name", ATTEMPTS)
def test_contained(contain, name):
  contain(ATTEMPTS[name])
