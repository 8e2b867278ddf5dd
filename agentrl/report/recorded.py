"""Recorded runs: what of a run folder is kept under results/, at most 150 kB.

A recorded run is a run folder still: `python -m agentrl.report results/PAPER/ARM/seed0` draws it. It holds config.json
and run.json; metrics.jsonl, thinned; of the evaluations before RL and at the end the trajectories that the viewer
shows; the largest search and one of the last step; and comparisons of ways of acting.

Of metrics.jsonl the lines of evaluations and the last line are exact, of others every so many are kept, in four digits;
of a cold start some losses. A line keeps what figures and claims read. What is summed over steps (costs, and counts of
failures) is summed over the lines left out before it too, so that totals stay exact; recorded.json names it.
"""

from __future__ import annotations

import gzip
import json
import math
import pathlib
import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from agentrl.report import source
from agentrl.report.curves import PANELS
from agentrl.report.page import COUNTED
from agentrl.report.viewer import first_of_tasks

MAX_BYTES = 150_000
METRICS_BYTES = 75_000
COLD_START_LINES = 40
DIGITS = 4
# What there may be in a recorded run: what `record` writes, and what `agentrl.report` draws of it.
_OF_A_RECORDED_RUN = re.compile(
  r"(config|run|recorded|compare_search_\d+)\.json|metrics\.jsonl|report\.html|trajectories|trees|figures"
  r"|trajectories/eval_\d+\.jsonl\.gz|trees/(train|eval)_\d+_\d+\.(json|html)|figures/[^/]+\.(png|svg)"
)
# Read by the notebooks, beside those of the curves.
_OTHERS = (
  "critic/q_bias", "critic/v_bias", "rollout/entropy_start", "rollout/entropy_after_tool", "rollout/branches",
  "rollout/lost", "rollout/least_logp", "rollout/flat_groups", "rollout/action_tokens", "policy/clipped",
)  # fmt: skip
_SERIES = frozenset(series.metric for panel in PANELS for series in panel.curves) | frozenset(_OTHERS)


