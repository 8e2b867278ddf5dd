"""From a config to the policy: its model, its params, and how to talk to it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
from absl import logging
from ml_collections import ConfigDict

from agentrl import envs
from agentrl.models import chat, folder, syntax, transformer
from agentrl.models.chat import ChatFormat
from agentrl.models.tokenizer import Tokenizer, TokenizerError
from agentrl.models.weights import gguf, hf
from agentrl.named import by_name
from agentrl.settings import above, at_least, setting
from agentrl.training import cold_start
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


@dataclasses.dataclass(frozen=True)
class ChatSettings:
  """The section `chat` of a config: how the policy is talked to."""

  style: str = setting(
    "tags",
    '"tags": <open>code</close> inline; "chatml_json", "llama3_json": JSON calls in ChatML or in Llama 3\'s messages; '
    '"dialogue": utterances, without tools',
  )
  template: str = setting("plain", '"plain", "chatml" or "llama3"; read by "tags" and "dialogue"')
  stop: str = setting("\n", 'ends an utterance and its reply; empty: the end-of-turn token; read by "dialogue"')
  open: str = setting("<calc>", 'begins a tool call; read by "tags"')
  close: str = setting("</calc>", 'ends a tool call; read by "tags"')
  observation_open: str = setting("=", 'before a tool\'s output; read by "tags"')
  observation_close: str = setting("\n", 'behind a tool\'s output; read by "tags"')
  answer_open: str = setting("", 'before an answer; empty: the whole last turn; read by "tags"')
  answer_close: str = setting("", 'behind an answer; read by "tags"')


def load_policy(
  config: ConfigDict, tasks: envs.TaskSource, key: jax.Array
) -> tuple[transformer.ModelConfig, Any, ChatFormat]:
  """The model, its params and how to talk to it, from random numbers, a folder or the packaged small model.

  What is wrong with the tokenizer, or with a chat format over it, is found before any weight is read.
  """
  chat_format = make_chat(config.chat, load_tokenizer(config, lambda: tasks), tasks)
  return *load_model(config, chat_format.tokenizer, key), chat_format


def load_tokenizer(config: ConfigDict, open_tasks: Callable[[], envs.TaskSource]) -> Tokenizer:
  """The policy's tokenizer; asks for tasks only where it is trained on what their demonstrations say."""
  read_tokenizer, _ = by_name(_SOURCES, config.model.source, kind="model.source")
  return read_tokenizer(config, open_tasks)


def load_model(config: ConfigDict, tokenizer: Tokenizer, key: jax.Array) -> tuple[transformer.ModelConfig, Any]:
  """The model and its params."""
  settings = config.model
  _, read_model = by_name(_SOURCES, settings.source, kind="model.source")
  model, params = read_model(config, tokenizer, key)
  if config.rollout.max_tokens > model.max_positions:
    raise ValueError(
      f"rollout.max_tokens={config.rollout.max_tokens} exceeds the {model.max_positions} positions that the model was "
      "made for; set it to that at most"
    )
  model = dataclasses.replace(
    model, param_dtype=settings.dtype, remat=settings.remat, attention=settings.attention or None
  )
  return model, params


def _tokenizer_of_folder(config, open_tasks: Callable[[], envs.TaskSource]) -> Tokenizer:
  del open_tasks
  if not config.model.path:
    raise ValueError("model.path is empty: model.source='hf' needs the folder with config.json and safetensors")
  return folder.read_tokenizer(config.model.path)


def _model_of_folder(config, tokenizer: Tokenizer, key: jax.Array) -> tuple[transformer.ModelConfig, Any]:
  del tokenizer, key
  return hf.load(config.model.path, dtype=config.model.dtype)


def _tokenizer_of_smollm2(config, open_tasks: Callable[[], envs.TaskSource]) -> Tokenizer:
  del config, open_tasks
  return Tokenizer.from_gguf(gguf.smollm2_path())


def _model_of_smollm2(config, tokenizer: Tokenizer, key: jax.Array) -> tuple[transformer.ModelConfig, Any]:
  del tokenizer, key
  model, params = gguf.load(gguf.smollm2_path())
  return model, jax.tree.map(lambda a: a.astype(config.model.dtype), params)


def _tokenizer_of_random(config, open_tasks: Callable[[], envs.TaskSource]) -> Tokenizer:
  return _trained_tokenizer(config, open_tasks()) if config.model.vocabulary else Tokenizer.byte_level()


