"""A checkpoint of a run as a folder that other libraries open."""

from __future__ import annotations

import contextlib
import pathlib

from ml_collections import ConfigDict

from agentrl.models import folder
from agentrl.models.weights import hf
from agentrl.training.assembly import assemble
from agentrl.training.evaluation import restore_policy


def export_policy(config: ConfigDict, *, run: pathlib.Path, step: int | None, out: pathlib.Path) -> int:
  """Writes config.json, generation_config.json, safetensors and the tokenizer; returns the checkpoint's global step.

  The tokenizer's files, chat template included, are those of the folder that the run started from; a run that
  started from none gets a tokenizer.json and a tokenizer_config.json. Both configs name all tokens that end a turn.

  Args:
    config: of the run. run: its folder. step: global step of the checkpoint; None: the latest.
    out: created where it does not exist.

  Raises:
    FileExistsError: `out` holds a model, or files of one or of a tokenizer.
    FileNotFoundError: the run has no such checkpoint.
  """
  folder.require_absent(out, (*hf.MODEL_FILES, *folder.TOKENIZER_FILES))
  parts = assemble(config)
  with contextlib.closing(parts.tasks):
    params, found = restore_policy(config, parts, run, step)
  ends = parts.chat.stop_tokens()
  out.mkdir(parents=True, exist_ok=True)
  folder.save_tokenizer(parts.tokenizer, out, end=int(ends[0]))
  generation = folder.read_generation(parts.tokenizer)
  hf.save(out, parts.model, params, eos_token_ids=ends, generation=generation)
  return found