def record(
  run: pathlib.Path, destination: pathlib.Path, *, metrics: Collection[str] = (), costs: Collection[str] = ()
) -> pathlib.Path:
  """Writes the recorded form of a run, whole or not at all; a recorded run in its place is replaced, and nothing else.

  Args:
    run: its folder.
    destination: the folder to make, such as results/quickstart/grpo/seed0.
    metrics: that claims read, beside those of figures.
    costs: that claims sum over the steps, beside `source.COSTS`.

  Returns:
    The destination.

  Raises:
    FileExistsError: something else than a recorded run stands at the destination.
    FileNotFoundError: `run` is no run, or has no step yet.
    ValueError: it is not done, or lacks the metrics of a step; a file of it is damaged; or what is to be kept is larger
      than `MAX_BYTES`.
  """
  found = source.load(run)
  _check_whole(found)
  made = destination.with_name(f".{destination.name}.tmp")
  for folder in (destination, made):
    _check_replaceable(folder)
  if made.exists():
    shutil.rmtree(made)
  (made / "trajectories").mkdir(parents=True)
  for file in (run / "config.json", run / "run.json", *sorted(run.glob("compare_search_*.json"))):
    shutil.copyfile(file, made / file.name)
  lines = thinned(found.lines, first=found.cold_start, metrics=metrics, costs=costs)
  summed = {"summed": sorted(_summed(costs))}
  (made / source.RECORDED).write_text(json.dumps(summed) + "\n", encoding="utf-8")
  (made / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
  for evaluation in (found.before, found.after):
    if evaluation is not None:
      _write_rows(made / "trajectories" / f"eval_{evaluation.step:06d}.jsonl.gz", first_of_tasks(evaluation.rows))
  for tree in _kept_trees(found.trees):
    (made / "trees").mkdir(exist_ok=True)
    shutil.copyfile(tree, made / "trees" / tree.name)
  if (size := size_of(made)) > MAX_BYTES:
    raise ValueError(f"{run}: its recorded form has {size:,} bytes, more than {MAX_BYTES:,}; see {made}")
  if destination.exists():
    shutil.rmtree(destination)
  made.rename(destination)
  return destination


def _check_whole(run: source.Run) -> None:
  """Raises ValueError where the metrics of a run end before its last step, or some of them are missing."""
  steps = [line["step"] for line in run.lines]
  if steps[-1] < run.steps:
    raise ValueError(
      f"{run.path} has metrics up to step {steps[-1]} of {run.steps}: a recorded run counts as done. Let it go on with "
      "the command that started it; to have it end here, with another --config.train.steps"
    )
  if not source.is_recorded(run.path) and steps != [*range(min(steps[0], run.cold_start), steps[-1] + 1)]:
    missing = min({*range(min(steps[0], run.cold_start), steps[-1] + 1)} - {*steps}, default=steps[0])
    raise ValueError(f"{run.path} lacks the metrics of step {missing}: put its metrics.jsonl back from a copy")


def _check_replaceable(folder: pathlib.Path) -> None:
  """Raises FileExistsError where anything stands at a path that is not a recorded run, or what a kill left of one."""
  if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
    raise FileExistsError(f"{folder} is no folder: it stays as it is, give another destination")
  names = [file.relative_to(folder).as_posix() for file in folder.rglob("*")] if folder.exists() else []
  others = [name for name in names if not _OF_A_RECORDED_RUN.fullmatch(name)]
  if others:
    raise FileExistsError(
      f"{folder} holds {max(others)}, so it is no recorded run: only a recorded run is replaced. Give another "
      "destination, or remove the folder yourself. (The run that is to be recorded comes first, its destination second)"
    )


def size_of(folder: pathlib.Path) -> int:
  """Bytes of all files in a folder."""
  return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def thinned(
  lines: Sequence[source.Line], *, first: int, metrics: Collection[str] = (), costs: Collection[str] = ()
) -> list[dict[str, Any]]:
  """The lines of a recorded metrics.jsonl, of about `METRICS_BYTES` at most.

  Args:
    lines: of the run. first: step at which its cold start ended. metrics, costs: see `record`.
  """
  summed = _summed(costs)
  kept = _SERIES | summed | {*metrics, *costs}
  cold, rest = [line for line in lines if line["step"] < first], [line for line in lines if line["step"] >= first]
  begun = [_loss(line) for line in cold[:: max(1, math.ceil(len(cold) / COLD_START_LINES))]]
  stride = 1
  while _bytes(found := _every(rest, stride, kept=kept, summed=summed)) > METRICS_BYTES and stride < len(rest):
    stride += 1
  return begun + found


def _summed(costs: Collection[str]) -> set[str]:
  """Metrics whose lines left out are summed into those that are kept."""
  return {*source.COSTS, *COUNTED, *costs}


def _loss(line: source.Line) -> dict[str, Any]:
  """What is kept of a step of a cold start."""
  return {name: _rounded(line[name]) for name in ("step", "wall_s", "policy/loss", "nonfinite") if name in line}


def _every(
  lines: Sequence[source.Line], stride: int, *, kept: Collection[str], summed: Collection[str]
) -> list[dict[str, Any]]:
  """Every so many lines, the first and last and those of evaluations; of them what is kept."""
  found, waiting = [], {}
  for number, line in enumerate(lines):
    for name in summed & line.keys():
      waiting[name] = waiting.get(name, 0.0) + (line[name] or 0.0)
    exact = number == len(lines) - 1 or any(name.startswith("eval") for name in line)
    if exact or number % stride == 0:
      values = {name: v if exact else _rounded(v) for name, v in line.items() if _is_kept(name, kept)}
      found.append({"step": line["step"], "wall_s": line["wall_s"]} | values | waiting)
      waiting = {}
  return found


def _is_kept(name: str, kept: Collection[str]) -> bool:
  return name in kept or name == "nonfinite" or name.startswith(("eval", "reward/", "probe/"))


def _rounded(value: Any) -> Any:
  return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def _bytes(lines: Sequence[Mapping[str, Any]]) -> int:
  return sum(len(json.dumps(line)) + 1 for line in lines)


def _write_rows(file: pathlib.Path, rows: Sequence[source.Row]) -> None:
  text = "".join(json.dumps(row) + "\n" for row in rows)
  file.write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))


def _kept_trees(trees: Sequence[pathlib.Path]) -> list[pathlib.Path]:
  """The search with most nodes, and the last one."""
  if not trees:
    return []
  largest = max(trees, key=lambda file: len(source.read_search(file)["nodes"]))
  return sorted({largest, trees[-1]})
