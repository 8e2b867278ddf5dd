import numpy as np
import pytest
from matplotlib import image
from matplotlib.figure import Figure

from agentrl.report import curves, source


@pytest.fixture
def drawn(monkeypatch):
  """Figures that `draw` saves."""
  figures = []
  save = Figure.savefig
  monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (figures.append(self), save(self, *a, **k)))
  return figures


def titles(figure):
  return [ax.get_title(loc="left") for ax in figure.axes if ax.get_visible()]


def test_a_panel_for_what_was_measured(run_path, drawn, tmp_path):
  lines = source.load(run_path).lines
  curves.draw(lines, tmp_path / "a.png", cold_start=2)
  assert titles(drawn[0]) == ["Success", "Reward", "Tool calls", "Entropy", "Loss", "Failures", "Cold start: loss"]
  pixels = image.imread(tmp_path / "a.png")
  assert pixels.shape[0] > 500
  assert pixels.std() > 0.02


def test_curves_begin_after_the_cold_start(run_path, drawn, tmp_path):
  curves.draw(source.load(run_path).lines, tmp_path / "a.png", cold_start=2)
  panels = dict(zip(titles(drawn[0]), drawn[0].axes, strict=False))
  np.testing.assert_array_equal(panels["Success"].lines[0].get_xdata(), [2, 5])
  np.testing.assert_array_equal(panels["Loss"].lines[0].get_xdata(), [3, 4, 5])
  np.testing.assert_array_equal(panels["Cold start: loss"].lines[0].get_xdata(), [1, 2])
  assert [text.get_text() for text in panels["Reward"].get_legend().get_texts()] == ["total", "correct"]


def test_searches_returns_and_critics_have_curves(drawn, tmp_path):
  names = (
    "eval/success",
    "eval_search/success",
    "reward/return",
    "eval/reward/return",
    "critic/q_loss",
    "critic/v_loss",
  )
  lines = [{"step": step, **dict.fromkeys(names, step / 3)} for step in range(3)]
  lines = [{"eval_search/success_low": 0.0, "eval_search/success_high": 1.0, **line} for line in lines]
  curves.draw(lines, tmp_path / "a.png")
  panels = dict(zip(titles(drawn[0]), drawn[0].axes, strict=False))
  assert {title: [line.get_label() for line in ax.lines] for title, ax in panels.items()} == {
    "Success": ["held out", "held out, searched"], "Return": ["train", "held out"], "Loss": ["Q", "V"],
  }  # fmt: skip


@pytest.mark.parametrize("steps", [1, 200])
def test_one_point_and_many(drawn, tmp_path, steps):
  rng = np.random.default_rng(0)
  metrics = ("train/success", "sampler/logp_diff_mean", "policy/clipped_low", "optimizer/grad_norm", "policy/kl_ref")
  lines = [{"step": i + 1, **{name: float(rng.random()) for name in metrics}} for i in range(steps)]
  curves.draw(lines, tmp_path / "a.png")
  assert len(titles(drawn[0])) == len(metrics)


def test_where_there_is_nothing_to_draw_there_is_no_figure(tmp_path):
  assert not curves.draw([{"step": 1, "time/step_s": 1.0, "policy/loss": None}], tmp_path / "a.png")
  assert not (tmp_path / "a.png").exists()
  assert curves.draw([{"step": 1, "policy/entropy": 1.0}], tmp_path / "a.png")
  assert (tmp_path / "a.png").exists()


@pytest.mark.parametrize("radius", [0, 1, 3, 20])
def test_running_mean_against_a_loop(radius):
  values = np.random.default_rng(1).normal(size=9)
  naive = [values[max(i - radius, 0) : i + radius + 1].mean() for i in range(9)]
  np.testing.assert_allclose(curves.running_mean(values, radius), naive, rtol=1e-12)
