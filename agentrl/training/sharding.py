"""Which axis of which weight lies on which axis of the mesh.

A mesh has the axes `data`, `fsdp` and `tensor`. Rows of a batch lie on data and fsdp together; weights and optimiser
state lie on fsdp (ZeRO) and tensor by the rules below, replicated over data.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from agentrl.models.transformer import ModelConfig, Weight, is_weight, weight_specs
from agentrl.ops.linear_logprob import LinearLogprob, linear_logprob, sharded_linear_logprob
from agentrl.types import Batch

AXES = ("data", "fsdp", "tensor")
ROW_AXES = ("data", "fsdp")

# Logical axis of a weight -> mesh axis. A dimension that the mesh axis does not divide stays whole.
RULES: Mapping[str, str | None] = {
  "layer": None,
  "norm": None,
  "vocab": "tensor",
  "width": "fsdp",
  "heads": "tensor",
  "kv_heads": "tensor",
  "ffn": "tensor",
}


def make_mesh(data: int = 0, fsdp: int = 1, tensor: int = 1) -> Mesh:
  """A mesh over the first devices.

  Args:
    data: devices that hold the same weights and other rows; 0: what the other axes leave.
    fsdp: devices among which weights and optimiser state are divided.
    tensor: devices among which heads and vocabulary are divided.

  Raises:
    ValueError: there are fewer devices than the product, or `data=0` cannot use all of them.
  """
  devices = jax.devices()
  if fsdp < 1 or tensor < 1 or data < 0:
    raise ValueError(f"mesh.data={data}, mesh.fsdp={fsdp}, mesh.tensor={tensor}: sizes are 1 or more (data: or 0)")
  if not data and len(devices) > fsdp * tensor and len(devices) % (fsdp * tensor):
    raise ValueError(
      f"mesh.fsdp={fsdp} x mesh.tensor={tensor} does not divide the {len(devices)} devices; set mesh.data to use fewer"
    )
  data = data or len(devices) // (fsdp * tensor)
  if data * fsdp * tensor > len(devices) or data < 1:
    raise ValueError(
      f"mesh.data={data} x mesh.fsdp={fsdp} x mesh.tensor={tensor} needs {max(data, 1) * fsdp * tensor} devices; "
      f"there are {len(devices)} ({devices[0].platform})"
    )
  used = np.asarray(devices[: data * fsdp * tensor]).reshape(data, fsdp, tensor)
  return Mesh(used, AXES, axis_types=(AxisType.Auto,) * 3)


def weight_sharding(weight: Weight, mesh: Mesh) -> NamedSharding:
  """Where one weight lies."""
  axes: list[str | None] = []
  for size, logical in zip(weight.shape, weight.axes, strict=True):
    axis = RULES[logical]
    free = axis is not None and axis not in axes and size % mesh.shape[axis] == 0
    axes.append(axis if free else None)
  return NamedSharding(mesh, PartitionSpec(*axes))


def state_shardings(state: Any, specs: Any, mesh: Mesh) -> Any:
  """Shardings of a whole learner state: whatever in it has the tree of `specs` lies like the weights, the rest whole.

  Optimiser states hold copies of the params' tree (moments), which is how ZeRO comes about without a second rule set.

  Args:
    state: pytree of arrays or shapes; `specs`: pytree of `Weight` with the structure of the params.
  """
  whole = NamedSharding(mesh, PartitionSpec())
  weights = jax.tree.map(lambda w: weight_sharding(w, mesh), specs, is_leaf=is_weight)
  structure = jax.tree.structure(weights)

  def is_params(node):
    return jax.tree.structure(node) == structure

  def place(node):
    return weights if is_params(node) else whole

  return jax.tree.map(place, state, is_leaf=is_params)


def check_rows(rows: int, mesh: Mesh) -> None:
  """Raises ValueError where the devices on the row axes do not divide the rows of a micro-batch."""
  ways = mesh.shape["data"] * mesh.shape["fsdp"]
  if rows % ways:
    raise ValueError(
      f"pack.rows={rows} must be a multiple of the {ways} devices on the mesh axes {' and '.join(ROW_AXES)}; "
      "raise it, or set mesh.data to use fewer"
    )


def place_batch(batch: Batch, mesh: Mesh) -> Batch:
  """Puts a batch on the mesh: rows over data and fsdp, micro-batches in sequence.

  Raises:
    ValueError: the devices do not divide the rows.
  """
  check_rows(batch.tokens.shape[1], mesh)

  def put(array):
    spec = PartitionSpec(None, ROW_AXES) if array.ndim == 3 else PartitionSpec()
    return jax.device_put(array, NamedSharding(mesh, spec))

  return jax.tree.map(put, batch)


def place_hidden_on(mesh: Mesh) -> Callable[[jax.Array], jax.Array]:
  """Keeps hidden states `[B, T, D]` whole on the devices of their rows.

  Left alone, XLA divides them by width over fsdp, as the weights lie, and moves them in every layer; so it gathers the
  weights of a layer, which is less where rows are long.
  """
  if mesh.size == 1:
    return lambda hidden: hidden
  return lambda hidden: jax.lax.with_sharding_constraint(hidden, NamedSharding(mesh, PartitionSpec(ROW_AXES)))


def linear_logprob_on(mesh: Mesh, model: ModelConfig) -> Callable[..., LinearLogprob]:
  """`linear_logprob` for rows where `place_batch` puts them, by an unembedding where `weight_sharding` puts it.

  Rows `[B, A]` that are flattened stay in order, and so every token on its device.
  """
  if mesh.size == 1:
    return linear_logprob
  axis, _ = weight_sharding(weight_specs(model)["embed"], mesh).spec
  divided = axis is not None and mesh.shape[axis] > 1  # XLA keeps sums over an axis of one device
  return functools.partial(
    sharded_linear_logprob, mesh=mesh, token_axes=ROW_AXES, vocabulary_axis=axis if divided else None
  )