def _model_of_random(config, tokenizer: Tokenizer, key: jax.Array) -> tuple[transformer.ModelConfig, Any]:
  names = ("layers", "width", "heads", "kv_heads", "head_dim", "ffn", "rope_base")
  sizes = {name: config.model[name] for name in names} | {"vocab_size": tokenizer.vocab_size}
  sizes["max_positions"] = max(transformer.ModelConfig.max_positions, config.rollout.max_tokens)
  try:
    model = transformer.ModelConfig(**sizes)
  except ValueError as error:
    raise ValueError(f"model: {error}") from error
  return model, transformer.init_params(key, dataclasses.replace(model, param_dtype=config.model.dtype))


# Per `model.source`: what reads the tokenizer, and then the model and its params.
_SOURCES = {
  "random": (_tokenizer_of_random, _model_of_random),
  "hf": (_tokenizer_of_folder, _model_of_folder),
  "smollm2": (_tokenizer_of_smollm2, _model_of_smollm2),
}
_TOKENIZER_TRACES = 512  # authored traces, of the first tasks, that a tokenizer is trained on


def _trained_tokenizer(config, tasks: envs.TaskSource) -> Tokenizer:
  """Byte-pair encoding of what the authored traces of the first tasks say."""
  spelled = Tokenizer.byte_level()
  indices = range(_TOKENIZER_TRACES)
  authored = cold_start.authored_traces(
    tasks, make_chat(config.chat, spelled, tasks), indices, direct_share=0.0, seed=0
  )
  check_left_out(authored.left_out, len(indices))
  if authored.left_out:
    logging.warning(
      "the tokenizer is trained without %d of %d demonstrations; the first: %s",
      len(authored.left_out), len(indices), authored.left_out[0].reason,
    )  # fmt: skip
  try:
    return Tokenizer.trained((spelled.decode(trace.tokens) for trace in authored.traces), config.model.vocabulary)
  except TokenizerError as error:
    raise ValueError(f"model.vocabulary: {error}") from error


def make_chat(settings: ConfigDict, tokenizer: Tokenizer, tasks: envs.TaskSource) -> ChatFormat:
  """The chat format that the config names.

  Args:
    settings: section `chat` of a config.
    tokenizer: of the policy.
    tasks: whose tools the format must be able to call.

  Raises:
    ValueError: an unknown style or template, or one that fits neither the tokenizer nor the tools.
  """
  _, make = by_name(_STYLES, settings.style, kind="chat.style")
  return make(settings, tokenizer, tasks)


def end_tokens(settings: ConfigDict, tokenizer: Tokenizer) -> tuple[int, ...]:
  """The tokens that end a turn in the chat format of section `chat`: `ChatFormat.stop_tokens`, whatever the tools."""
  template, _ = by_name(_STYLES, settings.style, kind="chat.style")
  return template(settings).end_tokens(tokenizer)


def _template(settings: ConfigDict) -> chat.Template:
  return by_name(chat.TEMPLATES, settings.template, kind="chat.template")


def _dialogue(settings: ConfigDict, tokenizer: Tokenizer, tasks: envs.TaskSource) -> ChatFormat:
  dialogue = ChatFormat.dialogue(tokenizer, settings.stop, _template(settings))
  dialogue.syntax.tools(tasks.tools)  # a tool is an error here, not in the first prompt
  return dialogue


def _tags(settings: ConfigDict, tokenizer: Tokenizer, tasks: envs.TaskSource) -> ChatFormat:
  template = _template(settings)
  if len(tasks.tools) != 1 or tasks.tools[0].text_parameter is None:
    raise ValueError(
      "chat.style='tags' needs exactly one tool with one text parameter; use chat.style='chatml_json' (or "
      "'llama3_json'), or 'dialogue' where there is no tool"
    )
  tags = {name: settings[name] for name in _TAGS}
  return ChatFormat.tags(tokenizer, syntax.tag_syntax(tasks.tools[0], tags), template)


_TAGS = ("open", "close", "observation_open", "observation_close", "answer_open", "answer_close")
# Per `chat.style`: its template, and the format that a tokenizer and tools give with it.
_STYLES = {
  "tags": (_template, _tags),
  "chatml_json": (lambda settings: chat.CHATML, lambda settings, tokenizer, tasks: ChatFormat.chatml_json(tokenizer)),
  "llama3_json": (lambda settings: chat.LLAMA3, lambda settings, tokenizer, tasks: ChatFormat.llama3_json(tokenizer)),
  "dialogue": (_template, _dialogue),
}
