"""`linear_logprob` over a mesh: tokens on some of its axes, the vocabulary on another."""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh, PartitionSpec

from agentrl.ops.linear_logprob.check import check, check_range
from agentrl.ops.linear_logprob.compute import LinearLogprob, compute


def sharded_linear_logprob(
  hidden: jax.Array,
  unembed: jax.Array,
  tokens: jax.Array,
  *,
  mesh: Mesh,
  token_axes: Sequence[str] = (),
  vocabulary_axis: str | None = None,
  temperature: jax.Array | float = 1.0,
  mask: jax.Array | None = None,
  with_logsumexp: bool = False,
  implementation: str | None = None,
) -> LinearLogprob:
  """`linear_logprob` in which each device computes its own tokens over its own part of the vocabulary.

  Shards of the vocabulary meet in one maximum and sums of `[N]` vectors, and the gradient of the unembedding is summed
  over the token axes once, not for every tile. Each device drops the padding among its own tokens.

  Args:
    hidden, unembed, tokens, temperature, mask, with_logsumexp, implementation: as `linear_logprob` takes them.
    mesh: whose devices compute. Its axes may be of type Auto, or Explicit: then the call stands under
      `jax.set_mesh(mesh)`, and the results are divided over `token_axes` where those divide N, else whole everywhere.
    token_axes: its axes that N is divided over; N need not divide evenly.
    vocabulary_axis: its axis that V is divided over, which must divide V; None where every device has all of it.

  Raises:
    ValueError: as `linear_logprob`; or an axis is not of the mesh, is named twice, is Manual, or does not divide V; or
      axes are Explicit and `mesh` is not the current one.
  """
  check(hidden, unembed, tokens, temperature, mask)
  check_range(tokens, mask, unembed.shape[1])
  _check_axes(mesh, token_axes, vocabulary_axis, unembed.shape[1])
  token_axes = tuple(token_axes)
  run = functools.partial(
    _sharded,
    token_axes=token_axes,
    vocabulary_axis=vocabulary_axis,
    with_logsumexp=with_logsumexp,
    implementation=implementation,
  )
  arrays = hidden, unembed, tokens, jnp.asarray(temperature, jnp.float32), mask
  explicit = tuple(
    axis for axis, kind in zip(mesh.axis_names, mesh.axis_types, strict=True) if kind == AxisType.Explicit
  )
  if not explicit:
    return run(*arrays, mesh=mesh)
  # The loops over tiles have no shardings of their own to declare: inside, the compiler chooses.
  spec = PartitionSpec(token_axes) if tokens.shape[0] % _ways(mesh, token_axes) == 0 else PartitionSpec()
  inside = jax.sharding.auto_axes(
    lambda *x: run(*x, mesh=jax.sharding.get_abstract_mesh()), axes=explicit, out_sharding=spec
  )
  return inside(*arrays)


# Compiled here, as the gradient's rule does not work in a `shard_map` that is not.
@functools.partial(
  jax.jit, static_argnames=("mesh", "token_axes", "vocabulary_axis", "with_logsumexp", "implementation")
)
def _sharded(
  hidden, unembed, tokens, temperature, mask, *, mesh, token_axes, vocabulary_axis, with_logsumexp, implementation
):
  count = tokens.shape[0]
  padding = -count % _ways(mesh, token_axes)
  mask = jnp.ones(tokens.shape, bool) if mask is None and padding else mask
  temperature = jnp.broadcast_to(temperature, tokens.shape)
  arguments = [x for x in (hidden, tokens, temperature, mask) if x is not None]
  arrays = [jnp.pad(x, [(0, padding)] + [(0, 0)] * (x.ndim - 1)) for x in arguments]
  over_tokens = PartitionSpec(token_axes)
  in_specs = (over_tokens, PartitionSpec(vocabulary_axis), *[over_tokens] * (len(arrays) - 1))

  # Unchecked: the loops below would each have to declare over which axes their sums vary.
  @functools.partial(jax.shard_map, mesh=mesh, in_specs=in_specs, out_specs=over_tokens, check_vma=False)
  def shard(hidden, rows, tokens, temperature, mask=None):
    return compute(
      hidden,
      rows,
      tokens,
      temperature,
      mask,
      with_logsumexp=with_logsumexp,
      implementation=implementation,
      vocabulary_axis=vocabulary_axis,
    )

  out = shard(arrays[0], unembed.T, *arrays[1:])
  return jax.tree.map(lambda x: x[:count], out)


def _ways(mesh: Mesh, axes: Sequence[str]) -> int:
  return math.prod(mesh.shape[axis] for axis in axes)


def _check_axes(mesh: Mesh, token_axes: Sequence[str], vocabulary_axis: str | None, vocabulary: int) -> None:
  if isinstance(token_axes, str):
    raise ValueError(f"token_axes={token_axes!r} must be a sequence of names: ({token_axes!r},)")
  token_axes = tuple(token_axes)
  axes = token_axes if vocabulary_axis is None else (*token_axes, vocabulary_axis)
  unknown = [axis for axis in axes if axis not in mesh.shape]
  if unknown:
    raise ValueError(f"token_axes and vocabulary_axis name {unknown[0]!r}; the mesh has {', '.join(mesh.shape)}")
  if AxisType.Manual in mesh.axis_types:
    raise ValueError("the mesh has axes of type Manual, as inside a shard_map: call this outside of it")
  if AxisType.Explicit in mesh.axis_types and jax.sharding.get_abstract_mesh() != mesh.abstract_mesh:
    raise ValueError("the mesh has axes of type Explicit, so it must be the current one: call under jax.set_mesh(mesh)")
  if len(set(axes)) < len(axes):
    raise ValueError(f"token_axes={token_axes} and vocabulary_axis={vocabulary_axis!r} name an axis twice")
  if vocabulary_axis is not None and vocabulary % mesh.shape[vocabulary_axis]:
    ways = mesh.shape[vocabulary_axis]
    raise ValueError(f"vocabulary_axis={vocabulary_axis!r} has {ways} devices, which do not divide V={vocabulary}")
