"""Curves of arms: cost summed from the steps, intervals by hand, thresholds that must be held."""

import json

import numpy as np
import pytest
from matplotlib.figure import Figure

from agentrl.report import arms
from agentrl.report.arms import Curve


@pytest.fixture
def run(tmp_path):
  """Two supervised steps, then four of RL with 10 trajectories each; evaluated at 2, 4 and 6."""
  lines = [{"step": s, "wall_s": 1.0} | ({"rollout/trajectories": 10} if s > 2 else {}) for s in range(7)]
  for step, value in ((0, 0.0), (2, 0.25), (4, 0.5), (6, 1.0)):
    lines[step]["eval/success"] = value
  (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
  (tmp_path / "config.json").write_text(json.dumps({"cold_start": {"steps": 2}}))
  return tmp_path


def test_the_cost_of_an_evaluation_is_what_came_before_it(run):
  got = arms.curve(run, cost="rollout/trajectories", value="eval/success")
  assert got.cost.tolist() == [0, 20, 40] and got.value.tolist() == [0.25, 0.5, 1.0]


def test_a_metric_that_is_not_there_is_told(run):
  with pytest.raises(ValueError, match=r"no 'eval/succes' .*eval/success"):
    arms.curve(run, cost="rollout/trajectories", value="eval/succes")


def test_a_run_that_spent_nothing_stays_at_cost_zero(run):
  text = (run / "metrics.jsonl").read_text()
  (run / "metrics.jsonl").write_text(text.replace('"rollout/trajectories": 10', '"rollout/trajectories": 0'))
  got = arms.curve(run, cost="rollout/trajectories", value="eval/success")
  assert got.cost.tolist() == [0, 0, 0] and got.value.tolist() == [0.25, 0.5, 1.0]
  with pytest.raises(ValueError, match=r"no 'rollout/games' after the cold start"):
    arms.curve(run, cost="rollout/games", value="eval/success")
  other = Curve(np.array([0.0, 20.0]), np.array([0.0, 1.0]))
  for drawn in ({"a": [got]}, {"a": [got], "b": [other]}):
    axes = Figure().subplots()
    arms.draw_arms(axes, drawn, log_cost=True)
    assert len(axes.lines) == len(drawn)


def test_the_interval_is_students():
  one, two = Curve(np.array([0.0, 10.0]), np.array([0.0, 1.0])), Curve(np.array([0.0, 20.0]), np.array([0.5, 1.0]))
  got = arms.band([one, two])
  assert got.cost.tolist() == [0, 10]  # the second at 10 by interpolation: 0.75
  np.testing.assert_allclose(got.mean, [0.25, 0.875])
  half = 12.706 * np.array([0.5, 0.25]) / 2  # t(0.975, 1); sd = difference / sqrt 2, divided by sqrt 2
  np.testing.assert_allclose(got.high - got.mean, half, rtol=1e-4)


def test_one_seed_has_no_interval():
  got = arms.band([Curve(np.array([0.0, 10.0]), np.array([0.0, 1.0]))])
  assert got.low.tolist() == got.mean.tolist() == got.high.tolist()


@pytest.mark.parametrize(("threshold", "cost"), [(0.0, 0.0), (0.4, 30.0), (0.6, 40.0), (2.0, np.inf)])
def test_a_threshold_counts_from_where_it_is_held(threshold, cost):
  one = Curve(np.array([0.0, 10.0, 20.0, 30.0, 40.0]), np.array([0.1, 0.5, 0.3, 0.5, 0.9]))
  assert arms.cost_to_reach(one, threshold) == cost


@pytest.mark.parametrize("log_cost", [False, True])
def test_it_draws_a_line_and_a_band_per_arm(tmp_path, log_cost):
  seeds = [Curve(np.array([0.0, 10.0, 100.0]), np.array([0.0, 0.5, seed])) for seed in (0.8, 1.0)]
  axes = Figure().subplots()
  arms.draw_arms(axes, {"a": seeds, "b": seeds[:1]}, log_cost=log_cost, references={"optimum": 1.0})
  assert [line.get_label() for line in axes.lines[:2]] == ["a", "b"]
  assert axes.get_ylim() == pytest.approx((-0.05, 1.05))  # of all runs, whatever the interval is
  assert axes.lines[0].get_xdata()[0] == (5.0 if log_cost else 0.0) and len(axes.collections) == 2
  arms.save_arms(tmp_path / "arms.png", {"a": seeds}, cost_label="games", value_label="return", log_cost=log_cost)
  assert (tmp_path / "arms.png").read_bytes()[:4] == b"\x89PNG"
