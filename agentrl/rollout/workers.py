"""Daemon threads for whatever may block: environment resets, environment steps, tools."""

from __future__ import annotations

import collections
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any


class WorkerPool:
  """A pool whose stuck workers can be written off.

  A thread cannot be killed. When a caller gives up on a future it calls `abandon`: the thread is replaced, so that
  the pool keeps its size, and the stuck one dies with the process (it is a daemon) or when its call returns at last.
  """

  def __init__(self, workers: int):
    if workers < 1:
      raise ValueError(f"a worker pool needs at least one worker, got {workers}")
    self._queue: queue.SimpleQueue = queue.SimpleQueue()
    self._lock = threading.Lock()
    self._abandoned: set[Future] = set()
    self._closed = False
    self._size = workers
    for _ in range(workers):
      self._start_worker()

  def submit(self, function: Callable[..., Any], *args: Any) -> Future:
    """Runs `function(*args)` on a worker; its exception, if any, is kept in the future."""
    if self._closed:
      raise RuntimeError("this worker pool is closed")
    future: Future = Future()
    self._queue.put((future, function, args))
    return future

  def abandon(self, future: Future) -> None:
    """Gives up on a call: cancels it if it has not started, else replaces the thread that is stuck in it."""
    if future.cancel():
      return
    with self._lock:  # a call that is done by now has given its thread back, or is about to
      if future.done():
        return
      self._abandoned.add(future)
    self._start_worker()

  def call_all(self, functions: Sequence[Callable[[], Any]], seconds: float) -> list[Future]:
    """Runs functions, as many at once as there are workers; returns their futures in order, all of them done.

    Args:
      seconds: that each may take, from when it is its turn. A later one is abandoned, and its error a TimeoutError.
    """
    waiting = collections.deque(enumerate(functions))
    running: dict[Future, tuple[int, float]] = {}
    over: dict[int, Future] = {}
    while waiting or running:
      while waiting and len(running) < self._size:
        n, function = waiting.popleft()
        running[self.submit(function)] = (n, time.monotonic() + seconds)
      soonest = min(deadline for _, deadline in running.values())
      wait(running, max(0.0, soonest - time.monotonic()), return_when=FIRST_COMPLETED)
      for future, (n, deadline) in list(running.items()):
        if future.done() or time.monotonic() > deadline:
          del running[future]
          over[n] = future if future.done() else self._late(future, seconds)
    return [over[n] for n in range(len(functions))]

  def close(self) -> None:
    """Lets every idle worker end."""
    self._closed = True
    for _ in range(self._size):
      self._queue.put(None)

  def _late(self, future: Future, seconds: float) -> Future:
    """What stands for a call that is given up."""
    self.abandon(future)
    late: Future = Future()
    late.set_exception(TimeoutError(f"no answer in {seconds} s"))
    return late

  def _start_worker(self):
    threading.Thread(target=self._work, daemon=True, name="agentrl-worker").start()

  def _work(self):
    while (item := self._queue.get()) is not None:
      future, function, args = item
      if not future.set_running_or_notify_cancel():
        continue
      _fulfil(future, function, args)
      with self._lock:
        if future in self._abandoned:  # a replacement has taken this thread's place
          self._abandoned.remove(future)
          return


def _fulfil(future, function, args):
  try:
    result = function(*args)
  except BaseException as error:  # kept for the caller, who decides whose failure it is
    future.set_exception(error)
  else:
    future.set_result(result)
