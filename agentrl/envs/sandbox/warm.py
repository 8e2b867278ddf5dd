"""Python interpreters that were started ahead, each in a guest of its own.

A cold guest costs the isolator and the start of an interpreter. One that already waits for its cell costs the cell and
the end of the guest. Every interpreter serves one script, or one session, and is never used again; what waits uses no
time of its limits.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from agentrl.envs.sandbox import interpreter
from agentrl.envs.sandbox.guest import CellNotTaken, Guest
from agentrl.envs.sandbox.isolators import PYTHON
from agentrl.envs.sandbox.limits import Completed, Limits
from agentrl.envs.sandbox.sandbox import Sandbox
from agentrl.types import EnvironmentFailed

_COMMAND = [*PYTHON, "-X", "utf8", "-c", pathlib.Path(interpreter.__file__).read_text(encoding="utf-8")]
_ATTEMPTS = 3  # interpreters that a cell is offered, should they end before they take it


class WarmPool:
  """Runs Python in interpreters that wait for it; any number of threads may ask. Where none waits, one is started.

  Nothing is started before the first call. Waiting guests die with this process, however it ends.

  Args:
    sandbox: where, and with which limits.
    size: interpreters that wait, at most; 0 has every call start its own. None for one per core, 2 to 8.
  """

  def __init__(self, sandbox: Sandbox, *, size: int | None = None):
    if size is not None and size < 0:
      raise ValueError(f"size must not be negative, got {size}")
    self._sandbox = sandbox
    self._size = min(max(os.cpu_count() or 1, 2), 8) if size is None else size
    self._lock = threading.Lock()
    self._waiting: deque[Guest] = deque()
    self._starting = 0
    self._closed = False
    self._pid = os.getpid()

  def __enter__(self) -> WarmPool:
    return self

  def __exit__(self, *_: object) -> None:
    self.close()

  def run(self, code: str) -> Completed:
    """Runs a script in a fresh interpreter until it ends or a limit is reached; nothing of it is left running.

    Args:
      code: Python; the value of a last expression is printed. Lone surrogates reach it as "?".

    Raises:
      EnvironmentFailed: no interpreter could be started.
      RuntimeError: the pool is closed.
    """
    with contextlib.ExitStack() as stack:
      completed = self.offer(code, lambda guest: stack.callback(guest.close), last=True)
    self.refill()
    return completed

  def offer(self, code: str, hold: Callable[[Guest], object], *, last: bool) -> Completed:
    """Runs the first cell of an interpreter. Raises as `run` does.

    Args:
      hold: is given each guest before the cell is, and closes it in the end.
      last: the guest ends behind the cell.
    """
    words = ""
    for _ in range(_ATTEMPTS):
      guest = self._take()
      hold(guest)
      try:
        return guest.run_cell(code.encode(errors="replace"), last=last)
      except CellNotTaken as error:
        words = str(error)
    raise EnvironmentFailed(f"{_ATTEMPTS} sandboxed interpreters ended before they took their code: {words}")

  def session(self) -> Session:
    """An interpreter that keeps its state from cell to cell."""
    return Session(self)

  def close(self) -> None:
    """Ends the interpreters that wait; those in use are their callers'. A second call does nothing."""
    with self._lock:
      self._closed = True
      if self._pid != os.getpid():
        self._waiting.clear()
    _launcher.submit(int).result()  # whatever was being started now waits, or was ended
    while self._waiting:
      self._waiting.popleft().close()

  def _take(self) -> Guest:
    """A guest that waits, else a new one; the caller need not know which."""
    with self._lock:
      if self._closed:
        raise RuntimeError("the pool of sandboxed interpreters is closed")
      if self._pid != os.getpid():  # after a fork those that wait are the parent's
        self._waiting.clear()
        self._starting, self._pid = 0, os.getpid()
      found, dead = None, []
      while self._waiting and found is None:
        guest = self._waiting.popleft()
        if guest.is_alive():
          found = guest
        else:
          dead.append(guest)
    for guest in dead:
      guest.close()
    return found or _launcher.submit(self._sandbox.start, _COMMAND).result()

  def refill(self) -> None:
    """Has as many started as are missing. Called behind a cell, not before, so as not to slow it down."""
    with self._lock:
      missing = 0 if self._closed else self._size - len(self._waiting) - self._starting
      self._starting += max(missing, 0)
    for _ in range(missing):
      _launcher.submit(self._start_one)

  def _start_one(self) -> None:
    guest = None
    with contextlib.suppress(EnvironmentFailed):  # whoever finds none waiting will meet the same error, and raise it
      guest = self._sandbox.start(_COMMAND)
    with self._lock:
      self._starting -= 1
      if guest is not None and not self._closed:
        self._waiting.append(guest)
        return
    if guest is not None:
      guest.close()


class Session:
  """An interpreter that keeps its state from cell to cell, for one caller at a time.

  What a cell leaves running goes on between cells, within the limits of processes and CPU time.

  Args:
    pool: where its interpreters come from.
  """

  def __init__(self, pool: WarmPool):
    self._pool = pool
    self._lock = threading.Lock()
    self._guest: Guest | None = None
    self._closed = False

  def run(self, code: str) -> Completed | None:
    """Runs a cell, in a new interpreter where there is none. The state is lost where the result is not `alive`.

    Returns:
      How the cell ended. None where the interpreter had ended since the last cell: the state is lost, and the cell
      was not run.

    Raises:
      EnvironmentFailed: no interpreter could be started, or the session was closed meanwhile.
      RuntimeError: the session is closed.
    """
    with self._lock:
      if self._closed:
        raise RuntimeError("the session is closed")
      completed = None
      try:
        if self._guest is None:
          completed = self._pool.offer(code, self._hold, last=False)
          self._pool.refill()
        else:
          completed = self._guest.run_cell(code.encode(errors="replace"), last=False)
      except CellNotTaken:
        pass
      finally:
        if completed is None or not completed.alive:
          self._end()
      return completed

  def close(self) -> None:
    """Ends the interpreter, and with it a cell that runs. A second call does nothing."""
    self._closed = True
    if (guest := self._guest) is not None:
      guest.kill()
    with self._lock:
      self._end()

  def _hold(self, guest: Guest) -> None:
    self._end()
    self._guest = guest
    if self._closed:  # meanwhile, by another thread
      guest.kill()

  def _end(self) -> None:
    if self._guest is not None:
      self._guest.close()
      self._guest = None


_shared: dict[Limits, WarmPool] = {}
_shared_lock = threading.Lock()


def shared_pool(limits: Limits) -> WarmPool:
  """The process's pool of interpreters with these limits: tools are made for each trajectory, pools are not.

  Raises:
    SandboxUnavailable: code cannot be isolated on this machine.
  """
  with _shared_lock:
    if limits not in _shared:
      _shared[limits] = WarmPool(Sandbox(limits))
    return _shared[limits]


# Guests die with the thread that started them, and a tool's call has a thread of its own: this one stays. Starting
# takes it a millisecond; the isolator and the interpreter come up on their own.
_launcher = ThreadPoolExecutor(1, thread_name_prefix="sandbox launcher")


def _renew_launcher() -> None:
  global _launcher
  _launcher = ThreadPoolExecutor(1, thread_name_prefix="sandbox launcher")


os.register_at_fork(after_in_child=_renew_launcher)
