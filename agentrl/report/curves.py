"""Learning curves as small multiples, in the manner of a paper's figure."""

import math
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from agentrl.report import source
from agentrl.report.style import COLOURS, GREY, show_labels

COLUMNS = 3
SMOOTH_FROM = 40  # points; shorter curves are drawn as they are
MARKED_UP_TO = 25  # points; shorter curves show each of them


class Series(NamedTuple):
  """One curve: `metric`, its `label`, and the metrics between which a band is drawn, if there is one."""

  metric: str
  label: str
  band: tuple[str, str] | None = None


class Panel(NamedTuple):
  """One axes. `kind` is "linear", "share" (0 to 1, shown in percent), "log" or "count" (from 0 up)."""

  title: str
  unit: str
  kind: str
  curves: Sequence[Series]


PANELS = (
  Panel(
    "Success",
    "trajectories solved",
    "share",
    [
      Series("train/success", "train"),
      Series("eval/success", "held out", ("eval/success_low", "eval/success_high")),
      Series("eval_search/success", "held out, searched", ("eval_search/success_low", "eval_search/success_high")),
    ],
  ),
  Panel("Reward", "mean per trajectory", "linear", [Series("train/reward", "total")]),
  Panel(
    "Return",
    "mean per trajectory",
    "linear",
    [Series("reward/return", "train"), Series("eval/reward/return", "held out")],
  ),
  Panel(
    "Tool calls",
    "calls per trajectory",
    "count",
    [Series("rollout/tool_calls", "train"), Series("eval/tool_calls", "held out")],
  ),
  Panel("Entropy", "nats per token", "count", [Series("policy/entropy", "policy")]),
  Panel(
    "Loss",
    "per batch",
    "linear",
    [
      Series("policy/loss", "policy"),
      Series("value/loss", "value"),
      Series("critic/q_loss", "Q"),
      Series("critic/v_loss", "V"),
    ],
  ),
  Panel("Gradient norm", "before clipping", "count", [Series("optimizer/grad_norm", "")]),
  Panel("KL to the reference", "nats per token", "linear", [Series("policy/kl_ref", "")]),
  Panel(
    "Sampler against trainer",
    "|difference of log-prob|, nats",
    "log",
    [Series("sampler/logp_diff_max", "max"), Series("sampler/logp_diff_mean", "mean")],
  ),
  Panel(
    "Clipped tokens",
    "share of action tokens",
    "share",
    [Series("policy/clipped_low", "low side"), Series("policy/clipped_high", "high side")],
  ),
  Panel(
    "Explained variance",
    "of the returns",
    "linear",
    [
      Series("value/explained_variance", "value head"),
      Series("critic/q_explained_variance", "Q"),
      Series("critic/v_explained_variance", "V"),
    ],
  ),
  Panel(
    "Length", "tokens per trajectory", "count", [Series("rollout/length", "train"), Series("eval/length", "held out")]
  ),
  Panel(
    "Wasted turns",
    "share of turns",
    "share",
    [Series("rollout/void_turns", "void"), Series("rollout/malformed_turns", "malformed")],
  ),
  Panel(
    "Failures",
    "per step",
    "count",
    [
      Series("rollout/policy_failures", "policy's (wrong call)"),
      Series("rollout/tool_failures", "tool's"),
      Series("rollout/environment_failures", "environment's"),
    ],
  ),
  Panel(
    "Throughput",
    "tokens per second",
    "count",
    [Series("rollout/tokens_per_second", "sampling"), Series("update/tokens_per_second", "update")],
  ),
)

COLD_START_PANEL = Panel("Cold start: loss", "supervised, per token", "count", [Series("policy/loss", "")])


def draw(lines: Sequence[source.Line], path: pathlib.Path, *, cold_start: int = 0) -> bool:
  """Draws every panel that has data into a PNG.

  Args:
    lines: of metrics.jsonl.
    path: the PNG.
    cold_start: step at which the supervised cold start ended. It gets a panel of its own; the others begin there.

  Returns:
    False where no panel has data, as when a run ended in its first step: there is no PNG then.
  """
  stages = [(COLD_START_PANEL, [line for line in lines if line["step"] <= cold_start], 0)] if cold_start else []
  later = [_after_cold_start(line, cold_start) for line in lines]
  stages = [(panel, later, cold_start) for panel in PANELS] + stages
  panels = [(_with_data(panel, of_stage), of_stage, first) for panel, of_stage, first in stages]
  panels = [entry for entry in panels if entry[0].curves]
  if not panels:
    return False
  rows = math.ceil(len(panels) / COLUMNS)
  figure = Figure(figsize=(3.3 * COLUMNS, 2.2 * rows + 0.35))
  FigureCanvasAgg(figure)
  axes = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
  for ax, (panel, of_stage, first) in zip(axes, panels, strict=False):
    _draw_panel(ax, panel, of_stage, first)
  for ax in axes[max(len(panels) - COLUMNS, 0) : len(panels)]:
    ax.set_xlabel("update", fontsize=8, color=GREY)
  for ax in axes[len(panels) :]:
    ax.set_visible(False)
  figure.tight_layout(h_pad=1.6, w_pad=1.4)
  figure.savefig(path, dpi=170, facecolor="white")
  return True


