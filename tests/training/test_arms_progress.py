"""A line for each arm: seeds done, steps, and how long still."""

import io
import json

import pytest
from rich.console import Console

from agentrl.training.arms_progress import ArmsProgress
from agentrl.training.reproduce import Run


@pytest.fixture
def runs(tmp_path):
  cold = Run("a", 0, tmp_path / "cold", (), 10, is_cold_start=True)
  return [cold, *(Run("a", seed, tmp_path / f"a{seed}", (), 110, begins_with=cold) for seed in (0, 1))]


def at(run, step):
  run.path.mkdir(exist_ok=True)
  (run.path / "metrics.jsonl").write_text(json.dumps({"step": step, "wall_s": 1.0}) + "\n")


def test_an_arm_shows_seeds_steps_and_the_time_left(runs):
  now, out = [0.0], io.StringIO()
  console = Console(file=out, width=200)
  with ArmsProgress(runs, jobs=2, console=console, every_s=30.0, clock=lambda: now[0]) as progress:
    progress.show(runs[:1])
    now[0], _ = 20.0, at(runs[0], 10)
    progress.show(runs[:1])  # too soon for another line
    now[0] = 40.0
    at(runs[1], 0)
    progress.show(runs[1:2])
    now[0], _ = 90.0, at(runs[1], 50)
    progress.show(runs[1:2])
  first, later = out.getvalue().splitlines()[:2], out.getvalue().splitlines()[-2:]
  assert first == ["cold starts  0 of 1 seeds  step 0/10", "a  0 of 2 seeds  step 0/220"]
  # Seed 0 took 50 steps in 70 s (20 of them before its first); 170 are left, two processes share them: 119 s.
  assert later == ["cold starts  1 of 1 seeds  step 10/10", "a  0 of 2 seeds  step 50/220  1:59 left"]


def test_on_a_terminal_lines_stay_in_place(runs):
  out = io.StringIO()
  console = Console(file=out, force_terminal=True, width=200)
  at(runs[0], 10)
  with ArmsProgress(runs, jobs=1, console=console, clock=lambda: 0.0) as progress:
    progress.show(runs[1:2])
    progress.note("a, seed 0: [done]")
  assert "10/10 steps" in out.getvalue() and "a, seed 0: [done]" in out.getvalue()
