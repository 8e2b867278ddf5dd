"""Folders of `config.json` and safetensors, the way published checkpoints come, in and out.

Reads and writes one weight at a time. Whatever a `config.json` asks for that the decoder does not do is an error here
rather than a model that is silently another.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from agentrl.models.folder import CONFIG_FILE, GENERATION_FILE, read_json, require_absent
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

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"

ADAPTER_FILE = "adapter_config.json"
# Patterns of all that the weights and settings of a model stand in.
MODEL_FILES = (CONFIG_FILE, GENERATION_FILE, INDEX_FILE, ADAPTER_FILE, "*.safetensors")

_WEIGHT_FILE = re.compile(r"model(-\d+-of-\d+)?\.safetensors")
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
  settings = read_json(folder / CONFIG_FILE)
  _refuse_adapters(folder)
  with contextlib.ExitStack() as stack_of_files:
    tensors = _open_tensors(folder, stack_of_files)
    stored = {tensor: _stored_dtype(file, tensor, path) for tensor, (file, path) in tensors.items()}
    dtype = dtype or ("bfloat16" if set(stored.values()) == {"BF16"} else "float32")
    config = read_config(folder / CONFIG_FILE, settings, dtype=dtype, remat=remat)
    read = lambda name: tensors[name][0].get_tensor(name)  # noqa: E731
    _check_names(folder, config, set(tensors), read)
    try:
      return config, stack(config, NAMES, read)
    except ValueError as error:
      raise ValueError(
        f"{folder / CONFIG_FILE} and the safetensors beside it contradict each other: {error}"
      ) from error


def _refuse_adapters(folder: Path) -> None:
  if (folder / ADAPTER_FILE).is_file():
    raise ValueError(
      f"{folder / ADAPTER_FILE}: the folder holds an adapter over a model, and the model alone would be another "
      "policy; merge the adapter into the weights and save them, or delete its files to use the model without it"
    )


def _open_tensors(folder: Path, files: contextlib.ExitStack) -> dict[str, tuple[Any, Path]]:
  """Each tensor's name -> (open file, its path)."""
  where = _weight_map(folder)
  names = {SINGLE_FILE} if where is None else set(where.values())
  left_over = sorted(p.name for p in folder.glob("*") if _WEIGHT_FILE.fullmatch(p.name) and p.name not in names)
  if where is None and not (folder / SINGLE_FILE).is_file():
    found = f"; it has {left_over[:3]}, whose index is missing" if left_over else ""
    raise FileNotFoundError(
      f"{folder} holds neither {SINGLE_FILE} nor {INDEX_FILE}{found}; download the weights into it"
    )
  if left_over:
    raise ValueError(
      f"{folder} holds the weights of two saves: {', '.join(sorted(names)[:3])}, which "
      f"{'is whole' if where is None else INDEX_FILE + ' names'}, and {', '.join(left_over[:3])}; delete what is old"
    )
  opened = {name: files.enter_context(_open(folder / name)) for name in sorted(names)}
  if where is not None:
    _compare_with_index(folder, where, opened)
  return {tensor: (file, folder / name) for name, file in opened.items() for tensor in file.keys()}  # noqa: SIM118


def _weight_map(folder: Path) -> dict[str, str] | None:
  """Tensor -> file as the index says; None: there is no index."""
  if not (folder / INDEX_FILE).is_file():
    return None
  content = read_json(folder / INDEX_FILE)
  if not isinstance(content.get("weight_map"), dict):
    raise ValueError(f"{folder / INDEX_FILE} has no 'weight_map', which says where each tensor is; download it again")
  return content["weight_map"]


def _compare_with_index(folder: Path, where: Mapping[str, str], opened: Mapping[str, Any]) -> None:
  has = {name: set(file.keys()) for name, file in opened.items()}
  for tensor, name in where.items():
    if tensor not in has[name]:
      raise ValueError(f"{folder / INDEX_FILE} says that {tensor} is in {name}, and it is not: download both again")
  for name, tensors in has.items():
    for tensor in sorted(tensors):
      if where.get(tensor) != name:
        known = f"says that it is in {where[tensor]}" if tensor in where else "does not name it"
        raise ValueError(f"{folder / name} holds {tensor}, but {INDEX_FILE} {known}: download both again")


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
  if missing == [NAMES["unembed"]] and not extra:
    raise ValueError(
      f"{folder / CONFIG_FILE} does not tie the embeddings, but no {NAMES['unembed']} is stored beside it; set "
      f'"tie_word_embeddings": true if the model uses {NAMES["embed"]} for both, or download the missing weights'
    )
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
  generation: Mapping[str, Any] | None = None,
  max_shard_bytes: int = 4 * 2**30,
) -> None:
  """Writes a folder that `load`, and other libraries, open.

  Every file is written under another name, flushed and renamed, config.json last: a folder without it is a save that
  was cut short. Holds one shard at a time on the host. A model that is there already is never overwritten, and none of
  its files stays beside the new ones.

  Args:
    folder: created where it does not exist; may hold other files, such as a tokenizer.
    config: of the params.
    params: in `config.param_dtype`.
    eos_token_ids: tokens at which other libraries stop generating (a chat format's `stop_tokens`); none: they do not.
    generation: what else generation_config.json says, such as that of the folder that the model came from.
    max_shard_bytes: a file gets no bigger, unless by a single tensor that is.

  Raises:
    FileExistsError: the folder holds a model, or files of one.
    ValueError: no published model type has this combination of switches, or params do not fit the config.
  """
  folder, ids = Path(folder), [int(token) for token in eos_token_ids]
  generation = {**(generation or {}), "eos_token_id": ids if len(ids) > 1 else next(iter(ids), None)}
  bos = generation.get("bos_token_id")
  settings = write_config(config, bos_token_id=bos, eos_token_id=generation["eos_token_id"])
  folder.mkdir(parents=True, exist_ok=True)
  require_absent(folder, MODEL_FILES)
  _write_weights(folder, config, params, max_shard_bytes)
  _write_json(folder / GENERATION_FILE, generation)
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
    temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
  """A name to write to; what stands there is flushed and renamed to `path`, or removed if writing failed.

  Each who writes has a name of its own: of several at once the last one's content stays.
  """
  temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
  temporary.touch(exist_ok=False)
  mode = temporary.stat().st_mode
  try:
    yield temporary
    temporary.chmod(mode)  # safetensors replaces the file by one that only its owner may read
    with open(temporary, "rb") as file:
      os.fsync(file.fileno())
    os.replace(temporary, path)
  finally:
    temporary.unlink(missing_ok=True)
