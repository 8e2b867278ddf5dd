"""Params from a checkpoint that stores one tensor per layer and weight, and back, one weight at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from agentrl.models.transformer import ModelConfig, Params, Weight, is_weight, weight_specs

# Name of each of our weights in a checkpoint; `{layer}` stands in those that are stored once per layer.
TensorNames = Mapping[str, str]


def tensor_shapes(config: ModelConfig, names: TensorNames) -> dict[str, tuple[int, ...]]:
  """Shape of every tensor that a checkpoint of this config holds, by its name there."""
  shapes = {}
  for path, weight in _weights(config):
    for layer in _layers(path, config):
      shape = weight.shape[1:] if _is_stacked(path) else weight.shape
      shapes[names[path[-1]].format(layer=layer)] = shape[::-1] if _is_transposed(path) else shape
  return shapes


def stack(config: ModelConfig, names: TensorNames, read: Callable[[str], np.ndarray]) -> Params:
  """Reads a checkpoint into params, holding no more than one stacked weight on the host at a time.

  Args:
    config: its `param_dtype` is what the params get.
    names: see `TensorNames`.
    read: tensor of a checkpoint by name. Linear maps come as [out, in], the way checkpoints store them, and are
      transposed here.

  Raises:
    ValueError: a tensor has another shape than the config says.
  """
  shapes = tensor_shapes(config, names)

  def load(path: tuple[jax.tree_util.DictKey, ...], weight: Weight) -> jax.Array:
    path = tuple(entry.key for entry in path)
    host = np.empty(weight.shape, jnp.dtype(config.param_dtype))
    for layer in _layers(path, config):
      name = names[path[-1]].format(layer=layer)
      tensor = read(name)
      if tensor.shape != shapes[name]:
        raise ValueError(
          f"tensor {name} has shape {tensor.shape}, but the model's configuration makes it {shapes[name]}; "
          "configuration and weights do not belong together"
        )
      host[layer if _is_stacked(path) else ...] = tensor.T if _is_transposed(path) else tensor
    return jnp.array(host)

  return jax.tree_util.tree_map_with_path(load, weight_specs(config), is_leaf=is_weight)


def unstack(config: ModelConfig, names: TensorNames, params: Params) -> Iterator[tuple[str, np.ndarray]]:
  """The inverse of `stack`: yields (name, host tensor) one at a time, in the order of `tensor_shapes`.

  Raises:
    ValueError: a weight has not the shape or dtype that the config says.
  """
  for path, weight in _weights(config):
    value = params
    for key in path:
      value = value[key]
    if value.shape != weight.shape or value.dtype != jnp.dtype(config.param_dtype):
      raise ValueError(
        f"params {'/'.join(path)} is {value.dtype} {value.shape}, but its config says {config.param_dtype} "
        f"{weight.shape}; give the config that these params belong to"
      )
    for layer in _layers(path, config):
      tensor = np.asarray(value[layer] if _is_stacked(path) else value)
      yield names[path[-1]].format(layer=layer), np.ascontiguousarray(tensor.T if _is_transposed(path) else tensor)


def _weights(config: ModelConfig) -> Iterator[tuple[tuple[str, ...], Weight]]:
  for path, weight in jax.tree_util.tree_leaves_with_path(weight_specs(config), is_leaf=is_weight):
    yield tuple(entry.key for entry in path), weight


def _is_stacked(path: tuple[str, ...]) -> bool:
  return path[0] == "layers"


def _is_transposed(path: tuple[str, ...]) -> bool:
  return path[-1] in ("q", "k", "v", "o", "gate", "up", "down", "unembed")


def _layers(path: tuple[str, ...], config: ModelConfig) -> range:
  return range(config.layers if _is_stacked(path) else 1)
