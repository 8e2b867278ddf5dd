"""A run's folder: what it was told, what it measured, what it sampled, and where it can go on.

config.json     the resolved config, without credentials; a run goes on with it, but for the settings of `resume.FREE`
run.json        id, and for each start: what `start_record.py` says, the settings that changed, [old, new] by key, and a
                hash of each module of one's own that the config names, see `own_code.py`
metrics.jsonl   one line per step; see `metrics.py`
trajectories/   train_000012.jsonl.gz, eval_000012.jsonl.gz: sampled with the weights of that step
trees/          train_000012_7.json: the search with uid 7 of that step, drawn by `agentrl.report`
checkpoints/    see `checkpoint.py`
figures/, report.html   written by `agentrl.report`
"""

import contextlib
import gzip
import json
import os
import pathlib
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

from ml_collections import ConfigDict

from agentrl.training import config_values, disk, lock, metrics, own_code, resume
from agentrl.training.checkpoint import check_path
from agentrl.training.defaults import run_config
from agentrl.training.redacted import differences_shown, redacted_config
from agentrl.training.stages import Stage, stages_of
from agentrl.training.start_record import start_record
from agentrl.training.trajectory_rows import Decoder, trajectory_row
from agentrl.types import Task, Trajectory

_OF_A_STEP = re.compile(r"\.?(?:train|eval)_(\d+)[._]")  # also what a kill left half written; others' files stay


class RunFolderError(RuntimeError):
  """The folder belongs to another run, is in use or damaged, or cannot be written; the message says what to do."""


class RunFolder:
  """The folder of one run, held by one process; make it with `open`, and close it or use it in a `with`.

  Attributes:
    path: the folder.
    config: the locked config.
    id: random, the same at every start.
    changed_modules: of one's own, whose source was another one when the run in the folder was started.
  """

  def __init__(
    self,
    path: pathlib.Path,
    config: ConfigDict,
    run_id: str,
    held: IO,
    writer: metrics.MetricsWriter,
    changed_modules: Sequence[str],
  ):
    self.path = path
    self.config = config
    self.id = run_id
    self.changed_modules = changed_modules
    self._lock = held
    self._writer = writer

  @classmethod
  def open(
    cls,
    path: str | os.PathLike,
    config: ConfigDict,
    *,
    wandb_mode: str = "disabled",
    wandb_project: str = "agentrl",
  ) -> "RunFolder":
    """Creates the folder, or opens it to go on with the run in it.

    Args:
      path: the folder; need not exist.
      config: as `config_lib.load` gives it.
      wandb_mode, wandb_project: see `MetricsWriter`.

    Raises:
      RunFolderError: another process runs in it, it holds results of another config or something that is no run, a
        file of it is damaged, or it cannot be written.
      CheckpointError: checkpoints could not be read back from there; see `check_path`.
      DiskFullError: nothing was lost.
    """
    check_path(path)
    path = pathlib.Path(path).absolute()
    with _writable(path):
      _check_is_run_folder(path)
      for name in ("trajectories", "checkpoints", "figures"):
        (path / name).mkdir(parents=True, exist_ok=True)
      held = _locked(path)
    shown = redacted_config(config)
    try:
      changes = _changes(path, config)
      with _writable(path):
        run_id, changed_modules = _record_start(path / "run.json", changes, own_code.hashes(config))
        disk.write_atomically(path / "config.json", config_values.to_json(shown).encode())
      writer = metrics.MetricsWriter(
        path / "metrics.jsonl",
        wandb_mode=wandb_mode,
        wandb_project=wandb_project,
        run_id=run_id,
        config=shown.to_dict(),
      )
    except BaseException:
      lock.unlock(held)
      raise
    return cls(path, config, run_id, held, writer, changed_modules)

  @property
  def checkpoints(self) -> pathlib.Path:
    """Where checkpoints go."""
    return self.path / "checkpoints"

  @property
  def figures(self) -> pathlib.Path:
    """Where figures go."""
    return self.path / "figures"

  def write_metrics(self, step: int, values: Mapping[str, Any]) -> None:
    """Appends the metrics of a step; see `MetricsWriter.write`."""
    self._writer.write(step, values)

  @property
  def last_measured_step(self) -> int:
    """Global step of the last whole line of metrics.jsonl; -1 where there is none."""
    return self._writer.last_step

  def truncate_metrics(self, step: int, *, first: int = 0) -> None:
    """Forgets metrics, trajectories and trees of steps after `step`: a run that goes on from there repeats them.

    Args:
      first: global step at which the run began.

    Raises:
      RunFolderError: the metrics of a step from `first` to `step` are missing; nothing was changed.
    """
    _check_no_gap(self.path, first, step, stages_of(self.config))
    self._writer.truncate_after(step)
    for file in [*self.path.glob("trajectories/*"), *self.path.glob("trees/*")]:
      written = _OF_A_STEP.match(file.name)
      if written and int(written[1]) > step:
        file.unlink()

  def save_trajectories(
    self,
    step: int,
    trajectories: Sequence[Trajectory],
    tasks: Mapping[int, Task],
    tokenizer: Decoder,
    *,
    evaluation: bool = False,
    limit: int = 64,
  ) -> pathlib.Path:
    """Writes trajectories for people, and for `agentrl.report`: one JSON object a line, compressed.

    Args:
      step: number of updates of the weights that sampled them.
      trajectories: the first `limit` by uid are written.
      tasks: by `group_id`.
      tokenizer: gives the text of each token.
      evaluation: held-out tasks, rather than training.
      limit: bounds the size of the file.

    Returns:
      The file's path.
    """
    kept = sorted(trajectories, key=lambda t: t.uid)[:limit]
    rows = [json.dumps(trajectory_row(t, tasks[t.group_id], tokenizer)) for t in kept]
    path = self.path / "trajectories" / f"{'eval' if evaluation else 'train'}_{step:06d}.jsonl.gz"
    disk.write_atomically(path, gzip.compress("".join(f"{row}\n" for row in rows).encode(), compresslevel=6, mtime=0))
    return path

  def save_trees(self, step: int, records: Sequence[Mapping[str, Any]], *, evaluation: bool = False) -> None:
    """Writes searches for people, one JSON file each, as `agentrl.report.tree_page` reads them.

    Args:
      step: number of updates of the weights that searched.
      records: as `describe` of `rollout/search/record.py` gives them.
      evaluation: held-out tasks, rather than training.
    """
    for record in records:
      name = f"{'eval' if evaluation else 'train'}_{step:06d}_{record['uid']}.json"
      (self.path / "trees").mkdir(exist_ok=True)
      disk.write_atomically(self.path / "trees" / name, json.dumps(record, allow_nan=False).encode())

  def close(self, *, failed: bool = False) -> None:
    """Closes the metrics and lets another process in.

    Args:
      failed: the run ends with an error, which W&B is told.
    """
    try:
      self._writer.close(failed=failed)
    finally:
      lock.unlock(self._lock)

  def __enter__(self) -> "RunFolder":
    return self

  def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
    self.close(failed=kind is not None)


