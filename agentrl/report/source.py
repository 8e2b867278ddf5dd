"""Reads a run folder, as far as it got."""

import gzip
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

Line = Mapping[str, Any]
Row = Mapping[str, Any]


class Evaluation(NamedTuple):
  """Held-out trajectories, sampled with the weights of one step."""

  step: int
  rows: Sequence[Row]


class Run(NamedTuple):
  """What a run folder holds.

  Attributes:
    path: the folder.
    config: config.json.
    starts: one record per start of the run; see `agentrl.training.run_folder`.
    lines: metrics.jsonl.
    before: the first evaluation after the cold start (the very first where there was none); None where none was saved.
    after: the last evaluation; None where it is also the first.
    trees: files of saved searches, by step, training before evaluation.
  """

  path: pathlib.Path
  config: Mapping[str, Any]
  starts: Sequence[Mapping[str, Any]]
  lines: Sequence[Line]
  before: Evaluation | None
  after: Evaluation | None
  trees: Sequence[pathlib.Path]

  @property
  def cold_start(self) -> int:
    """Step at which the cold start ended; 0 where there was none."""
    return cold_start_steps(self.config)


def load(path: pathlib.Path) -> Run:
  """Reads a run folder.

  Raises:
    FileNotFoundError: it is none, or it holds no metrics yet.
  """
  for name in ("config.json", "run.json", "metrics.jsonl"):
    if not (path / name).is_file():
      raise FileNotFoundError(f"{path} has no {name}: give the folder of a run that experiments/train.py has started")
  config = read_config(path)
  lines = read_metrics(path / "metrics.jsonl")
  if not lines:
    raise FileNotFoundError(f"{path / 'metrics.jsonl'} is empty: the run has not finished a step yet")
  steps = sorted(int(file.name[5:11]) for file in (path / "trajectories").glob("eval_*.jsonl.gz"))
  first = next((step for step in steps if step >= cold_start_steps(config)), None)
  return Run(
    path=path,
    config=config,
    starts=json.loads((path / "run.json").read_text())["starts"],
    lines=lines,
    before=None if first is None else Evaluation(first, _rows(path, first)),
    after=None if first is None or first == steps[-1] else Evaluation(steps[-1], _rows(path, steps[-1])),
    trees=sorted(path.glob("trees/*.json"), key=_tree_order),
  )


def read_config(path: pathlib.Path) -> Mapping[str, Any]:
  """config.json of a run folder."""
  return json.loads((path / "config.json").read_text())


def read_metrics(path: pathlib.Path) -> list[Line]:
  """Complete lines of a metrics.jsonl; a last one that a kill cut short is left out."""
  *whole, _ = path.read_text().split("\n")
  return [json.loads(text) for text in whole]


def series(lines: Sequence[Line], name: str) -> tuple[list[int], list[float]]:
  """Steps and values of a metric, where it was written and finite."""
  points = [(line["step"], line[name]) for line in lines if name in line and line[name] is not None]
  return [step for step, _ in points], [value for _, value in points]


def cold_start_steps(config: Mapping[str, Any]) -> int:
  """Number of supervised steps before reinforcement learning, by the config; 0 where it knows none."""
  return config["cold_start"]["steps"] if "cold_start" in config else 0


def _tree_order(file: pathlib.Path) -> tuple[int, bool, int]:
  """(step, evaluation, uid) of a file such as train_000012_7.json."""
  kind, step, uid = file.stem.split("_")
  return int(step), kind == "eval", int(uid)


def _rows(path: pathlib.Path, step: int) -> list[Row]:
  with gzip.open(path / "trajectories" / f"eval_{step:06d}.jsonl.gz", "rt", encoding="utf-8") as file:
    return [json.loads(text) for text in file]
