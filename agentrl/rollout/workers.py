"""Daemon threads for whatever may block: environment resets, environment steps, tools."""

from __future__ import annotations

import collections
import math
import queue
import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any

from agentrl.envs.checks import failure_of
from agentrl.types import EnvironmentFailed, FailureKind, NoRoom

_QUEUED_SECONDS = 0.5  # between looks at a call that no worker has taken up yet


class Call(Future):
  """A call in a pool. Its time counts from when a worker takes it up: what waits in a queue is not late.

  Attributes:
    seconds: that it may take. started: `time.monotonic()` when it was taken up; None before.
  """

  def __init__(self, seconds: float = math.inf):
    super().__init__()
    self.seconds = seconds
    self.started: float | None = None

  @property
  def left(self) -> float:
    """Seconds until it is late, negative where it is; infinite while it waits for a worker."""
    return math.inf if self.started is None else self.started + self.seconds - time.monotonic()

  @property
  def late(self) -> bool:
    """It has used up its time and is not done."""
    return not self.done() and self.left < 0


def wait_for_one(calls: Collection[Call]) -> None:
  """Returns when one of them is done or late, or when it is worth another look."""
  soonest = min(call.left for call in calls)
  if any(call.started is None for call in calls):
    soonest = min(soonest, _QUEUED_SECONDS)
  wait(calls, None if soonest == math.inf else max(0.0, soonest), return_when=FIRST_COMPLETED)


def too_late(seconds: float, what: str = "no answer from the environment") -> EnvironmentFailed:
  """For a call that has used up its time; `what` did not happen in it."""
  return EnvironmentFailed(f"{what} in {seconds:g} s", FailureKind.DEADLINE)


class WorkerPool:
  """A pool whose stuck workers can be written off.

  A thread cannot be killed. When a caller gives up on a future it calls `abandon`: the thread is replaced, so that
  the pool keeps its size, and the stuck one dies with the process (it is a daemon) or when its call returns at last.
  A call that raises `NoRoom` is made again when another one is over: it holds no thread meanwhile, and is not late.
  """

  def __init__(self, workers: int):
    if workers < 1:
      raise ValueError(f"a worker pool needs at least one worker, got {workers}")
    self._queue: queue.SimpleQueue = queue.SimpleQueue()
    self._lock = threading.Lock()
    self._abandoned: set[Call] = set()
    self._parked: collections.deque = collections.deque()  # calls that found no room, until another one is over
    self._over = 0  # calls so far
    self._closed = False
    self._size = workers
    for _ in range(workers):
      self._start_worker()

  def submit(self, function: Callable[..., Any], *args: Any, seconds: float = math.inf) -> Call:
    """Runs `function(*args)` on a worker; its exception, if any, is kept. `seconds`: that it may take."""
    if self._closed:
      raise RuntimeError("this worker pool is closed")
    call = Call(seconds)
    self._queue.put((call, function, args))
    return call

  def abandon(self, call: Call) -> None:
    """Gives up on a call: cancels it if it has not started, else replaces the thread that is stuck in it."""
    if call.cancel():
      return
    with self._lock:  # a call that is done by now has given its thread back, or is about to
      if call.done():
        return
      self._abandoned.add(call)
    self._start_worker()

  def call_all(self, functions: Sequence[Callable[[], Any]], seconds: float) -> list[Future]:
    """Runs functions, as many at once as there are workers; returns their futures in order, all of them done.

    Args:
      seconds: that each may take, from when it is its turn. A later one is abandoned, and its error is `too_late`.
    """
    calls = [self.submit(function, seconds=seconds) for function in functions]
    over: dict[Call, Future] = {}
    while open_calls := [call for call in calls if call not in over]:
      wait_for_one(open_calls)
      over |= {call: call for call in open_calls if call.done()}
      over |= {call: self._give_up(call) for call in open_calls if call.late}
    return [over[call] for call in calls]

  def close(self) -> None:
    """Lets every idle worker end."""
    self._closed = True
    for _ in range(self._size):
      self._queue.put(None)

  def _give_up(self, call: Call) -> Future:
    """What stands for a call that is late."""
    self.abandon(call)
    stands_for: Future = Future()
    stands_for.set_exception(too_late(call.seconds))
    return stands_for

  def _park(self, item: tuple[Any, ...], over: int) -> None:
    """Keeps a call for when another one is over, which may have made room; at once where one was meanwhile."""
    with self._lock:
      item[0].started = None
      if self._over != over:
        self._queue.put(item)
      else:
        self._parked.append(item)

  def _start_worker(self):
    threading.Thread(target=self._work, daemon=True, name="agentrl-worker").start()

  def _work(self):
    while (item := self._queue.get()) is not None:
      call, function, args = item
      if not (call.running() or call.set_running_or_notify_cancel()):
        continue
      call.started, over = time.monotonic(), self._over
      if not _fulfil(call, function, args):
        self._park(item, over)
        continue
      with self._lock:
        self._over += 1
        if self._parked:
          self._queue.put(self._parked.popleft())
        if call in self._abandoned:  # a replacement has taken this thread's place
          self._abandoned.remove(call)
          return


# Called with what an environment answered, or else with its failure.
OnAnswer = Callable[[Any, EnvironmentFailed | None], None]


class Calls:
  """Environment calls in flight, each with the function that takes its answer.

  Args:
    pool: makes the calls.
    seconds: that one environment call may take.

  Attributes:
    failures: of all calls that are over, in the order in which they came.
  """

  def __init__(self, pool: WorkerPool, seconds: float):
    self._pool, self._seconds = pool, seconds
    self._flight: dict[Call, tuple[OnAnswer, str]] = {}
    self.failures: list[EnvironmentFailed] = []

  def __len__(self) -> int:
    return len(self._flight)

  def ask(
    self, function: Callable[[], Any], count: int, on_answer: OnAnswer, late: str = "no answer from the environment"
  ) -> None:
    """Hands over a function that makes `count` environment calls; `late`: what did not happen where it is late."""
    self._flight[self._pool.submit(function, seconds=count * self._seconds)] = (on_answer, late)

  def wait(self) -> None:
    """Returns when a call is over, or when it is worth another look."""
    wait_for_one(self._flight)

  def collect(self) -> None:
    """Ends calls that are over or late. What their answers set going may well be further calls."""
    over = [call for call in self._flight if call.done() or call.late]
    for call, (on_answer, late) in [(call, self._flight.pop(call)) for call in over]:
      failure = self._failure(call, late)
      if failure is None:
        on_answer(call.result(), None)
      else:
        self.failures.append(failure)
        on_answer(None, failure)

  def _failure(self, call: Call, late: str) -> EnvironmentFailed | None:
    if not call.done():
      self._pool.abandon(call)
      return too_late(call.seconds, late)
    error = call.exception()
    return None if error is None else failure_of(error)


def _fulfil(future: Future, function: Callable[..., Any], args: Sequence[Any]) -> bool:
  """Runs a call; False where it found no room and is not over."""
  try:
    result = function(*args)
  except NoRoom:
    return False
  except BaseException as error:  # kept for the caller, who decides whose failure it is
    future.set_exception(error)
  else:
    future.set_result(result)
  return True
