"""Arms of an experiment against each other: one curve per arm, the mean of its seeds with a 95 % interval."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy import stats

from agentrl.report import source
from agentrl.report.style import COLOURS, GREY, show_labels


class Curve(NamedTuple):
  """A metric against what it cost to get there, `[N]` each; one point per evaluation."""

  cost: np.ndarray
  value: np.ndarray


class Band(NamedTuple):
  """Mean of several seeds and the bounds of its interval, `[N]` each; both are the mean where there is one seed."""

  cost: np.ndarray
  mean: np.ndarray
  low: np.ndarray
  high: np.ndarray


def curve(run: pathlib.Path, *, cost: str, value: str) -> Curve:
  """The curve of a run folder after its cold start.

  Args:
    run: folder with config.json and metrics.jsonl.
    cost: metric that is summed over the steps, such as `rollout/trajectories`.
    value: metric of the evaluations, such as `eval/success`.

  Returns:
    Its points; a run that spent nothing has them all at cost 0.

  Raises:
    ValueError: the run has no such metrics, and names those of its last line; or what was spent is not known.
  """
  lines = source.read_metrics(run / "metrics.jsonl")
  first = source.cold_start_steps(source.read_config(run))
  spent, points, measured = 0.0, [], False
  for line in lines:
    if line["step"] > first:
      spent += line.get(cost) or 0.0
      measured |= line.get(cost) is not None
    if line["step"] >= first and line.get(value) is not None:
      points.append((spent, line[value]))
  if not points or not measured:
    raise source.lacking(run, [value, cost], lines)
  source.check_summed(run, [line for line in lines if line["step"] >= first], cost)
  return Curve(*np.asarray(points, float).T)


def band(curves: Sequence[Curve]) -> Band:
  """Mean over seeds, where all of them have got to; Student's 95 % interval."""
  last = min(c.cost[-1] for c in curves)
  grid = np.unique(np.concatenate([c.cost for c in curves]))
  grid = grid[grid <= last]
  values = np.stack([np.interp(grid, c.cost, c.value) for c in curves])
  mean, count = values.mean(axis=0), len(curves)
  half = 0.0 if count == 1 else stats.t.ppf(0.975, count - 1) * values.std(axis=0, ddof=1) / np.sqrt(count)
  return Band(grid, mean, mean - half, mean + half)


def cost_to_reach(one: Curve, threshold: float, *, held: bool = True) -> float:
  """What had been spent when the value had got to the threshold; inf if it never did.

  Args:
    held: the first evaluation from which on it was at least the threshold; else the first at which it was.
  """
  there = one.value >= threshold
  if held:
    there = np.logical_and.accumulate(there[::-1])[::-1]
  reached = np.flatnonzero(there)
  return float(one.cost[reached[0]]) if len(reached) else float("inf")


def draw_arms(
  axes: Axes,
  arms: Mapping[str, Sequence[Curve]],
  *,
  log_cost: bool = False,
  references: Mapping[str, float] | None = None,
) -> None:
  """Draws every arm, and horizontal lines of reference.

  Args:
    arms: label to the curves of its seeds.
    log_cost: a logarithmic axis of cost; what cost nothing stands at its left edge.
    references: label to value.
  """
  bands = {label: band(curves) for label, curves in arms.items()}
  least = min((float(b.cost[b.cost > 0][0]) for b in bands.values() if b.cost[-1] > 0), default=1.0) / 2
  for number, (label, b) in enumerate(bands.items()):
    colour, dashes = COLOURS[number % len(COLOURS)], "-" if number < len(COLOURS) else "--"
    cost = np.maximum(b.cost, least) if log_cost else b.cost
    axes.plot(cost, b.mean, color=colour, linestyle=dashes, linewidth=1.6, label=label)
    axes.fill_between(cost, b.low, b.high, color=colour, alpha=0.15, linewidth=0)
  for label, value in (references or {}).items():
    axes.axhline(value, color=GREY, linewidth=0.9, linestyle=(0, (4, 3)))
    place = {"xycoords": ("axes fraction", "data"), "ha": "right", "va": "bottom"}
    axes.annotate(label, (0.995, value), **place, fontsize=7.5, color=GREY, parse_math=False)
  shown = [*(references or {}).values(), *(value for curves in arms.values() for c in curves for value in c.value)]
  margin = 0.05 * (max(shown) - min(shown)) or 0.05
  axes.set_ylim(min(shown) - margin, max(shown) + margin)  # the interval of two seeds may be far wider than any run
  if log_cost:
    axes.set_xscale("log")
  axes.spines[["top", "right"]].set_visible(False)
  axes.grid(axis="y", color="#e8e8e4", linewidth=0.6)
  axes.set_axisbelow(True)
  show_labels(axes, fontsize=8)


def save_arms(
  path: pathlib.Path, arms: Mapping[str, Sequence[Curve]], *, cost_label: str, value_label: str, **options
) -> None:
  """Writes the figure of `draw_arms` as a PNG."""
  figure = Figure(figsize=(5.6, 3.6))
  FigureCanvasAgg(figure)
  axes = figure.subplots()
  draw_arms(axes, arms, **options)
  axes.set_xlabel(cost_label, parse_math=False)
  axes.set_ylabel(value_label, parse_math=False)
  figure.tight_layout()
  figure.savefig(path, dpi=170, facecolor="white")
