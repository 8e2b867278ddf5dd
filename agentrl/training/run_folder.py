"""A run's folder: what it was told, what it measured, what it sampled, and where it can go on.

config.json     the resolved config; a run goes on only with the same one
run.json        id, and for each start: time, commit, command, versions, machine
metrics.jsonl   one line per step; see `metrics.py`
trajectories/   train_000012.jsonl.gz, eval_000012.jsonl.gz: sampled with the weights of that step
trees/          train_000012_7.json: the search with uid 7 of that step, drawn by `agentrl.report`
checkpoints/    see `checkpoint.py`
figures/, report.html   written by `agentrl.report`
"""

import dataclasses
import datetime
import fcntl
import gzip
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from typing import IO, Any, Protocol

import jax
from ml_collections import ConfigDict

from agentrl.training import config as config_lib
from agentrl.training import disk, metrics
from agentrl.training.defaults import run_config
from agentrl.types import Task, Trajectory, Turn

PACKAGES = ("agentrl", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "tokenizers")
MAX_BYTES_OF_A_CHARACTER = 4  # in UTF-8, and so tokens of a byte-level vocabulary


class RunFolderError(RuntimeError):
  """The folder belongs to another run, or is in use; the message says what differs and what to do."""


class Decoder(Protocol):
  """The face of a tokenizer that is needed here."""

  def decode(self, ids: Sequence[int]) -> str:
    """Text of ids, with U+FFFD for incomplete characters."""
    ...


