"""Figures of notebooks: arms of a paper against each other, drawn from its recorded runs.

Where no run of a paper is recorded, a figure says which command makes them.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from agentrl.report import source
from agentrl.report.style import COLOURS, GREY, show_labels

Lines = Sequence[source.Line]


def recorded(results: pathlib.Path, paper: str, arms: Sequence[str]) -> dict[str, list[Lines]]:
  """The lines of metrics.jsonl since the cold start, of every recorded seed of each arm that has one.

  Args:
    results: the folder of recorded runs.
    paper: name of the config file, without its ending.
    arms: of the paper.
  """
  found: dict[str, list[Lines]] = {}
  for arm in arms:
    for run in sorted((results / paper / arm).glob("seed*")):
      first = source.cold_start_steps(source.read_config(run))
      lines = [line for line in source.read_metrics(run / "metrics.jsonl") if line["step"] >= first]
      found.setdefault(arm, []).append(lines)
  return found


def draw_curves(
  axes: Axes, results: pathlib.Path, paper: str, arms: Mapping[str, str], metric: str, *, log: bool = False
) -> None:
  """A metric over the updates: a thin line for each seed, a thick one for their mean.

  Args:
    axes: to draw on.
    results: the folder of recorded runs.
    paper: name of the config file, without its ending.
    arms: labels by the name of the arm.
    metric: of metrics.jsonl.
    log: the metric's axis is logarithmic.
  """
  runs, drawn = recorded(results, paper, list(arms)), False
  for number, (arm, label) in enumerate(arms.items()):
    colour = _colour(number)
    curves = [curve for lines in runs.get(arm, ()) if (curve := source.series(lines, metric))[0]]
    for steps, values in curves:
      axes.plot(np.asarray(steps) - steps[0], values, color=colour, linewidth=0.8, alpha=0.35)
    if curves:
      steps, mean = _mean(curves)
      axes.plot(steps, mean, color=colour, label=label)
      drawn = True
  axes.set_xlabel("update")
  if log and drawn:
    axes.set_yscale("log")
  _finish(axes, paper, runs, drawn)


def draw_last(
  axes: Axes, results: pathlib.Path, paper: str, arms: Mapping[str, str], metric: str, *, against: str = ""
) -> None:
  """A metric at the end, one point a seed: by arm, or against another metric.

  Args:
    axes: to draw on.
    results: the folder of recorded runs.
    paper: name of the config file, without its ending.
    arms: labels by the name of the arm.
    metric: of metrics.jsonl.
    against: the metric of the other axis; empty: the arms stand side by side.
  """
  runs, drawn = recorded(results, paper, list(arms)), False
  for number, (arm, label) in enumerate(arms.items()):
    values = [last for lines in runs.get(arm, ()) if (last := _last(lines, metric, against)) is not None]
    if values:
      x = [other for _, other in values] if against else [number] * len(values)
      axes.scatter(x, [value for value, _ in values], color=_colour(number), label=label, s=28)
      drawn = True
  if not against and drawn:
    axes.set_xticks(range(len(arms)), list(arms.values()), rotation=30, ha="right")
  _finish(axes, paper, runs, drawn, legend=bool(against))


def draw_missing(axes: Axes, command: str) -> None:
  """Says which command makes what is to be drawn here."""
  axes.text(0.5, 0.5, f"not yet run:\n{command}", ha="center", va="center", color=GREY, transform=axes.transAxes)
  axes.set_xticks([])
  axes.set_yticks([])


def command_of(paper: str) -> str:
  """What makes and records the runs of a paper."""
  return f"python experiments/reproduce.py\nconfigs/{paper}.py --seeds 5"


def _finish(axes: Axes, paper: str, runs: Mapping[str, Sequence[Lines]], drawn: bool, *, legend: bool = True) -> None:
  if not runs:
    draw_missing(axes, command_of(paper))
  elif not drawn:
    axes.text(0.5, 0.5, "not kept by the recorded runs", ha="center", va="center", transform=axes.transAxes)
  elif legend:
    show_labels(axes, fontsize=8)


def _colour(number: int) -> str:
  colours = [*COLOURS, "black"]
  return colours[number % len(colours)]


def _mean(curves: Sequence[tuple[Sequence[int], Sequence[float]]]) -> tuple[np.ndarray, np.ndarray]:
  """Updates since the first point, and the mean over the seeds there; a straight line between a seed's points."""
  moved = [(np.asarray(steps) - steps[0], values) for steps, values in curves]
  common = moved[0][0][moved[0][0] <= min(steps[-1] for steps, _ in moved)]
  return common, np.mean([np.interp(common, steps, values) for steps, values in moved], axis=0)


def _last(lines: Lines, metric: str, against: str) -> tuple[float, float] | None:
  """The last value of a metric, and of another one; None where one of them is missing."""
  values = source.series(lines, metric)[1]
  others = source.series(lines, against)[1] if against else values
  return (values[-1], others[-1]) if values and others else None
