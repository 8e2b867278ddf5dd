"""What the attempts to get out of a sandbox share. Those on code in a guest are made under every isolator.

A payload tells what it could do: "did ..." or "refused ...". What is asserted is the refusal that it met, by name, or
the limit that ended it. Where it does no harm, the same payload also runs unconfined and must get through: so an
attempt that fails for a reason of its own is noticed. Behind every attempt the host is looked at: nothing of the guest
runs on, a victim process lives, and files that were in reach are as they were.
"""

import contextlib
import dataclasses
import os
import platform
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from agentrl.envs.sandbox import ISOLATORS, Limits, Sandbox, WarmPool, warm

SECRET = "the-secret-of-the-host"
LIMITS = Limits(
  wall_seconds=0.8, cpu_seconds=2, processes=8, memory_bytes=192 << 20, file_bytes=1 << 20, output_bytes=1 << 17
)
PATIENT = dataclasses.replace(LIMITS, wall_seconds=20.0)
X86 = platform.machine() == "x86_64"
ROOT = os.getuid() == 0

PRELUDE = """
import ctypes, errno, os, signal, socket, struct, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def attempt(action, *arguments):
  try:
    result = action(*arguments)
  except OSError as error:
    print("refused", errno.errorcode.get(error.errno, error.errno))
  else:
    print("did", str(result)[:60])
    return result
def call(function, *arguments):
  def action():
    result = function(*arguments)
    if result < 0:
      raise OSError(ctypes.get_errno(), "")
    return result
  return attempt(action)
def number(x86, arm):
  return x86 if os.uname().machine == "x86_64" else arm
def system_call(x86, arm, *arguments):
  return call(libc.syscall, number(x86, arm), *arguments)
def read(path):
  with open(path, "rb") as file:
    return file.read(100)
def write(path):
  with open(path, "ab") as file:
    file.write(b"x")
"""


@dataclasses.dataclass(frozen=True)
class Attempt:
  """`contained` is a pattern of what is told in a guest, `control` of what the same payload tells unconfined.

  What is told is stdout, stderr, and how the guest ended: "exit 0", or "killed by ...". Without `control` the payload
  would do harm, or depends on the host. `root`: the control needs uid 0.
  """

  code: str
  contained: str
  control: str = ""
  root: bool = False


EPERM = r"^refused EPERM$"
AWAY = r"^refused ENOENT$"
READ_ONLY = r"^refused (EROFS|EACCES|ENOENT|EPERM)$"
WALL = r"killed by wall time"


class Host:
  """What is in reach of an unconfined process, and must not be of a guest."""

  def __init__(self, stack: contextlib.ExitStack):
    self.marker = f"red-team-{os.getpid()}-{time.monotonic_ns()}"
    self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    self.folder.chmod(0o777)
    self.secret = self.folder / "secret"
    self.secret.write_text(SECRET)
    self.secret.chmod(0o644)
    self.victim = subprocess.Popen(["/usr/bin/sleep", "600"])
    stack.callback(self.victim.wait)
    stack.callback(self.victim.kill)
    self.leaked = os.open(self.secret, os.O_RDONLY)
    os.set_inheritable(self.leaked, True)
    stack.callback(os.close, self.leaked)
    kinds = ((2, 1), (2, 2), (1, 1), (1, 1), (1, 2))
    listening = [stack.enter_context(socket.socket(*kind)) for kind in kinds]
    paths = [str(self.folder / name) for name in ("socket", "datagrams")]
    places = [("127.0.0.1", 0), ("127.0.0.1", 0), paths[0], f"\0{self.marker}", paths[1]]
    for one, place in zip(listening, places, strict=True):
      one.bind(place)
      if one.type == socket.SOCK_STREAM:
        one.listen(8)
    for path in paths:
      os.chmod(path, 0o777)
    self.described = {
      "tcp": listening[0].getsockname()[1],
      "udp": listening[1].getsockname()[1],
      "unix": places[2],
      "abstract": places[3],
      "datagrams": places[4],
      "secret": str(self.secret),
      "content": SECRET,
      "folder": str(self.folder),
      "home": str(Path.home()),
      "victim": self.victim.pid,
      "marker": self.marker,
    }

  def payload(self, code: str, work: str = "/tmp") -> str:
    return f"HOST, WORK = {self.described!r}, {work!r}\n{PRELUDE}{code}"

  def assert_unharmed(self) -> None:
    assert self.victim.poll() is None
    assert self.secret.read_text() == SECRET
    assert self.secret.stat().st_nlink == 1
    assert {path.name for path in self.folder.iterdir()} == {"secret", "socket", "datagrams"}
    assert not Path("/dev/shm/agentrl_red_team").exists()
    deadline = time.monotonic() + 10.0
    while survivors := _processes(self.marker):
      assert time.monotonic() < deadline, survivors
      time.sleep(0.02)


