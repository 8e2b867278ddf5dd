import dataclasses
import re
from pathlib import Path

import pytest

from agentrl.models.transformer import ModelConfig, RopeScaling
from agentrl.models.weights.hf_config import read_config, write_config

PATH = Path("folder/config.json")
LLAMA = {
  "model_type": "llama",
  "vocab_size": 11,
  "hidden_size": 12,
  "num_hidden_layers": 2,
  "num_attention_heads": 3,
  "intermediate_size": 20,
  "rms_norm_eps": 1e-6,
}
LLAMA3 = {
  "rope_type": "llama3",
  "factor": 8.0,
  "low_freq_factor": 1.0,
  "high_freq_factor": 4.0,
  "original_max_position_embeddings": 8192,
}


def read(**changes):
  return read_config(PATH, {**LLAMA, **changes}, dtype="float32", remat="none")


def test_absent_keys_mean_what_the_format_says():
  config = read()
  assert (config.kv_heads, config.head_dim, config.tied) == (3, 4, False)
  assert (config.rope_base, config.rope_scaling, config.max_positions) == (10_000.0, None, 2048)
  assert read(model_type="qwen3").head_dim == 128
  assert read(head_dim=None).head_dim == 4


def test_model_types_set_their_switches():
  assert not read().qkv_bias and not read().qk_norm
  assert read(model_type="qwen2").qkv_bias and not read(model_type="qwen2").qk_norm
  assert read(model_type="qwen3").qk_norm and not read(model_type="qwen3").qkv_bias


def test_rope_is_read_in_the_old_and_the_new_spelling():
  scaling = RopeScaling(8.0, 1.0, 4.0, 8192)
  old = read(rope_theta=5e5, rope_scaling=LLAMA3)
  new = read(rope_parameters={**LLAMA3, "rope_theta": 5e5})
  assert old == new
  assert (old.rope_base, old.rope_scaling) == (5e5, scaling)
  assert read(rope_parameters={"rope_type": "default", "rope_theta": 7.0}).rope_base == 7.0
  assert read(rope_scaling={"type": "llama3", **LLAMA3}).rope_scaling == scaling


@pytest.mark.parametrize(
  ("settings", "problem"),
  [
    (
      {"rope_theta": 1e4, "rope_parameters": {"rope_type": "default", "rope_theta": 5e5}},
      "rope_theta=500000.0 in rope_p",
    ),
    (
      {"rope_parameters": {"rope_theta": 5e5}, "rope_scaling": LLAMA3},
      "rope_type='default' in rope_parameters, but 'llama3'",
    ),
    (
      {"rope_parameters": LLAMA3, "rope_scaling": {**LLAMA3, "factor": 4.0}},
      "factor=8.0 in rope_parameters, but 4.0 in rope",
    ),
    ({"rope_scaling": {**LLAMA3, "type": "linear"}}, "rope_scaling says type='linear' and rope_type='llama3'"),
    ({"layer_types": ["full_attention"]}, "lists 1 layer_types, but says num_hidden_layers=2"),
  ],
)
def test_two_places_that_disagree_are_refused(settings, problem):
  with pytest.raises(ValueError, match=rf"folder/config\.json.* {re.escape(problem)}"):
    read(**settings)


def test_two_places_that_agree_are_read_once():
  both = read(rope_theta=5e5, rope_scaling=LLAMA3, rope_parameters={**LLAMA3, "rope_theta": 5e5})
  assert both == read(rope_parameters={**LLAMA3, "rope_theta": 5e5})
  whole = {"rope_type": "default", "rope_theta": 5e5, "partial_rotary_factor": 1.0, "factor": None}
  assert read(rope_parameters=whole, rope_theta=5e5, rope_scaling=None).rope_base == 5e5


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("switches", [{}, {"qkv_bias": True}, {"qk_norm": True, "head_dim": 10}])
def test_write_then_read_is_the_identity(tied, switches):
  base = ModelConfig(11, 12, layers=2, heads=3, kv_heads=1, head_dim=4, ffn=20, norm_eps=3e-6, tied=tied)
  config = dataclasses.replace(base, rope_scaling=RopeScaling(4.0, 1.0, 2.0, 64), **switches)
  assert read_config(PATH, write_config(config), dtype="float32", remat="none") == config


@pytest.mark.parametrize(
  "changes",
  [
    {"attention_bias": True},
    {"mlp_bias": True},
    {"hidden_act": "gelu"},
    {"sliding_window": 4096},
    {"use_sliding_window": True},
    {"layer_types": ["full_attention", "sliding_attention"]},
    {"quantization_config": {"bits": 4}},
    {"partial_rotary_factor": 0.5},
    {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}},
    {"rope_scaling": {"type": "linear", "factor": 4.0}},
    {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}},
  ],
  ids=lambda changes: next(iter(changes)),
)
def test_what_the_decoder_lacks_is_refused_by_name(changes):
  with pytest.raises(ValueError, match=r"folder/config\.json: .*not implemented"):
    read(**changes)


def test_settings_that_change_nothing_pass():
  # Qwen2 folders name a window that is off, and some name their biases.
  read(model_type="qwen2", sliding_window=4096, use_sliding_window=False, max_window_layers=21, attention_bias=True)
  read(layer_types=["full_attention"] * 2, attention_dropout=0, transformers_version="9", use_cache=True)


def test_an_unknown_model_type_names_the_known_ones():
  with pytest.raises(ValueError, match="model_type 'mixtral' is not supported; supported are llama, qwen2, qwen3"):
    read(model_type="mixtral")


@pytest.mark.parametrize("key", sorted(LLAMA))
def test_a_missing_key_is_named(key):
  with pytest.raises(ValueError, match=f"has no '{key}'"):
    read_config(PATH, {k: v for k, v in LLAMA.items() if k != key}, dtype="float32", remat="none")


def test_an_incomplete_llama3_scaling_is_refused():
  with pytest.raises(ValueError, match="needs exactly"):
    read(rope_scaling={k: v for k, v in LLAMA3.items() if k != "low_freq_factor"})


def test_switches_that_no_model_type_has_are_refused():
  config = ModelConfig(7, 8, 1, 2, 1, 4, 8, qkv_bias=True, qk_norm=True)
  with pytest.raises(ValueError, match="no model type has"):
    write_config(config)
