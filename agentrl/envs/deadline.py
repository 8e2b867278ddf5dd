"""Calls with a deadline."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable
from typing import Any

_ends: contextvars.ContextVar[float | None] = contextvars.ContextVar("end of the call", default=None)


class DeadlinePassed(Exception):
  """The call did not return in time; its thread was abandoned."""


def call_within(seconds: float, function: Callable[[], Any]) -> Any:
  """Runs `function` on a thread of its own and returns what it returns, or raises what it raises.

  A Python thread cannot be killed. One that is past its deadline is abandoned: it goes on until it returns by itself,
  its result is dropped, and as a daemon it does not hold up the end of the process. Code that may never return belongs
  in `sandbox`, which kills its process.

  Args:
    seconds: wall time that the call may take.
    function: takes nothing; whatever it touches it may still touch after the deadline.

  Raises:
    DeadlinePassed: the call is still running.
  """
  outcome: list[tuple[bool, Any]] = []
  ends = time.monotonic() + seconds

  def target() -> None:
    _ends.set(ends)  # of this thread's own context
    try:
      outcome.append((True, function()))
    except Exception as error:
      outcome.append((False, error))
    except BaseException as error:  # a tool's SystemExit must not end the caller's thread
      outcome.append((False, RuntimeError(f"{type(error).__name__} raised")))

  thread = threading.Thread(target=target, name="tool call", daemon=True)
  thread.start()
  thread.join(seconds)
  if not outcome:
    raise DeadlinePassed(f"no answer within {seconds:g} s")
  returned, value = outcome[0]
  if returned:
    return value
  raise value


def seconds_left() -> float | None:
  """Until the deadline of the call that runs on this thread, at least 0; None where `call_within` did not start it.

  For code that can end its own work in time, rather than be abandoned.
  """
  ends = _ends.get()
  return None if ends is None else max(ends - time.monotonic(), 0.0)