def _processes(marker: str) -> list[str]:
  """Command lines of the host's processes, zombies apart, that carry the marker."""
  found = []
  for folder in Path("/proc").glob("[0-9]*"):
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
      line = (folder / "cmdline").read_bytes().decode(errors="replace")
      if marker in line:
        found.append(line[-200:])
  return found


@pytest.fixture(scope="module")
def host():
  with contextlib.ExitStack() as stack:
    with pytest.MonkeyPatch.context() as patch:
      patch.setenv("AGENTRL_SECRET", SECRET)
      one = Host(stack)
      patch.setattr(warm, "_COMMAND", [*warm._COMMAND, one.marker])  # all of a guest's forks can be told by it
      yield one


@pytest.fixture(scope="module", params=tuple(ISOLATORS))
def isolator(request) -> str:
  """Both must hold on the machine that tests: `scripts/test.sh` installs bubblewrap."""
  return request.param


@pytest.fixture(scope="module")
def pool(host, isolator):
  """Starts none ahead, so that whatever runs behind a call has survived it. Its calls are short."""
  with WarmPool(Sandbox(LIMITS, isolator=isolator), size=0) as cold:
    yield cold


@pytest.fixture(scope="module")
def patient_pool(host, isolator):
  """For attempts that end by themselves, on a machine that may be busy."""
  with WarmPool(Sandbox(PATIENT, isolator=isolator), size=0) as cold:
    yield cold


def told_of(completed) -> str:
  how = f"killed by {completed.killed_by}" if completed.killed_by else f"exit {completed.exit_code}"
  return f"{completed.stdout}\n{completed.stderr}\n{how}"


@pytest.fixture
def contain(host, pool, patient_pool):
  """`contain(attempt)` makes it in a guest, and looks at the host behind it."""

  def contain_one(attempt: Attempt) -> None:
    chosen = pool if "wall time" in attempt.contained else patient_pool
    completed = chosen.run(host.payload(attempt.code))
    assert re.search(attempt.contained, told_of(completed), re.MULTILINE), told_of(completed)
    assert not re.search("^did", completed.stdout, re.MULTILINE)
    assert completed.seconds < 30.0
    assert len(completed.stdout) + len(completed.stderr) <= LIMITS.output_bytes
    host.assert_unharmed()

  return contain_one


@pytest.fixture
def let_through(host):
  """`let_through(attempt)` makes it unconfined, where it must succeed."""

  def let_one_through(attempt: Attempt) -> None:
    if attempt.root and not ROOT:
      pytest.skip("only root could do this unconfined")
    with tempfile.TemporaryDirectory(dir=host.folder) as work:
      done = subprocess.run(
        [sys.executable, "-c", host.payload(attempt.code, work)],
        capture_output=True, text=True, timeout=60, pass_fds=[host.leaked],
      )  # fmt: skip
    (host.folder / "written").unlink(missing_ok=True)
    assert re.search(attempt.control, done.stdout, re.MULTILINE), (done.stdout, done.stderr)

  return let_one_through
