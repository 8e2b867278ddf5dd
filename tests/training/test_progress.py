import io

import pytest
from rich.console import Console

from agentrl.training.progress import Progress, duration


class Clock:
  now = 100.0

  def __call__(self):
    return self.now


def make(total=10, terminal=False, **settings):
  out, clock = io.StringIO(), Clock()
  console = Console(file=out, force_terminal=terminal, width=120)
  names = ("train/success", "eval/success")
  return Progress(total, metrics=names, console=console, clock=clock, **settings), out, clock


def test_plain_lines_tell_rate_remaining_time_and_metrics():
  progress, out, clock = make()
  with progress:
    progress.start(0, {"eval/success": 0.25})
    clock.now += 20
    progress.advance(1, {"train/success": 0.5, "policy/loss": 3})
  first, second = out.getvalue().splitlines()
  assert first == "step 0/10  eval/success 0.25"
  assert second == "step 1/10  20 s/step  3:00 left  train/success 0.5  eval/success 0.25"


def test_plain_lines_come_every_few_seconds_and_at_the_end():
  progress, out, clock = make(total=100, every_s=5)
  with progress:
    progress.start(0)
    for step in range(1, 101):
      clock.now += 1
      progress.advance(step, {})
  steps = [int(line.split()[1].split("/")[0]) for line in out.getvalue().splitlines()]
  assert steps == list(range(0, 101, 5))
  assert "left" not in out.getvalue().splitlines()[-1]


def test_a_resumed_run_counts_only_its_own_time():
  progress, out, clock = make(every_s=0)
  with progress:
    progress.start(8)
    clock.now += 3
    progress.advance(9, {})
  assert out.getvalue().splitlines()[-1] == "step 9/10  3 s/step  0:03 left"


def test_a_terminal_gets_a_bar():
  progress, out, clock = make(terminal=True)
  with progress:
    progress.start(3)
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
