"""From the section `model` to the policy: its tokenizer, its model and its params."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
from absl import logging

from agentrl import envs
from agentrl.models import folder, transformer
from agentrl.models.chat import ChatFormat
from agentrl.models.tokenizer import Tokenizer, TokenizerError
from agentrl.models.transformer import ModelConfig
from agentrl.models.weights import gguf, hf
from agentrl.named import by_name
from agentrl.ops.finite import nonfinite_leaves
from agentrl.settings import above, at_least, setting
from agentrl.training import cold_start
from agentrl.training.build.chat import ChatSettings, make_chat
from agentrl.training.left_out import check_left_out


@dataclasses.dataclass(frozen=True)
class ModelSettings:
  """The section `model` of a config: where the policy comes from, and what its weights are.

  What samples, is evaluated and exported of a "bfloat16" model are float32 masters rounded to it: with masters, moments
  and the sum of gradients a weight takes 18 bytes, and one of "float32" takes 16.
  """

  source: str = setting(
    "random", '"random": the sizes below; "hf": a folder with safetensors; "smollm2": the packaged model'
  )
  path: str = setting("", 'folder, for "hf"')
  dtype: str = setting("float32", 'of weights and activations; "bfloat16" keeps float32 masters')
  remat: str = setting("none", 'what the backward pass keeps of a layer: "none" all, "dots" matmuls, "full" its input')
  attention: str = setting(
    "", '`implementation` of ops/attention/forest in the update: "triton" on a GPU; empty: automatic'
  )
  vocabulary: int = setting(
    0, 'of "random": ids at most of a tokenizer trained on authored traces; 0: the bytes', at_least(0)
  )
  layers: int = setting(2, 'L, of "random"', at_least(1))
  width: int = setting(64, 'D, of "random"', at_least(1))
  heads: int = setting(4, 'H, of "random"', at_least(1))
  kv_heads: int = setting(2, 'K, of "random"', at_least(1))
  head_dim: int = setting(16, 'C, of "random"', at_least(1))
  ffn: int = setting(256, 'F, of "random"', at_least(1))
  rope_base: float = setting(10_000.0, 'base of the rotary embedding\'s wavelengths, of "random"', above(0))


def load_policy(
  model: ModelSettings, chat: ChatSettings, tasks: envs.TaskSource, key: jax.Array, *, max_tokens: int
) -> tuple[ModelConfig, Any, ChatFormat]:
  """The model, its params and how to talk to it; see `load_tokenizer` and `load_model`.

  What is wrong with the tokenizer, or with a chat format over it, is found before any weight is read.
  """
  chat_format = make_chat(chat, load_tokenizer(model, chat, lambda: tasks), tasks)
  return *load_model(model, chat_format.tokenizer, key, max_tokens=max_tokens), chat_format


def load_tokenizer(settings: ModelSettings, chat: ChatSettings, open_tasks: Callable[[], envs.TaskSource]) -> Tokenizer:
  """The policy's tokenizer.

  Args:
    settings: see the class.
    chat: how demonstrations are written that the tokenizer is trained on.
    open_tasks: asked only where it is trained on what the tasks' demonstrations say.
  """
  return by_name(SOURCES, settings.source, kind="model.source").tokenizer(settings, chat, open_tasks)


def load_model(
  settings: ModelSettings, tokenizer: Tokenizer, key: jax.Array, *, max_tokens: int
) -> tuple[ModelConfig, Any]:
  """The model and its params.

  Args:
    settings: see the class.
    tokenizer: of the policy.
    key: of random weights.
    max_tokens: of a trajectory.

  Raises:
    ValueError: the model has too few positions, or weights that are NaN or infinite.
  """
  model, params = by_name(SOURCES, settings.source, kind="model.source").model(settings, tokenizer, key, max_tokens)
  if max_tokens > model.max_positions:
    raise ValueError(
      f"rollout.max_tokens={max_tokens} exceeds the {model.max_positions} positions that the model was made for; set "
      "it to that at most"
    )
  require_finite(params, settings.path or f"model.source={settings.source!r}")
  model = dataclasses.replace(
    model, param_dtype=settings.dtype, remat=settings.remat, attention=settings.attention or None
  )
  return model, params


def require_finite(params: Any, where: str) -> None:
  """Raises ValueError where a weight is NaN or infinite; `where` names what was loaded."""
  if bad := nonfinite_leaves(params):
    raise ValueError(f"{where}: these weights hold NaN or infinity: {', '.join(bad[:5])}")


class Source(NamedTuple):
  """Where a policy comes from.

  Attributes:
    tokenizer: `(settings, chat, open_tasks) -> Tokenizer`, see `load_tokenizer`.
    model: `(settings, tokenizer, key, max_tokens) -> (model, params)`, see `load_model`.
  """

  tokenizer: Callable[[ModelSettings, ChatSettings, Callable[[], envs.TaskSource]], Tokenizer]
  model: Callable[[ModelSettings, Tokenizer, jax.Array, int], tuple[ModelConfig, Any]]


def _tokenizer_of_folder(
  settings: ModelSettings, chat: ChatSettings, open_tasks: Callable[[], envs.TaskSource]
) -> Tokenizer:
  del chat, open_tasks
  if not settings.path:
    raise ValueError("model.path is empty: model.source='hf' needs the folder with config.json and safetensors")
  return folder.read_tokenizer(settings.path)


def _model_of_folder(
  settings: ModelSettings, tokenizer: Tokenizer, key: jax.Array, max_tokens: int
) -> tuple[ModelConfig, Any]:
  del tokenizer, key, max_tokens
  return hf.load(settings.path, dtype=settings.dtype)


def _tokenizer_of_smollm2(
  settings: ModelSettings, chat: ChatSettings, open_tasks: Callable[[], envs.TaskSource]
) -> Tokenizer:
  del settings, chat, open_tasks
  return Tokenizer.from_gguf(gguf.smollm2_path())


def _model_of_smollm2(
  settings: ModelSettings, tokenizer: Tokenizer, key: jax.Array, max_tokens: int
) -> tuple[ModelConfig, Any]:
  del tokenizer, key, max_tokens
  model, params = gguf.load(gguf.smollm2_path())
  return model, jax.tree.map(lambda a: a.astype(settings.dtype), params)


def _tokenizer_of_random(
  settings: ModelSettings, chat: ChatSettings, open_tasks: Callable[[], envs.TaskSource]
) -> Tokenizer:
  if not settings.vocabulary:
    return Tokenizer.byte_level()
  return _trained_tokenizer(settings.vocabulary, chat, open_tasks())


def _model_of_random(
  settings: ModelSettings, tokenizer: Tokenizer, key: jax.Array, max_tokens: int
) -> tuple[ModelConfig, Any]:
  try:
    model = ModelConfig(
      vocab_size=tokenizer.vocab_size,
      width=settings.width,
      layers=settings.layers,
      heads=settings.heads,
      kv_heads=settings.kv_heads,
      head_dim=settings.head_dim,
      ffn=settings.ffn,
      rope_base=settings.rope_base,
      max_positions=max(ModelConfig.max_positions, max_tokens),
    )
  except ValueError as error:
    raise ValueError(f"model: {error}") from error
  return model, transformer.init_params(key, dataclasses.replace(model, param_dtype=settings.dtype))


SOURCES: Mapping[str, Source] = {
  "random": Source(_tokenizer_of_random, _model_of_random),
  "hf": Source(_tokenizer_of_folder, _model_of_folder),
  "smollm2": Source(_tokenizer_of_smollm2, _model_of_smollm2),
}
_TOKENIZER_TRACES = 512  # authored traces, of the first tasks, that a tokenizer is trained on


def _trained_tokenizer(vocabulary: int, chat: ChatSettings, tasks: envs.TaskSource) -> Tokenizer:
  """Byte-pair encoding of what the authored traces of the first tasks say."""
  spelled = Tokenizer.byte_level()
  indices = range(_TOKENIZER_TRACES)
  authored = cold_start.authored_traces(tasks, make_chat(chat, spelled, tasks), indices, mix={}, seed=0)
  check_left_out(authored.left_out, len(indices))
  if authored.left_out:
    logging.warning(
      "the tokenizer is trained without %d of %d demonstrations; the first: %s",
      len(authored.left_out), len(indices), authored.left_out[0].reason,
    )  # fmt: skip
  try:
    return Tokenizer.trained((spelled.decode(trace.tokens) for trace in authored.traces), vocabulary)
  except TokenizerError as error:
    raise ValueError(f"model.vocabulary: {error}") from error
