"""What all commands share: Ctrl-C, and errors: one that a user can act on is one message, others have a traceback."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import threading
import traceback as traceback_lib
from collections.abc import Callable, Iterator

INTERRUPTED = 130  # exit status, as of a shell

# What wrong settings, files and paths raise; ImportError says which extra is missing.
EXPECTED = (ValueError, OSError, ImportError)
_HINT = "(--traceback shows where this came from)"
_SPACE = "free some space and start the same command again"
_ADVICE = {
  errno.ENOSPC: _SPACE,
  errno.EDQUOT: _SPACE,
  errno.EROFS: "choose a folder that can be written",
  errno.EACCES: "let this user read and write there, or choose another folder",
}


def run_command(
  command: Callable[[], None],
  *,
  traceback: bool,
  interrupted: str,
  expected: tuple[type[BaseException], ...] = EXPECTED,
) -> int:
  """Runs a command; returns the exit status: 0, 1 after an expected error, 130 after Ctrl-C.

  A first Ctrl-C raises KeyboardInterrupt in the command, which closes what it has open; a second one ends the process.

  Args:
    traceback: let expected errors through, to see where they came from.
    interrupted: what to tell a user who pressed Ctrl-C.
    expected: errors whose message is for the user, as are their notes.
  """
  try:
    with _second_interrupt_ends():
      command()
  except KeyboardInterrupt:
    print(f"\nInterrupted. {interrupted}", file=sys.stderr)
    return INTERRUPTED
  except expected as error:
    if traceback:
      raise
    notes = "".join(traceback_lib.format_exception_only(error)[1:])
    print(f"{type(error).__name__}: {error}{_advice(error)}\n{notes}{_HINT}", file=sys.stderr)
    return 1
  return 0


@contextlib.contextmanager
def _second_interrupt_ends() -> Iterator[None]:
  """After the first Ctrl-C the system's own handler is back, also behind the body, while the interpreter closes."""
  before = signal.getsignal(signal.SIGINT)
  if before is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
    yield  # somebody else decides what Ctrl-C does
    return

  def first(number, frame):
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    raise KeyboardInterrupt

  signal.signal(signal.SIGINT, first)
  try:
    yield
  finally:
    if signal.getsignal(signal.SIGINT) is first:
      signal.signal(signal.SIGINT, before)


def _advice(error: BaseException) -> str:
  """What to do about an error in the system's own words; empty where there is nothing to add."""
  if not isinstance(error, OSError) or error.errno not in _ADVICE or error.strerror != os.strerror(error.errno):
    return ""
  return f": {_ADVICE[error.errno]}"
