import threading
import time

import pytest

from agentrl.envs.deadline import DeadlinePassed, call_within, seconds_left


def test_returns_what_the_function_returns_and_raises_what_it_raises():
  assert call_within(5, lambda: 4) == 4
  assert call_within(5, lambda: None) is None
  with pytest.raises(ZeroDivisionError):
    call_within(5, lambda: 1 // 0)


@pytest.mark.parametrize("end", [SystemExit, KeyboardInterrupt])
def test_a_function_cannot_end_the_process(end):
  def leave():
    raise end

  with pytest.raises(RuntimeError, match=f"{end.__name__} raised"):
    call_within(5, leave)


def test_a_late_function_is_abandoned_and_its_result_dropped():
  release, finished = threading.Event(), threading.Event()

  def late():
    release.wait(30)
    finished.set()
    return "late"

  with pytest.raises(DeadlinePassed, match=r"no answer within 0\.05 s"):
    call_within(0.05, late)
  assert not finished.is_set()
  release.set()
  assert finished.wait(5)  # it ran on, and nobody heard of it


def test_a_call_knows_what_is_left_of_its_time_and_nobody_else_does():
  def twice():
    first = seconds_left()
    time.sleep(0.05)
    return first, seconds_left(), call_within(60, seconds_left), seconds_left()

  first, second, inner, last = call_within(9, twice)
  assert 9 >= first > second + 0.04 > last
  assert 9 < inner <= 60
  assert seconds_left() is None


def test_nothing_is_left_behind_the_deadline():
  left, finished = [], threading.Event()

  def late():
    time.sleep(0.1)
    left.append(seconds_left())
    finished.set()

  with pytest.raises(DeadlinePassed):
    call_within(0.01, late)
  assert finished.wait(5)
  assert left == [0.0]
