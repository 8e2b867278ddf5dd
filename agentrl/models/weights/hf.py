"""Folders of `config.json` and safetensors, the way published checkpoints come, in and out.

Reads and writes one weight at a time. Whatever a `config.json` asks for that the decoder does not do is an error here
rather than a model that is silently another.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from agentrl.models.transformer import ModelConfig, Params
from agentrl.models.weights.hf_config import read_config, write_config
from agentrl.models.weights.stacking import TensorNames, stack, tensor_shapes, unstack

_LAYER = "model.layers.{layer}."
NAMES: TensorNames = {
  "embed": "model.embed_tokens.weight",
  "final_norm": "model.norm.weight",
  "unembed": "lm_head.weight",
  "attn_norm": _LAYER + "input_layernorm.weight",
  "q": _LAYER + "self_attn.q_proj.weight",
  "k": _LAYER + "self_attn.k_proj.weight",
  "v": _LAYER + "self_attn.v_proj.weight",
  "o": _LAYER + "self_attn.o_proj.weight",
  "q_bias": _LAYER + "self_attn.q_proj.bias",
  "k_bias": _LAYER + "self_attn.k_proj.bias",
  "v_bias": _LAYER + "self_attn.v_proj.bias",
  "q_norm": _LAYER + "self_attn.q_norm.weight",
  "k_norm": _LAYER + "self_attn.k_norm.weight",
  "mlp_norm": _LAYER + "post_attention_layernorm.weight",
  "gate": _LAYER + "mlp.gate_proj.weight",
  "up": _LAYER + "mlp.up_proj.weight",
  "down": _LAYER + "mlp.down_proj.weight",
}

CONFIG_FILE = "config.json"
SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"

# Old exports carry a buffer that is computed from the configuration.
_BUFFER_SUFFIX = ".rotary_emb.inv_freq"
_LOADABLE = ("F32", "BF16", "F16")


# ---- in -----------------------------------------------------------------------------------------------------------


def load(folder: str | Path, *, dtype: str | None = None, remat: str = "none") -> tuple[ModelConfig, Params]:
  """Reads a model of type llama, qwen2 or qwen3.

  Args:
    folder: holds config.json and model.safetensors, or model.safetensors.index.json and its shards.
    dtype: of the params, "float32" or "bfloat16". None: bfloat16 where every stored tensor is, else float32, so that
      nothing is rounded.
    remat: see `ModelConfig`.

  Raises:
    FileNotFoundError: config.json, the weights or a shard is missing.
    ValueError: a truncated file, missing or superfluous tensors, a shape that config.json contradicts, or a setting
      in config.json that the decoder lacks.
  """
  folder = Path(folder)
  settings = _read_json(folder, CONFIG_FILE)
  with contextlib.ExitStack() as stack_of_files:
    tensors = _open_tensors(folder, stack_of_files)
    stored = {tensor: _stored_dtype(file, tensor, path) for tensor, (file, path) in tensors.items()}
    dtype = dtype or ("bfloat16" if set(stored.values()) == {"BF16"} else "float32")
    config = read_config(folder / CONFIG_FILE, settings, dtype=dtype, remat=remat)
    read = lambda name: tensors[name][0].get_tensor(name)  # noqa: E731
    _check_names(folder, config, set(tensors), read)
    return config, stack(config, NAMES, read)


def _read_json(folder: Path, name: str) -> dict[str, Any]:
  path = folder / name
  if not path.is_file():
    raise FileNotFoundError(
      f"no {path}; give the folder of a downloaded model, with {CONFIG_FILE} and {SINGLE_FILE} (or {INDEX_FILE}) in it"
    )
  try:
    return json.loads(path.read_text())
  except ValueError as error:
    raise ValueError(f"{path} is not valid JSON ({error}); download it again") from error


def _open_tensors(folder: Path, files: contextlib.ExitStack) -> dict[str, tuple[Any, Path]]:
  """Each tensor's name -> (open file, its path)."""
  if not (folder / INDEX_FILE).is_file():
    if not (folder / SINGLE_FILE).is_file():
      raise FileNotFoundError(f"{folder} holds neither {SINGLE_FILE} nor {INDEX_FILE}; download the weights into it")
    file = files.enter_context(_open(folder / SINGLE_FILE))
    return dict.fromkeys(file.keys(), (file, folder / SINGLE_FILE))
  where = _read_json(folder, INDEX_FILE)["weight_map"]
  shards = {name: files.enter_context(_open(folder / name)) for name in sorted(set(where.values()))}
  for tensor, shard in where.items():
    if tensor not in shards[shard].keys():  # noqa: SIM118 (a safetensors file has no __contains__)
      raise ValueError(f"{folder / INDEX_FILE} says that {tensor} is in {shard}, and it is not: download both again")
  return {tensor: (shards[shard], folder / shard) for tensor, shard in where.items()}


def _open(path: Path) -> Any:
  if not path.is_file():
    raise FileNotFoundError(f"{path} is missing, which {INDEX_FILE} names; download it into the same folder")
  try:
    return safetensors.safe_open(path, framework="numpy")
  except safetensors.SafetensorError as error:
    size = path.stat().st_size
    raise ValueError(
      f"{path} ({size} bytes) is truncated or not a safetensors file ({error}); copy or download it again"
    ) from error


