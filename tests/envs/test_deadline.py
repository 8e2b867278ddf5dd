import threading

import pytest

from agentrl.envs.deadline import DeadlinePassed, call_within


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
