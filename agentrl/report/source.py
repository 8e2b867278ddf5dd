"""Reads a run folder, as far as it got."""

import contextlib
import difflib
import gzip
import itertools
import json
import pathlib
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from agentrl.metrics_file import read_metrics as read_metrics
from agentrl.report import records

Line = Mapping[str, Any]
Row = Mapping[str, Any]

COSTS = ("rollout/trajectories", "rollout/sampled", "rollout/tool_calls_made", "rollout/tool_calls_replayed")
RECORDED = "recorded.json"  # what only a recorded run holds, see recorded.py

_STAGES = ("cold_start", "tuning", "train")  # sections with the steps of a run; earlier versions lack some

_EVALUATION = re.compile(r"eval_(\d+)\.jsonl\.gz")
_TREE = re.compile(r"(train|eval)_(\d+)_(\d+)\.json")
# What reading a file raises that is no archive, text or JSON; RecursionError: brackets within brackets without end.
_OF_DAMAGE = (EOFError, RecursionError, ValueError, gzip.BadGzipFile, zlib.error)


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

  @property
  def steps(self) -> int:
    """Step at which the run is done, by its config; 0 where it does not say."""
    return sum(self.config[stage]["steps"] for stage in _STAGES if stage in self.config)


def load(path: pathlib.Path) -> Run:
  """Reads a run folder.

  Raises:
    FileNotFoundError: it is none, or it holds no metrics yet.
    ValueError: a file of it is damaged; names the file.
  """
  for name in ("config.json", "run.json", "metrics.jsonl"):
    if not (path / name).is_file():
      raise FileNotFoundError(f"{path} has no {name}: give the folder of a run that experiments/train.py has started")
  config = read_config(path)
  lines = read_metrics(path / "metrics.jsonl")
  if not lines:
    raise FileNotFoundError(f"{path / 'metrics.jsonl'} is empty: the run has not finished a step yet")
  cold_start = cold_start_steps(config)
  steps = sorted(int(match[1]) for file in path.glob("trajectories/*") if (match := _EVALUATION.fullmatch(file.name)))
  first = next((step for step in steps if step >= cold_start), None)
  trees = [file for file in path.glob("trees/*") if _TREE.fullmatch(file.name)]
  return Run(
    path=path,
    config=config,
    starts=_read_starts(path / "run.json"),
    lines=lines,
    before=None if first is None else _evaluation(path, first),
    after=None if first is None or first == steps[-1] else _evaluation(path, steps[-1]),
    trees=sorted(trees, key=_tree_order),
  )


@contextlib.contextmanager
def _reading(file: pathlib.Path, kind: str) -> Iterator[None]:
  """Reads and checks what a file holds in its body: where that is no `kind`, the error names the file."""
  try:
    yield
  except _OF_DAMAGE as error:
    raise ValueError(
      f"{file} holds no {kind} of a run, or is damaged ({type(error).__name__}: {error}): put it back from a copy, or "
      "remove what is wrong in it"
    ) from error


def read_config(path: pathlib.Path) -> Mapping[str, Any]:
  """config.json of a run folder."""
  with _reading(path / "config.json", "config"):
    config = json.loads((path / "config.json").read_bytes())
    section = records.MayLack({"steps": int})
    records.check(config, dict.fromkeys(_STAGES, section), "the config")
  return config


def read_search(file: pathlib.Path) -> Mapping[str, Any]:
  """A search that a run saved, as `rollout/search/record.py` describes it.

  Raises:
    ValueError: the file holds no search; names it.
  """
  with _reading(file, "search"):
    record = json.loads(file.read_bytes())
    records.check_search(record)
  return record


def _read_starts(file: pathlib.Path) -> list[Mapping[str, Any]]:
  with _reading(file, "start"):
    record = json.loads(file.read_bytes())
    records.check(record, {"starts": [records.START]}, "the record")
    if not record["starts"]:
      raise ValueError("it has no starts")
  return record["starts"]


def series(lines: Sequence[Line], name: str) -> tuple[list[int], list[float]]:
  """Steps and values of a metric, where it was written and finite."""
  points = [(line["step"], line[name]) for line in lines if name in line and line[name] is not None]
  return [step for step, _ in points], [value for _, value in points]


def cold_start_steps(config: Mapping[str, Any]) -> int:
  """Number of supervised steps before reinforcement learning, by the config; 0 where it knows none."""
  return config["cold_start"]["steps"] if "cold_start" in config else 0


def check_summed(path: pathlib.Path, lines: Sequence[Line], cost: str) -> None:
  """Raises ValueError where a recorded run has lost what a metric was in the lines that were left out of it.

  Args:
    path: of the run.
    lines: those over which the metric is summed.
    cost: the metric.
  """
  complete = all(after["step"] == before["step"] + 1 for before, after in itertools.pairwise(lines))
  if not complete and is_recorded(path) and cost not in _summed(path):
    raise ValueError(
      f"{path}: its steps are not all there, and {cost!r} was not summed over the others when it was recorded{_AGAIN}"
    )


def lacking(path: pathlib.Path, names: Sequence[str], lines: Sequence[Line]) -> ValueError:
  """The error for a run that lacks one of some metrics; names the nearest that it has.

  Args:
    path: of the run.
    names: of the metrics.
    lines: of the run.
  """
  has = sorted({name for line in lines for name in line})
  near = [difflib.get_close_matches(name, has, n=1) for name in names if name not in has]
  hint = f"; did you mean {', '.join(repr(found[0]) for found in near if found)}?" if any(near) else ""
  told = (
    f"{path}: no {' or no '.join(map(repr, names))} after the cold start{hint}; its last line has {sorted(lines[-1])}"
  )
  return ValueError(told + (_AGAIN if is_recorded(path) else ""))


_AGAIN = (
  ". A recorded run keeps what figures read, and what the claims read when it was recorded: to have it recorded anew, "
  "remove this folder and run experiments/reproduce.py again, which does not train where runs/ still has the run"
)


def is_recorded(path: pathlib.Path) -> bool:
  """Whether a folder is the recorded form of a run: it has no checkpoints."""
  return not (path / "checkpoints").is_dir()


def _summed(path: pathlib.Path) -> Sequence[str]:
  """The metrics that a recorded run sums over the lines left out; runs of before this was written down sum `COSTS`."""
  file = path / RECORDED
  if not file.is_file():
    return COSTS
  with _reading(file, "list of metrics"):
    record = json.loads(file.read_bytes())
    records.check(record, {"summed": [str]}, "the record")
  return record["summed"]


def tree_name(file: pathlib.Path) -> tuple[str, int, int]:
  """(kind, step, uid) of a file such as train_000012_7.json; the kind is "train" or "eval".

  Raises:
    ValueError: a search of a run has another name.
  """
  match = _TREE.fullmatch(file.name)
  if match is None:
    raise ValueError(f"{file} is not named as a run names its searches: train_000012_7.json")
  return match[1], int(match[2]), int(match[3])


def _tree_order(file: pathlib.Path) -> tuple[int, bool, int]:
  kind, step, uid = tree_name(file)
  return step, kind == "eval", uid


def _evaluation(path: pathlib.Path, step: int) -> Evaluation:
  file = path / "trajectories" / f"eval_{step:06d}.jsonl.gz"
  with _reading(file, "trajectories"), gzip.open(file, "rt", encoding="utf-8") as lines:
    rows = [json.loads(text) for text in lines]
    for row in rows:
      records.check_row(row)
  return Evaluation(step, rows)