def read_config(path: pathlib.Path) -> ConfigDict:
  """The config that a run was started with; keys that are newer than the run have their defaults.

  Raises:
    FileNotFoundError: `path` holds no run.
    ConfigError: it is damaged, or has a key that there is no more.
  """
  file = path / "config.json"
  if not file.is_file():
    raise FileNotFoundError(f"{path} holds no run: there is no config.json in it")
  config = config_values.from_json(file.read_bytes(), where=str(file))
  try:
    return run_config(config, where=str(file))
  except ValueError as error:
    raise config_values.ConfigError(f"{error}; the version of agentrl that started this run can read it") from error


# ---- opening ----------------------------------------------------------------------------------------------------


def _check_is_run_folder(path: pathlib.Path) -> None:
  if path.exists() and not path.is_dir():
    raise RunFolderError(f"{path} is a file; a run needs a folder: choose another --workdir")
  names = {entry.name for entry in path.iterdir()} if path.exists() else set()
  ours = {"config.json", "trajectories", "checkpoints", "figures"}
  others = [name for name in names if not name.startswith(".")]  # a desktop hides files of its own in folders
  if others and not names & ours:
    raise RunFolderError(f"{path} is not empty and holds no run: choose another --workdir")


@contextlib.contextmanager
def _writable(path: pathlib.Path) -> Iterator[None]:
  """Turns what the system says against writing into the folder into an error that says what to do."""
  try:
    with disk.explain_full_disk(path.parent):
      yield
  except disk.DiskFullError:
    raise
  except OSError as error:
    raise RunFolderError(
      f"{path} cannot be written: {error.strerror or error}: make it writable, or choose another --workdir"
    ) from error


