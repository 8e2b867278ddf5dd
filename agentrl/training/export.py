"""A checkpoint of a run as a folder that other libraries open."""

from __future__ import annotations

import contextlib
import pathlib

import jax
from ml_collections import ConfigDict

from agentrl import envs
from agentrl.models import folder
from agentrl.models.weights import hf
from agentrl.training.build.chat import ChatSettings, end_tokens
from agentrl.training.build.model import ModelSettings, load_model, load_tokenizer
from agentrl.training.build.tasks import open_tasks
from agentrl.training.saved import restore_policy


def export_policy(config: ConfigDict, *, run: pathlib.Path, step: int | None, out: pathlib.Path) -> int:
  """Writes config.json, generation_config.json, safetensors and the tokenizer; returns the checkpoint's global step.

  The tokenizer's files, chat template included, are those of the folder that the run started from; a run that
  started from none gets a tokenizer.json and a tokenizer_config.json. Both configs name all tokens that end a turn.

  No environment is opened, so that neither their servers nor what their settings lack in the run's folder is needed;
  where the tokenizer was trained on what demonstrations say (`model.vocabulary`), it is trained anew, and they are.

  Args:
    config: of the run. run: its folder. step: global step of the checkpoint; None: the latest.
    out: created where it does not exist.

  Raises:
    FileExistsError: `out` holds a model, or files of one or of a tokenizer.
    FileNotFoundError: the run has no such checkpoint.
  """
  folder.require_absent(out, (*hf.MODEL_FILES, *folder.TOKENIZER_FILES))
  settings, chat = ModelSettings(**config.model), ChatSettings(**config.chat)
  with contextlib.ExitStack() as opened:

    def tasks() -> envs.TaskSource:
      source = open_tasks(config.task, config.hosting, environment_seconds=config.rollout.environment_seconds)
      return opened.enter_context(contextlib.closing(source))

    tokenizer = load_tokenizer(settings, chat, tasks)
  model, like = load_model(settings, tokenizer, jax.random.key(config.seed), max_tokens=config.rollout.max_tokens)
  params, found = restore_policy(config, like, run, step)
  ends = end_tokens(chat, tokenizer)
  out.mkdir(parents=True, exist_ok=True)
  folder.save_tokenizer(tokenizer, out, end=ends[0])
  generation = folder.read_generation(tokenizer)
  hf.save(out, model, params, eos_token_ids=ends, generation=generation)
  return found