def _with_data(panel: Panel, lines: Sequence[source.Line]) -> Panel:
  """The panel with the curves that have points; the reward's parts join it."""
  curves = list(panel.curves)
  if panel.title == "Reward":
    parts = sorted({name for line in lines for name in line if name.startswith("reward/")} - {"reward/return"})
    curves += [Series(name, name.removeprefix("reward/")) for name in parts]
  return panel._replace(curves=[curve for curve in curves if source.series(lines, curve.metric)[0]])


def _after_cold_start(line: source.Line, cold_start: int) -> source.Line:
  """What a line says about reinforcement learning: nothing before it, and at its start the evaluation alone."""
  if line["step"] < cold_start:
    return {"step": line["step"]}
  if line["step"] == cold_start > 0:
    return {name: value for name, value in line.items() if name == "step" or name.startswith("eval")}
  return line


def _draw_panel(ax: Axes, panel: Panel, lines: Sequence[source.Line], first: int) -> None:
  for curve, colour in zip(panel.curves, COLOURS * len(panel.curves), strict=False):
    _draw_curve(ax, curve, lines, colour)
  ax.set_title(panel.title, loc="left", fontsize=9.5, fontweight="bold", pad=14)
  ax.text(0, 1.03, panel.unit, transform=ax.transAxes, fontsize=7.5, color=GREY)
  last = max(line["step"] for line in lines)
  ax.set_xlim(first, max(last, first + 1) + 0.01 * (last - first))
  _set_scale(ax, panel.kind)
  ax.spines[["top", "right"]].set_visible(False)
  ax.spines[["left", "bottom"]].set_color("#b5b5b0")
  ax.tick_params(labelsize=7.5, colors=GREY, length=2.5)
  ax.xaxis.set_major_locator(ticker.MaxNLocator(5, integer=True))
  ax.grid(axis="y", color="#e8e8e4", linewidth=0.6)
  ax.set_axisbelow(True)
  if len(panel.curves) > 1:
    show_labels(ax, fontsize=7, loc="best", handlelength=1.2, borderaxespad=0.2, labelspacing=0.25)


def _draw_curve(ax: Axes, curve: Series, lines: Sequence[source.Line], colour: str) -> None:
  steps, values = map(np.asarray, source.series(lines, curve.metric))
  smooth = len(steps) >= SMOOTH_FROM
  if smooth:
    ax.plot(steps, values, color=colour, linewidth=0.6, alpha=0.3)
  shown = running_mean(values, len(values) // 20) if smooth else values
  marker = "o" if len(steps) <= MARKED_UP_TO else None
  ax.plot(steps, shown, color=colour, linewidth=1.4, label=curve.label, marker=marker, markersize=2.6)
  if curve.band is not None:
    (at, low), (_, high) = (source.series(lines, metric) for metric in curve.band)
    ax.fill_between(at, low, high, color=colour, alpha=0.15, linewidth=0)


def running_mean(values: np.ndarray, radius: int) -> np.ndarray:
  """Mean over the window of `radius` points to each side, cut off at the ends: `[N]` to `[N]`."""
  total = np.concatenate([[0.0], np.cumsum(values)])
  index = np.arange(len(values))
  low, high = np.maximum(index - radius, 0), np.minimum(index + radius + 1, len(values))
  return (total[high] - total[low]) / (high - low)


def _set_scale(ax: Axes, kind: str) -> None:
  if kind == "log":
    positive = [y for line in ax.lines for y in line.get_ydata() if y > 0]
    if positive:
      ax.set_yscale("log")
      ax.yaxis.set_minor_formatter(ticker.NullFormatter())
      low, high = math.floor(math.log10(min(positive))), math.ceil(math.log10(max(positive)))
      ax.set_ylim(10.0**low, 10.0 ** max(high, low + 1))
    return
  if kind == "share":
    top = max(y for line in ax.lines for y in line.get_ydata())
    ax.yaxis.set_major_formatter(ticker.PercentFormatter(1.0, decimals=0 if top > 0.05 else 1))
    ax.set_ylim(-0.02 * max(top, 0.01), 1.03 if top > 0.5 else max(top, 0.01) * 1.15)
    return
  if kind == "count":
    ax.set_ylim(bottom=min(0.0, *(min(line.get_ydata()) for line in ax.lines)))
  ax.yaxis.set_major_locator(ticker.MaxNLocator(5))
