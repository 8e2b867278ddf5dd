import io

import pytest
from rich.console import Console

from agentrl.training.progress import Progress, duration


class Clock:
  now = 100.0

  def __call__(self):
    return self.now


def make(terminal=False, **settings):
  out, clock = io.StringIO(), Clock()
  console = Console(file=out, force_terminal=terminal, width=120)
  names = ("train/success", "eval/success")
  return Progress(metrics=names, console=console, clock=clock, **settings), out, clock


def test_plain_lines_tell_rate_remaining_time_and_metrics():
  progress, out, clock = make()
  with progress:
    progress.start("train", 0, 10, {"eval/success": 0.25})
    clock.now += 60
    progress.advance(1, {"train/success": 0.5, "policy/loss": 3})
    clock.now += 20
    progress.advance(2, {})
  first, second, third = out.getvalue().splitlines()
  assert first == "train  step 0/10  eval/success 0.25"
  assert second == "train  step 1/10  train/success 0.5  eval/success 0.25"  # compiling says nothing about the rate
  assert third == "train  step 2/10  20 s/step  2:40 left  train/success 0.5  eval/success 0.25"


def test_every_stage_has_a_rate_of_its_own():
  progress, out, clock = make(every_s=0)
  with progress:
    for stage, first, seconds in (("cold start", 0, 1), ("train", 3, 7)):
      progress.start(stage, first, first + 3)
      for step in range(first + 1, first + 4):
        clock.now += seconds
        progress.advance(step, {})
  lines = out.getvalue().splitlines()
  assert lines[2] == "cold start  step 2/3  1 s/step  0:01 left"
  assert lines[6] == "train  step 5/6  7 s/step  0:07 left"


def test_plain_lines_come_every_few_seconds_and_at_the_end():
  progress, out, clock = make(every_s=5)
  with progress:
    progress.start("train", 0, 100)
    for step in range(1, 101):
      clock.now += 1
      progress.advance(step, {})
  steps = [int(line.split()[2].split("/")[0]) for line in out.getvalue().splitlines()]
  assert steps == list(range(0, 101, 5))
  assert "left" not in out.getvalue().splitlines()[-1]


def test_a_resumed_run_counts_only_its_own_time():
  progress, out, clock = make(every_s=0)
  with progress:
    progress.start("train", 7, 10)
    for step in (8, 9):
      clock.now += 3
      progress.advance(step, {})
  assert out.getvalue().splitlines()[-1] == "train  step 9/10  3 s/step  0:03 left"


def test_a_terminal_gets_a_bar():
  progress, out, clock = make(terminal=True)
  with progress:
    progress.start("train", 3, 10)
    clock.now += 2
    progress.advance(4, {"eval/success": 0.875})
    progress.note("a [note]")
  text = out.getvalue()
  assert "4/10" in text
  assert "0.875" in text
  assert "a [note]" in text
  assert "━" in text


@pytest.mark.parametrize(("seconds", "text"), [(7, "0:07"), (200.4, "3:20"), (7500, "2:05:00"), (3599.7, "1:00:00")])
def test_duration(seconds, text):
  assert duration(seconds) == text
