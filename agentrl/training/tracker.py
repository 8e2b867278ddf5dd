"""Weights & Biases beside metrics.jsonl. Whatever happens to it, the run goes on: the file has every number."""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

from absl import logging

from agentrl.named import check_name
from agentrl.training.redacted import redacted_command

WANDB_MODES = ("online", "offline", "disabled")


class Tracker:
  """Sends metrics to a W&B run. The first failure is logged as an error; later calls are still tried, and silent.

  Args:
    mode: "online", "offline" or "disabled"; wandb is imported in the first two only.
    project, run_id, config: what W&B shows; a run continued under the same `run_id` is the same W&B run.
    folder: the run's; names the W&B run, and holds its files.

  Raises:
    ValueError: an unknown mode.
    ImportError: wandb is wanted and not installed.
  """

  def __init__(self, mode: str, *, project: str, run_id: str, config: Mapping[str, Any], folder: pathlib.Path):
    check_name(WANDB_MODES, mode, kind="wandb.mode")
    self._told = False
    self._run = None
    if mode == "disabled":
      return
    try:
      import wandb  # slow to import, and wanted by few runs
    except ImportError as error:
      raise ImportError(
        f"wandb.mode={mode!r} needs wandb ({error}): pip install wandb, or wandb.mode=disabled"
      ) from error
    settings = {"mode": mode, "project": project, "id": run_id or None, "name": folder.name, "resume": "allow"}
    self._run = self._tried(
      lambda: wandb.init(
        **settings,
        config=dict(config),
        dir=str(folder),
        # What W&B gathers by itself holds the command line, and so a credential that it holds.
        settings={"x_disable_meta": redacted_command(sys.argv) != sys.argv},
      )
    )

  def log(self, step: int, values: Mapping[str, float]) -> None:
    """Sends the metrics of a step."""
    if self._run is not None:
      self._tried(lambda: self._run.log(dict(values), step=step))

  def finish(self, *, failed: bool) -> None:
    """Ends the W&B run, as failed where the run ended with an error."""
    if self._run is not None:
      self._tried(lambda: self._run.finish(exit_code=int(failed)))

  def _tried(self, call: Callable[[], Any]) -> Any:
    """What a call gives; None where it fails, which is told the first time."""
    try:
      return call()
    except Exception as error:  # a tracker that is down raises anything
      if not self._told:
        logging.error("W&B failed, and the run goes on without it: %s: %s", type(error).__name__, error)
      self._told = True
      return None