def _locked(path: pathlib.Path) -> IO:
  try:
    return lock.lock(path, otherwise="choose another --workdir")
  except lock.InUse as error:
    raise RunFolderError(str(error)) from error


def _changes(path: pathlib.Path, config: ConfigDict) -> list[config_values.Difference]:
  """What differs from the config of the run in the folder.

  A folder in which nothing was measured or saved yet, as a wrong setting leaves it, takes any config.
  """
  if not _has_results(path):
    return []
  try:
    old = read_config(path)
  except FileNotFoundError as error:
    raise RunFolderError(
      f"{path} holds results, but no config.json that says with which settings they were made: put it back, or choose "
      "another --workdir"
    ) from error
  _check_checkpoints_there(path, old)
  changes = differences_shown(old, config)
  *before, last = stages_of(old)
  if lines := resume.refused(changes, config, done=max(last.saved(path), default=0)):
    told = "\n".join(f"  {line}" for line in lines)
    taken = [stage for stage in before if stage.saved(path)]
    raise RunFolderError(
      f"{path} holds a run with another config:\n{told}\n"
      "To go on with that run, give the same config; to start a new one, choose another --workdir"
      + "".join(f", and where its {stage.title} is to be the same, --config.{stage.name}.run={path}" for stage in taken)
    )
  return changes


def _check_checkpoints_there(path: pathlib.Path, config: ConfigDict) -> None:
  """Raises RunFolderError where the metrics go beyond the first checkpoint of the run, and there is none.

  It would begin anew, and write over what it measured.
  """
  stage = next(stage for stage in stages_of(config) if not stage.run)
  first = stage.first + min(config.train.checkpoint_every, stage.steps)
  last = max((line["step"] for line in metrics.read(path / "metrics.jsonl")), default=0)
  if last > first and not any((path / "checkpoints").glob("*/*")):
    raise RunFolderError(
      f"{path} holds metrics up to step {last}, and no checkpoint to go on from: put its folder checkpoints/ back; or "
      "remove metrics.jsonl, and the run begins anew; or choose another --workdir"
    )


def _has_results(path: pathlib.Path) -> bool:
  lines = path / "metrics.jsonl"
  return (lines.exists() and lines.stat().st_size > 0) or any((path / "checkpoints").glob("*/*"))


def _record_start(
  file: pathlib.Path, changes: Sequence[config_values.Difference], modules: Mapping[str, str]
) -> tuple[str, list[str]]:
  """Adds a start to run.json; returns the run's id, and the modules that changed since results were made."""
  record = {"id": uuid.uuid4().hex[:12], "starts": []}
  if file.exists():
    record = disk.read_json(file, "remove it, and the run goes on without the record of its earlier starts")
  kinds = {"id": str, "starts": list}
  if not isinstance(record, dict) or not all(isinstance(record.get(key), kind) for key, kind in kinds.items()):
    raise RunFolderError(f"{file} is no record of a run: remove it, and the run goes on without its earlier starts")
  changed_modules = own_code.changed(record["starts"], modules) if _has_results(file.parent) else []
  settings = {c.key: [c.old, c.new] for c in changes}
  record["starts"].append(start_record() | {"changed": settings, "modules": dict(modules)})
  disk.write_atomically(file, (json.dumps(record, indent=2) + "\n").encode())
  return record["id"], changed_modules


def _check_no_gap(path: pathlib.Path, first: int, step: int, stages: Sequence[Stage]) -> None:
  """Raises RunFolderError where metrics.jsonl lacks a step up to `step`, where a run goes on that began at `first`."""
  file = path / "metrics.jsonl"
  found = {line["step"] for line in metrics.read(file)}
  missing = next((s for s in range(first, step + 1) if s not in found), None)
  if missing is None or (step == first and not found):
    return
  raise RunFolderError(
    f"{file} lacks the metrics of step {missing}, and the run would go on from step {step}: put the file back; or "
    f"remove the later checkpoints, {', '.join(_checkpoints_from(path, missing, stages))}, and the run repeats their "
    "steps; or choose another --workdir"
  )


def _checkpoints_from(path: pathlib.Path, step: int, stages: Sequence[Stage]) -> list[str]:
  """Folders of the checkpoints of a global step and of those after it."""
  folders = [stage.checkpoints(path) / str(n) for stage in stages for n in stage.saved(path) if stage.first + n >= step]
  return [str(folder.relative_to(path)) for folder in folders]
