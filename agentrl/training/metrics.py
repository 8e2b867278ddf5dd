"""metrics.jsonl, and the same numbers to Weights & Biases (`tracker.py`).

A line is `{"step": 3, "wall_s": 12.5, "group/name": 0.25, ...}`. A NaN or an infinity is written as null, listed under
"nonfinite", and logged as an error: the file stays valid JSON, and nobody misses it.
"""

import json
import math
import os
import pathlib
import time
from collections.abc import Mapping
from typing import Any, BinaryIO

from absl import logging

from agentrl.metrics_file import read_metrics
from agentrl.training import disk
from agentrl.training.tracker import Tracker


def is_timing(name: str) -> bool:
  """Whether a metric measures the machine and its load, so that two runs of equal numbers may differ in it."""
  return name == "wall_s" or name.startswith("time/") or name.endswith("per_second")


class MetricsWriter:
  """Appends one line per step, and sends it to W&B.

  Opening drops a last line that a kill cut short. A line is handed to the kernel whole before `write` returns, so a
  killed process loses none.

  Args:
    path: metrics.jsonl; created if missing, continued if not. `wall_s` goes on from its last line.
    wandb_mode, wandb_project, run_id, config: see `Tracker`.
  """

  def __init__(
    self,
    path: pathlib.Path,
    *,
    wandb_mode: str = "disabled",
    wandb_project: str = "agentrl",
    run_id: str = "",
    config: Mapping[str, Any] | None = None,
  ):
    self._path = path
    self._file: BinaryIO | None = None
    self.truncate_after(math.inf)
    shown = {"project": wandb_project, "run_id": run_id, "config": config or {}}
    try:
      self._tracker = Tracker(wandb_mode, folder=path.parent, **shown)
    except BaseException:
      self._close_file()
      raise

  @property
  def last_step(self) -> int:
    """Step of the last line; -1 where there is none."""
    return self._last_step

  def truncate_after(self, step: float) -> None:
    """Forgets the lines of later steps, and a torn last line; wall time goes on from the last line kept."""
    self._close_file()
    truncate_after(self._path, step)
    lines = read(self._path)
    self._last_step = lines[-1]["step"] if lines else -1
    self._inherited = bool(lines)
    self._started = time.monotonic() - (lines[-1]["wall_s"] if lines else 0.0)
    self._file = open(self._path, "ab", buffering=0)  # noqa: SIM115 (closed by close)

  def write(self, step: int, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Writes the metrics of one step.

    Args:
      step: larger than every step written so far. The last step found on opening or truncating may be written
        anew: a run that goes on before its first checkpoint repeats its first line.
      metrics: "group/name" -> a scalar (number, or array of one element).

    Returns:
      The line as written.
    """
    if step == self._last_step and self._inherited:
      self.truncate_after(step - 1)
    if step <= self._last_step:
      raise ValueError(
        f"metrics of step {step} after those of step {self._last_step} in {self._path}: steps must grow; "
        "on resume, call truncate_after(step) first"
      )
    values = {name: _as_float(name, value) for name, value in metrics.items()}
    line = {"step": step, "wall_s": round(time.monotonic() - self._started, 3)}
    line |= {name: value if math.isfinite(value) else None for name, value in values.items()}
    if nonfinite := [name for name, value in values.items() if not math.isfinite(value)]:
      line["nonfinite"] = nonfinite
      logging.error("step %d: %s", step, ", ".join(f"{name} is {values[name]}" for name in nonfinite))
    with disk.explain_full_disk(self._path):
      _write_all(self._file, (json.dumps(line, allow_nan=False) + "\n").encode())
    self._last_step, self._inherited = step, False
    self._tracker.log(step, {"wall_s": line["wall_s"], **values})
    return line

  def close(self, *, failed: bool = False) -> None:
    """Closes the file and finishes the W&B run, as failed where the run ended with an error."""
    self._close_file()
    self._tracker.finish(failed=failed)

  def _close_file(self) -> None:
    if self._file is not None:
      self._file.close()

  def __enter__(self) -> "MetricsWriter":
    return self

  def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
    self.close(failed=kind is not None)


def read(path: pathlib.Path) -> list[dict[str, Any]]:
  """The lines so far, none where there is no file yet; raises as `read_metrics` does."""
  return read_metrics(path) if path.exists() else []


def truncate_after(path: pathlib.Path, step: float) -> None:
  """Drops the lines of later steps, and a torn last line: a run resumed at `step` then repeats them."""
  if not path.exists():
    return
  *whole, torn = path.read_bytes().split(b"\n")
  kept = [text + b"\n" for text, line in zip(whole, read(path), strict=True) if line["step"] <= step]
  if torn or len(kept) < len(whole):
    disk.write_atomically(path, b"".join(kept))


def _as_float(name: str, value: Any) -> float:
  if "/" not in name:
    raise ValueError(f"metric {name!r} must be named 'group/name'")
  try:
    return float(value)
  except (TypeError, ValueError) as error:
    raise ValueError(f"metric {name!r} must be a single number, not {value!r}") from error


def _write_all(file: BinaryIO, data: bytes) -> None:
  while data:
    data = data[file.write(data) :]
  os.fsync(file.fileno())
