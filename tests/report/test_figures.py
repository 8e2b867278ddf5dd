"""Figures of notebooks: they draw what is recorded, and say what is not."""

import json

import pytest
from matplotlib.figure import Figure

from agentrl.report import figures

ARMS = {"one": "first", "two": "second"}


@pytest.fixture
def axes():
  return Figure().subplots()


def write(results, arm, seed, values, first=10):
  """A recorded run whose success is `values`, an update apart, behind a cold start."""
  run = results / "paper" / arm / f"seed{seed}"
  run.mkdir(parents=True)
  (run / "config.json").write_text(json.dumps({"cold_start": {"steps": first}, "train": {"steps": 2}}))
  rows = [{"step": 3, "wall_s": 0.0, "eval/success": 9.0}]
  rows += [{"step": first + n, "wall_s": 1.0, "eval/success": v, "eval/cost": 2 * v} for n, v in enumerate(values)]
  (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def words(axes):
  return " ".join(text.get_text() for text in axes.texts)


def test_without_recorded_runs_a_figure_says_the_command(axes, tmp_path):
  figures.draw_curves(axes, tmp_path, "paper", ARMS, "eval/success")
  figures.draw_last(axes, tmp_path, "paper", ARMS, "eval/success")
  assert words(axes).count("not yet run:\npython experiments/reproduce.py\nconfigs/paper.py --seeds 5") == 2
  assert not axes.lines and not axes.collections


def test_a_curve_is_the_mean_over_the_seeds_since_the_cold_start(axes, tmp_path):
  write(tmp_path, "one", 0, [0.0, 0.5, 1.0])
  write(tmp_path, "one", 1, [0.5, 0.7])
  figures.draw_curves(axes, tmp_path, "paper", ARMS, "eval/success")
  *seeds, mean = axes.lines
  assert [list(line.get_ydata()) for line in seeds] == [[0.0, 0.5, 1.0], [0.5, 0.7]]
  assert list(mean.get_xdata()) == [0, 1] and list(mean.get_ydata()) == pytest.approx([0.25, 0.6])
  assert [text.get_text() for text in axes.get_legend().get_texts()] == ["first"]


def test_points_are_the_last_values_of_each_seed(axes, tmp_path):
  write(tmp_path, "one", 0, [0.0, 0.5])
  write(tmp_path, "two", 0, [0.25])
  write(tmp_path, "two", 1, [0.75])
  figures.draw_last(axes, tmp_path, "paper", ARMS, "eval/success")
  assert [points.get_offsets().tolist() for points in axes.collections] == [[[0, 0.5]], [[1, 0.25], [1, 0.75]]]
  other = Figure().subplots()
  figures.draw_last(other, tmp_path, "paper", ARMS, "eval/success", against="eval/cost")
  assert [points.get_offsets().tolist() for points in other.collections] == [[[1.0, 0.5]], [[0.5, 0.25], [1.5, 0.75]]]


def test_a_metric_that_was_not_kept_is_told(axes, tmp_path):
  write(tmp_path, "one", 0, [0.0])
  figures.draw_curves(axes, tmp_path, "paper", ARMS, "rollout/lost", log=True)
  assert words(axes) == "not kept by the recorded runs"
