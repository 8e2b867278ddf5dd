"""A pool that keeps its size, whatever its calls do."""

import math
import threading
import time

import pytest

from agentrl.rollout.workers import Calls, WorkerPool, wait_for_one
from agentrl.types import EnvironmentFailed


def run_together(pool, count, seconds=5.0):
  """Whether `count` calls run at the same time: each waits for all the others."""
  barrier = threading.Barrier(count)
  futures = [pool.submit(barrier.wait, seconds) for _ in range(count)]
  return [type(future.exception(timeout=2 * seconds)) for future in futures] == [type(None)] * count


def test_results_and_exceptions_come_back():
  pool = WorkerPool(2)
  assert pool.submit(lambda a, b: a - b, 5, 3).result(timeout=5) == 2
  assert isinstance(pool.submit(lambda: 1 // 0).exception(timeout=5), ZeroDivisionError)
  assert isinstance(pool.submit(exit).exception(timeout=5), SystemExit)  # kept, and the worker lives on
  assert run_together(pool, 2)


def test_abandoning_stuck_calls_keeps_the_size():
  pool, release = WorkerPool(2), threading.Event()
  stuck = [pool.submit(release.wait) for _ in range(2)]
  while not all(future.running() for future in stuck):
    time.sleep(0.001)
  for future in stuck:
    pool.abandon(future)
  assert run_together(pool, 2)
  release.set()  # the written-off threads come back, and must not make the pool larger
  assert [future.result(timeout=5) for future in stuck] == [True, True]
  assert not run_together(pool, 3, seconds=0.3)
  assert run_together(pool, 2)


def test_abandoning_what_is_done_or_not_begun_starts_no_thread():
  pool, release = WorkerPool(1), threading.Event()
  done = pool.submit(lambda: 1)
  assert done.result(timeout=5) == 1
  pool.abandon(done)
  blocking, waiting = pool.submit(release.wait), pool.submit(pytest.fail)
  pool.abandon(waiting)
  assert waiting.cancelled()
  release.set()
  assert blocking.result(timeout=5)
  assert not run_together(pool, 2, seconds=0.3)


def test_call_all_gives_each_call_its_own_time_and_gives_up_on_those_that_take_longer():
  pool, release = WorkerPool(2), threading.Event()
  calls = [lambda: time.sleep(0.2) or 0, release.wait, lambda: 1 // 0, release.wait, lambda: 4]
  got = pool.call_all(calls, 2.0)
  assert all(future.done() for future in got)
  assert [type(future.exception()) for future in got] == [
    type(None), EnvironmentFailed, ZeroDivisionError, EnvironmentFailed, type(None),
  ]  # fmt: skip
  assert (got[0].result(), got[4].result()) == (0, 4)
  assert run_together(pool, 2)
  release.set()
  assert pool.call_all([], 1.0) == []


def test_call_all_does_not_count_the_wait_for_a_worker():
  got = WorkerPool(1).call_all([lambda: time.sleep(0.5)] * 5, 2.3)
  assert [future.exception() for future in got] == [None] * 5


def test_a_call_is_late_by_its_own_time_and_not_by_the_queues():
  pool, release = WorkerPool(1), threading.Event()
  stuck, queued = pool.submit(release.wait, seconds=0.1), pool.submit(lambda: 1, seconds=0.1)
  while not stuck.late:
    wait_for_one([stuck, queued])
  assert (queued.started, queued.late, queued.left) == (None, False, math.inf)
  pool.abandon(stuck)
  assert queued.result(timeout=5) == 1
  assert not queued.late
  release.set()
  wait_for_one([queued])  # of one that is done: returns at once


def test_a_closed_pool_ends_its_threads_and_takes_no_calls():
  before = set(threading.enumerate())
  pool = WorkerPool(3)
  threads = set(threading.enumerate()) - before
  assert len(threads) == 3
  pool.close()
  for thread in threads:
    thread.join(timeout=5)
  assert not any(thread.is_alive() for thread in threads)
  with pytest.raises(RuntimeError, match="closed"):
    pool.submit(print)


def test_a_pool_needs_a_worker():
  with pytest.raises(ValueError, match="at least one worker, got 0"):
    WorkerPool(0)


def test_calls_in_flight_hand_on_their_answers_and_failures():
  calls, release, got = Calls(WorkerPool(3), 0.2), threading.Event(), {}

  def keep(name):
    return lambda answer, failure: got.update({name: (answer, failure)})

  calls.ask(lambda: 3, 1, lambda answer, failure: calls.ask(lambda: answer + 1, 1, keep("second")))
  calls.ask(lambda: 1 // 0, 1, keep("raised"))
  calls.ask(release.wait, 2, keep("late"), late="the door did not open")
  while calls:
    calls.wait()
    calls.collect()
  release.set()
  assert got["second"] == (4, None) and got["raised"][0] is got["late"][0] is None
  assert str(got["late"][1]) == "the door did not open in 0.4 s" and "division" in str(got["raised"][1])
  assert sorted(map(str, calls.failures)) == sorted(str(got[name][1]) for name in ("raised", "late"))