class RunFolder:
  """The folder of one run, held by one process; make it with `open`, and close it or use it in a `with`.

  Attributes:
    path: the folder.
    config: the locked config.
    id: random, the same at every start.
  """

  def __init__(self, path: pathlib.Path, config: ConfigDict, run_id: str, lock: IO, writer: metrics.MetricsWriter):
    self.path = path
    self.config = config
    self.id = run_id
    self._lock = lock
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
      config: as `config.load` gives it.
      wandb_mode, wandb_project: see `MetricsWriter`.

    Raises:
      RunFolderError: another process runs in it, it holds results of another config, or something that is no run.
    """
    path = pathlib.Path(path).absolute()
    _check_is_run_folder(path)
    with disk.explain_full_disk(path.parent):
      for name in ("trajectories", "checkpoints", "figures"):
        (path / name).mkdir(parents=True, exist_ok=True)
    lock = _lock(path)
    try:
      _check_same_config(path / "config.json", config)
      run_id = _record_start(path / "run.json")
      writer = metrics.MetricsWriter(
        path / "metrics.jsonl",
        wandb_mode=wandb_mode,
        wandb_project=wandb_project,
        run_id=run_id,
        config=config.to_dict(),
      )
    except BaseException:
      lock.close()
      raise
    return cls(path, config, run_id, lock, writer)

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

  def truncate_metrics(self, step: int) -> None:
    """Forgets metrics, trajectories and trees of steps after `step`: a run that goes on from there repeats them."""
    self._writer.truncate_after(step)
    for file in [*self.path.glob("trajectories/*.jsonl.gz"), *self.path.glob("trees/*")]:
      if int(file.name.partition(".")[0].split("_")[1]) > step:
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

  def close(self) -> None:
    """Closes the metrics and lets another process in."""
    self._writer.close()
    self._lock.close()

  def __enter__(self) -> "RunFolder":
    return self

  def __exit__(self, *_: Any) -> None:
    self.close()


# ---- trajectories as JSON ---------------------------------------------------------------------------------------


def read_config(path: pathlib.Path) -> ConfigDict:
  """The config that a run was started with; keys that are newer than the run have their defaults.

  Raises:
    FileNotFoundError: `path` holds no run.
    ConfigError: it has a key that there is no more.
  """
  file = path / "config.json"
  if not file.is_file():
    raise FileNotFoundError(f"{path} holds no run: there is no config.json in it")
  return run_config(config_lib.from_json(file.read_text()), where=str(file))


def trajectory_row(trajectory: Trajectory, task: Task, tokenizer: Decoder) -> dict[str, Any]:
  """A trajectory as JSON values. Per-token lists have one entry per token; `text` is "" where a character goes on."""
  t = trajectory
  return {
    "uid": t.uid,
    "group_id": t.group_id,
    "task_id": t.task_id,
    "question": task.question,
    "reference": task.answer,
    "difficulty": task.difficulty,
    "stop": t.stop.value,
    "reward": t.reward,
    "reward_parts": None if t.reward_parts is None else dict(t.reward_parts),
    "temperature": t.temperature,
    "parent": t.parent,
    "fork_at": t.fork_at,
    "visits": None if t.visits is None else dataclasses.asdict(t.visits),
    "tokens": t.tokens.tolist(),
    "text": token_texts(t.tokens.tolist(), tokenizer),
    "action_mask": t.action_mask.astype(int).tolist(),
    "sampler_logp": [round(x, 5) for x in t.sampler_logp.tolist()],
    "entropy": [round(x, 5) for x in t.entropy.tolist()],
    "turn": t.turn.tolist(),
    "policy_version": t.policy_version.tolist(),
    "turns": [_turn_row(turn) for turn in t.turns],
  }


def token_texts(tokens: Sequence[int], tokenizer: Decoder) -> list[str]:
  """Text of each token; a character spread over several tokens stands at the last of them."""
  texts, start = [], 0
  for end in range(1, len(tokens) + 1):
    text = tokenizer.decode(tokens[start:end])
    incomplete = text.endswith("\ufffd") and end - start < MAX_BYTES_OF_A_CHARACTER and end < len(tokens)
    texts.append("" if incomplete else text)
    start = start if incomplete else end
  return texts


def _turn_row(turn: Turn) -> dict[str, Any]:
  return {
    "kind": turn.kind.value,
    "start": turn.start,
    "end": turn.end,
    "text": turn.text,
    "answer": turn.answer,
    "observation": turn.observation,
    "ok": turn.ok,
    "latency": turn.latency,
    "reward": turn.reward,
    "results": [
      {
        "name": result.call.name,
        "arguments": dict(result.call.arguments),
        "text": result.text,
        "ok": result.ok,
        "failure": None if result.failure is None else result.failure.value,
        "seconds": result.seconds,
      }
      for result in turn.results
    ],
  }


# ---- opening ----------------------------------------------------------------------------------------------------


def _check_is_run_folder(path: pathlib.Path) -> None:
  if path.exists() and not path.is_dir():
    raise RunFolderError(f"{path} is a file; a run needs a folder: choose another --workdir")
  ours = {"config.json", "trajectories", "checkpoints", "figures"}
  if path.exists() and any(path.iterdir()) and not ours & {entry.name for entry in path.iterdir()}:
    raise RunFolderError(f"{path} is not empty and holds no run: choose another --workdir")


def _lock(path: pathlib.Path) -> IO:
  file = open(path / ".lock", "a+")  # noqa: SIM115 (open as long as the run)
  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError as error:
    file.seek(0)
    holder = file.read().strip() or "unknown"
    file.close()
    raise RunFolderError(
      f"{path} is in use by another process ({holder}): wait for it, stop it, or choose another --workdir"
    ) from error
  file.truncate(0)
  file.write(f"pid {os.getpid()} on {platform.node()}")
  file.flush()
  return file


def _check_same_config(file: pathlib.Path, config: ConfigDict) -> None:
  """A folder in which nothing was measured or saved yet, as a wrong setting leaves it, takes the new config."""
  if not file.exists() or not _has_results(file.parent):
    disk.write_atomically(file, config_lib.to_json(config).encode())
    return
  changed = config_lib.differences(config_lib.from_json(file.read_text()), config)
  if changed:
    lines = "\n".join(f"  {d.key}: there {d.old!r}, now {d.new!r}" for d in changed)
    raise RunFolderError(
      f"{file.parent} holds a run with another config:\n{lines}\n"
      "To go on with that run, give the same config; to start a new one, choose another --workdir"
    )


def _has_results(path: pathlib.Path) -> bool:
  lines = path / "metrics.jsonl"
  return (lines.exists() and lines.stat().st_size > 0) or any((path / "checkpoints").glob("*/*"))


def _record_start(file: pathlib.Path) -> str:
  record = json.loads(file.read_text()) if file.exists() else {"id": uuid.uuid4().hex[:12], "starts": []}
  record["starts"].append(
    {
      "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
      "command": sys.argv,
      "commit": _commit(),
      "python": platform.python_version(),
      "versions": {name: _version(name) for name in PACKAGES},
      "machine": _machine(),
    }
  )
  disk.write_atomically(file, (json.dumps(record, indent=2) + "\n").encode())
  return record["id"]


def _commit() -> str | None:
  """Commit of the code, "+changes" where files differ from it; None outside a git checkout or without git."""

  def git(*arguments: str) -> str:
    command = ["git", "-C", str(pathlib.Path(__file__).parent), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

  try:
    head, changes = git("rev-parse", "HEAD"), git("status", "--porcelain", "--untracked-files=no")
  except (OSError, subprocess.SubprocessError):
    return None
  return head + ("+changes" if changes else "")


def _version(package: str) -> str | None:
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    return None


def _machine() -> dict[str, Any]:
  devices = jax.devices()
  return {
    "host": platform.node(),
    "system": platform.platform(),
    "processor": _processor(),
    "cores": len(os.sched_getaffinity(0)),
    "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
    "devices": f"{len(devices)} x {devices[0].device_kind}",
  }


def _processor() -> str:
  cpuinfo = pathlib.Path("/proc/cpuinfo")
  lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
  names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
  return names[0] if names else platform.machine()
