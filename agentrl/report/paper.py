"""The recorded runs of a paper: figures of its arms, a table of its runs, and its claims."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from agentrl.report import arms, source
from agentrl.report.claims import Claim, judge, runs_of
from agentrl.report.claims_table import table
from agentrl.report.measures import values_after_cold_start

METRIC, COST = "eval/success", "rollout/sampled"  # drawn where no claim names others


def write_paper(results: pathlib.Path, paper: str, names: Sequence[str], claims: Sequence[Claim]) -> list[pathlib.Path]:
  """Writes README.md and the figures beside the recorded runs of a paper.

  Args:
    results: its folder.
    paper: the file of the paper, as the page names it.
    names: its arms; those without recorded runs are left out.
    claims: what is judged; a figure is drawn of the arms that they name, for each metric and cost that they name.

  Returns:
    The files.
  """
  runs = {name: list(found.values()) for name in names if (found := runs_of(results, name))}
  compared = {arm for claim in claims for arm in claim.arms} or set(names)
  drawn = {name: found for name, found in runs.items() if name in compared}
  figures = [_draw(results, drawn, cost, metric) for cost, metric in _axes(claims)] if drawn else []
  metric = next((claim.measure.metric for claim in claims if claim.measure.metric), METRIC)
  parts = [
    f"# {paper}\n\nWritten by `python experiments/reproduce.py {paper}`.\n",
    *[f"![{file.stem}]({file.name})\n" for file in figures],
    f"`{metric}`, by seed:\n\n{_runs_table(runs, metric)}",
    table([judge(claim, results) for claim in claims]) if claims else "",
  ]
  page = results / "README.md"
  page.write_text("\n".join(part for part in parts if part), encoding="utf-8")
  return [page, *figures]


def _axes(claims: Sequence[Claim]) -> list[tuple[str, str]]:
  """Pairs of cost and metric that the claims name, each once; one pair where they name none."""
  named = [(claim.measure.cost, claim.measure.metric) for claim in claims]
  metric = next((metric for _, metric in named if metric), METRIC)
  pairs = [(cost, of or metric) for cost, of in named if cost]
  return list(dict.fromkeys(pairs)) or [(COST, metric)]


def _draw(results: pathlib.Path, runs: dict[str, list[pathlib.Path]], cost: str, metric: str) -> pathlib.Path:
  curves = {name: [arms.curve(run, cost=cost, value=metric) for run in found] for name, found in runs.items()}
  file = results / f"{'_'.join(metric.split('/')[1:])}.png"
  ends = [curve.cost[-1] for found in curves.values() for curve in found]
  arms.save_arms(file, curves, cost_label=cost, value_label=metric, log_cost=max(ends) > 5 * min(ends))
  return file


def _runs_table(runs: dict[str, list[pathlib.Path]], metric: str) -> str:
  rows = ["| arm | seeds | before RL | after | minutes |", "|---|---|---|---|---|"]
  for name, found in runs.items():
    values = [values_after_cold_start(run, metric) for run in found]
    minutes = [source.read_metrics(run / "metrics.jsonl")[-1]["wall_s"] / 60 for run in found]
    cells = [
      name,
      ", ".join(run.name.removeprefix("seed") for run in found),
      ", ".join(f"{v[0]:.4g}" for v in values),
      ", ".join(f"{v[-1]:.4g}" for v in values),
      ", ".join(f"{m:.1f}" for m in minutes),
    ]
    rows.append("| " + " | ".join(cells) + " |")
  return "\n".join(rows) + "\n"
