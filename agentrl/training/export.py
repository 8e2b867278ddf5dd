"""A checkpoint of a run as a folder that other libraries open."""

from __future__ import annotations

import contextlib
import pathlib

from ml_collections import ConfigDict

from agentrl.models.weights import hf
from agentrl.training.assembly import assemble
from agentrl.training.evaluation import restore_policy


def export_policy(config: ConfigDict, *, run: pathlib.Path, step: int | None, out: pathlib.Path) -> int:
  """Writes config.json, safetensors and tokenizer.json; returns the global step of the checkpoint.

  Args:
    config: of the run. run: its folder. step: global step of the checkpoint; None: the latest.
    out: created where it does not exist.

  Raises:
    FileExistsError: `out` holds a model.
    FileNotFoundError: the run has no such checkpoint.
  """
  parts = assemble(config)
  with contextlib.closing(parts.tasks):
    params, found = restore_policy(config, parts, run, step)
  hf.save(out, parts.model, params, eos_token_ids=parts.chat.stop_tokens())
  parts.tokenizer.save(out / "tokenizer.json")
  return found
