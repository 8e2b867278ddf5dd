"""`config.json` of Llama, Qwen2 and Qwen3 checkpoints <-> `ModelConfig`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentrl.models.folder import required
from agentrl.models.transformer import ModelConfig, RopeScaling

# Per model type: the switches of `ModelConfig`, and what an absent key means in the format.
SWITCHES = {
  "llama": {"qkv_bias": False, "qk_norm": False},
  "qwen2": {"qkv_bias": True, "qk_norm": False},
  "qwen3": {"qkv_bias": False, "qk_norm": True},
}
_ARCHITECTURES = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}
_ABSENT = {
  "tie_word_embeddings": False,
  "rope_theta": None,
  "rope_scaling": None,
  "rope_parameters": None,
  "head_dim": None,
  "num_key_value_heads": None,
  "layer_types": None,
}
_ABSENT_POSITIONS = {"llama": 2048, "qwen2": 32768, "qwen3": 32768}
_ABSENT_HEAD_DIM = {"qwen3": 128}
_ABSENT_ROPE_THETA = 10_000.0

# Settings that change what a model computes, with the only value that the decoder does; absent is that value too.
_ONLY = {
  "hidden_act": "silu",
  "attention_bias": False,
  "mlp_bias": False,
  "attention_dropout": 0.0,
  "use_sliding_window": False,
  "partial_rotary_factor": 1.0,
  "pretraining_tp": 1,
  "quantization_config": None,
}
_ROPE_PLACES = ("rope_parameters", "rope_scaling")
_WHOLE_HEAD = ("partial_rotary_factor", 1.0)  # what absence means too
_ROPE_KEYS = {"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"}


def read_config(path: Path, settings: Mapping[str, Any], *, dtype: str, remat: str) -> ModelConfig:
  """The `ModelConfig` of a parsed config.json.

  Args:
    path: of the file, for messages.
    settings: its content.
    dtype: `param_dtype` of the `ModelConfig`, which the stored tensors decide.
    remat: see `ModelConfig`.

  Raises:
    ValueError: a key is missing, or a setting is one that the decoder lacks; says which.
  """
  kind = required(path, settings, "model_type")
  if kind not in SWITCHES:
    raise ValueError(f"{path}: model_type {kind!r} is not supported; supported are {', '.join(SWITCHES)}")
  settings = {**_ABSENT, "max_position_embeddings": _ABSENT_POSITIONS[kind], **settings}
  _refuse_what_is_missing(path, kind, settings)
  width, heads = required(path, settings, "hidden_size"), required(path, settings, "num_attention_heads")
  rope_base, rope_scaling = _read_rope(path, settings)
  return ModelConfig(
    vocab_size=required(path, settings, "vocab_size"),
    width=width,
    layers=required(path, settings, "num_hidden_layers"),
    heads=heads,
    kv_heads=settings["num_key_value_heads"] or heads,
    head_dim=settings["head_dim"] or _ABSENT_HEAD_DIM.get(kind, width // heads),
    ffn=required(path, settings, "intermediate_size"),
    rope_base=rope_base,
    rope_scaling=rope_scaling,
    norm_eps=required(path, settings, "rms_norm_eps"),
    tied=settings["tie_word_embeddings"],
    max_positions=settings["max_position_embeddings"],
    param_dtype=dtype,
    remat=remat,
    **SWITCHES[kind],
  )


def write_config(
  config: ModelConfig, *, bos_token_id: int | None = None, eos_token_id: int | list[int] | None = None
) -> dict[str, Any]:
  """The content of a config.json that describes `config`.

  Args:
    config: of the model.
    bos_token_id: id of the token before a text. None: the file says that there is none, since the reading library's
      default would be wrong for most tokenizers.
    eos_token_id: ids of the tokens that end a text; None as there.

  Raises:
    ValueError: biases and norms of queries and keys together: no model type has both.
  """
  switches = {"qkv_bias": config.qkv_bias, "qk_norm": config.qk_norm}
  kinds = [kind for kind, wanted in SWITCHES.items() if wanted == switches]
  if not kinds:
    raise ValueError(f"no model type has {switches}; config.json knows {SWITCHES}")
  return {
    "architectures": [_ARCHITECTURES[kinds[0]]],
    "model_type": kinds[0],
    "vocab_size": config.vocab_size,
    "hidden_size": config.width,
    "num_hidden_layers": config.layers,
    "num_attention_heads": config.heads,
    "num_key_value_heads": config.kv_heads,
    "head_dim": config.head_dim,
    "intermediate_size": config.ffn,
    "hidden_act": "silu",
    "rms_norm_eps": config.norm_eps,
    "tie_word_embeddings": config.tied,
    "max_position_embeddings": config.max_positions,
    "rope_theta": config.rope_base,
    "rope_scaling": _write_rope(config.rope_scaling),
    "torch_dtype": config.param_dtype,
    "bos_token_id": bos_token_id,
    "eos_token_id": eos_token_id,
  }


def _refuse_what_is_missing(path: Path, kind: str, settings: Mapping[str, Any]) -> None:
  only = dict(_ONLY)
  if kind == "llama":
    only["sliding_window"] = None
  if kind == "qwen2":
    del only["attention_bias"]  # the type has biases on q, k and v whatever this key says
  for key, value in only.items():
    if key in settings and settings[key] != value:
      raise ValueError(f"{path}: {key}={settings[key]!r} is not implemented; only {value!r} is")
  kinds = settings["layer_types"] or ()
  if set(kinds) - {"full_attention"}:
    raise ValueError(
      f"{path}: layer_types {sorted(set(kinds) - {'full_attention'})} are not implemented; only 'full_attention' is"
    )
  if kinds and len(kinds) != required(path, settings, "num_hidden_layers"):
    raise ValueError(
      f"{path} lists {len(kinds)} layer_types, but says num_hidden_layers={settings['num_hidden_layers']}; take the "
      "file from where the model was published"
    )


def _read_rope(path: Path, settings: Mapping[str, Any]) -> tuple[float, RopeScaling | None]:
  """Base and scaling, from `rope_parameters` or from the older `rope_theta` and `rope_scaling`."""
  rope = _one_spelling(path, settings)
  base, kind = rope.pop("rope_theta", _ABSENT_ROPE_THETA), rope.pop("rope_type", "default")
  if kind == "default":
    if rope:
      raise ValueError(f"{path}: rotary settings {sorted(rope)} are not implemented for rope type 'default'")
    return base, None
  if kind != "llama3":
    raise ValueError(f"{path}: rope type {kind!r} is not implemented; 'default' and 'llama3' are")
  if set(rope) != _ROPE_KEYS:
    raise ValueError(f"{path}: rope type 'llama3' needs exactly {sorted(_ROPE_KEYS)}, the file has {sorted(rope)}")
  return base, RopeScaling(
    factor=rope["factor"],
    low_freq_factor=rope["low_freq_factor"],
    high_freq_factor=rope["high_freq_factor"],
    original_positions=rope["original_max_position_embeddings"],
  )


def _one_spelling(path: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
  """All rotary settings, by their newer names; raises ValueError where two places in the file disagree."""
  places = {place: _newer_names(path, place, settings[place]) for place in _ROPE_PLACES if settings[place]}
  if settings["rope_theta"] is not None:
    places["the top level"] = {"rope_theta": settings["rope_theta"]}
  rope: dict[str, tuple[Any, str]] = {}
  for place, said in places.items():
    for key, value in said.items():
      other, where = rope.setdefault(key, (value, place))
      if other != value:
        raise ValueError(
          f"{path} says {key}={other!r} in {where}, but {value!r} in {place}: keep what the model was trained with"
        )
  return {key: value for key, (value, _) in rope.items()}


def _newer_names(path: Path, place: str, said: Mapping[str, Any]) -> dict[str, Any]:
  rope = {key: value for key, value in said.items() if value is not None and (key, value) != _WHOLE_HEAD}
  older = rope.pop("type", None)
  if older is not None and rope.setdefault("rope_type", older) != older:
    raise ValueError(
      f"{path}: {place} says type={older!r} and rope_type={rope['rope_type']!r}; keep the one that is true"
    )
  return {"rope_type": "default", **rope}


def _write_rope(scaling: RopeScaling | None) -> dict[str, Any] | None:
  if scaling is None:
    return None
  return {
    "rope_type": "llama3",
    "factor": scaling.factor,
    "low_freq_factor": scaling.low_freq_factor,
    "high_freq_factor": scaling.high_freq_factor,
    "original_max_position_embeddings": scaling.original_positions,
  }