def _stored_dtype(file: Any, tensor: str, path: Path) -> str:
  dtype = file.get_slice(tensor).get_dtype()
  if dtype not in _LOADABLE:
    raise ValueError(f"{path}: tensor {tensor} is stored as {dtype}; only {', '.join(_LOADABLE)} can be loaded")
  return dtype


def _check_names(folder: Path, config: ModelConfig, found: set[str], read: Any) -> None:
  found = {name for name in found if not name.endswith(_BUFFER_SUFFIX)}
  if config.tied and NAMES["unembed"] in found:
    if not np.array_equal(read(NAMES["unembed"]), read(NAMES["embed"])):
      raise ValueError(
        f"{folder}: {CONFIG_FILE} ties the embeddings, but {NAMES['unembed']} differs from {NAMES['embed']}; set "
        '"tie_word_embeddings": false'
      )
    found -= {NAMES["unembed"]}
  wanted = set(tensor_shapes(config, NAMES))
  missing, extra = sorted(wanted - found), sorted(found - wanted)
  if missing or extra:
    raise ValueError(
      f"the tensors in {folder} are not those that its {CONFIG_FILE} describes: {len(missing)} missing {missing[:5]}, "
      f"{len(extra)} that the decoder has no use for {extra[:5]}"
    )


# ---- out ----------------------------------------------------------------------------------------------------------


def save(
  folder: str | Path,
  config: ModelConfig,
  params: Params,
  *,
  eos_token_ids: Sequence[int] = (),
  max_shard_bytes: int = 4 * 2**30,
) -> None:
  """Writes a folder that `load`, and other libraries, open.

  Every file is written under another name, flushed and renamed, config.json last: a folder without it is a save that
  was cut short. Holds one shard at a time on the host. A model that is there already is never overwritten.

  Args:
    folder: created where it does not exist; may hold other files, such as a tokenizer.
    config: of the params.
    params: in `config.param_dtype`.
    eos_token_ids: tokens at which other libraries stop generating (a chat format's `stop_tokens`); none: they do not.
    max_shard_bytes: a file gets no bigger, unless by a single tensor that is.

  Raises:
    FileExistsError: the folder holds a model.
    ValueError: no published model type has this combination of switches, or params do not fit the config.
  """
  folder = Path(folder)
  settings = write_config(config, eos_token_ids)
  folder.mkdir(parents=True, exist_ok=True)
  present = sorted(path.name for path in folder.glob("*") if path.name == CONFIG_FILE or path.suffix == ".safetensors")
  if present:
    raise FileExistsError(f"{folder} already holds {present[:3]}; give another folder, or delete those first")
  _write_weights(folder, config, params, max_shard_bytes)
  _write_json(folder / CONFIG_FILE, settings)


def _write_weights(folder: Path, config: ModelConfig, params: Params, max_shard_bytes: int) -> None:
  sizes = {name: int(np.prod(shape)) for name, shape in tensor_shapes(config, NAMES).items()}
  item = jnp.dtype(config.param_dtype).itemsize
  plan = _shards({name: item * size for name, size in sizes.items()}, max_shard_bytes)
  tensors = unstack(config, NAMES, params)
  for file, names in plan.items():
    _write_shard(folder / file, tensors, names)
  if len(plan) > 1:
    where = {name: file for file, names in plan.items() for name in names}
    total = {"total_size": item * sum(sizes.values())}
    _write_json(folder / INDEX_FILE, {"metadata": total, "weight_map": where})


def _shards(sizes: Mapping[str, int], max_shard_bytes: int) -> dict[str, list[str]]:
  """File name -> the tensors that go there, in their order."""
  groups: list[list[str]] = [[]]
  used = 0
  for name, size in sizes.items():
    if groups[-1] and used + size > max_shard_bytes:
      groups.append([])
      used = 0
    groups[-1].append(name)
    used += size
  if len(groups) == 1:
    return {SINGLE_FILE: groups[0]}
  return {f"model-{i + 1:05d}-of-{len(groups):05d}.safetensors": names for i, names in enumerate(groups)}


def _write_shard(path: Path, tensors: Iterator[tuple[str, np.ndarray]], names: Sequence[str]) -> None:
  shard = dict(next(tensors) for _ in names)
  with _replacing(path) as temporary:
    safetensors.numpy.save_file(shard, temporary, metadata={"format": "pt"})


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
  with _replacing(path) as temporary:
    temporary.write_text(json.dumps(content, indent=2) + "\n")


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
  """A name to write to; what stands there is flushed and renamed to `path`, or removed if writing failed."""
  temporary = path.with_name(f".{path.name}.tmp")
  temporary.touch()
  mode = temporary.stat().st_mode
  try:
    yield temporary
    temporary.chmod(mode)  # safetensors replaces the file by one that only its owner may read
    with open(temporary, "rb") as file:
      os.fsync(file.fileno())
    os.replace(temporary, path)
  finally:
    temporary.unlink(missing_ok=True)
