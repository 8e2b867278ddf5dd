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
    mesh: whose devices compute; the axes named here are of type Auto, as `jax.sharding.Mesh` makes them.
    token_axes: its axes that N is divided over; N need not divide evenly.
    vocabulary_axis: its axis that V is divided over, which must divide V; None where every device has all of it.

  Raises:
    ValueError: as `linear_logprob`; or an axis is not of the mesh, is named twice, is not Auto, or does not divide V.
  """
  check(hidden, unembed, tokens, temperature, mask)
  check_range(tokens, mask, unembed.shape[1])
  _check_axes(mesh, token_axes, vocabulary_axis, unembed.shape[1])
  return _sharded(
    hidden,
    unembed,
    tokens,
    temperature,
    mask,
    mesh=mesh,
    token_axes=tuple(token_axes),
    vocabulary_axis=vocabulary_axis,
    with_logsumexp=with_logsumexp,
    implementation=implementation,
  )


# Compiled here, as the gradient's rule does not work in a `shard_map` that is not.
@functools.partial(
  jax.jit, static_argnames=("mesh", "token_axes", "vocabulary_axis", "with_logsumexp", "implementation")
)
def _sharded(
  hidden, unembed, tokens, temperature, mask, *, mesh, token_axes, vocabulary_axis, with_logsumexp, implementation
):
  count = tokens.shape[0]
  ways = math.prod(mesh.shape[axis] for axis in token_axes)
  padding = -count % ways
  mask = jnp.ones(tokens.shape, bool) if mask is None and padding else mask
  temperature = jnp.broadcast_to(jnp.asarray(temperature, jnp.float32), tokens.shape)
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


def _check_axes(mesh: Mesh, token_axes: Sequence[str], vocabulary_axis: str | None, vocabulary: int) -> None:
  if isinstance(token_axes, str):
    raise ValueError(f"token_axes={token_axes!r} must be a sequence of names: ({token_axes!r},)")
  token_axes = tuple(token_axes)
  axes = token_axes if vocabulary_axis is None else (*token_axes, vocabulary_axis)
  unknown = [axis for axis in axes if axis not in mesh.shape]
  if unknown:
    raise ValueError(f"token_axes and vocabulary_axis name {unknown[0]!r}; the mesh has {', '.join(mesh.shape)}")
  not_auto = [axis for axis in axes if mesh.axis_types[mesh.axis_names.index(axis)] != AxisType.Auto]
  if not_auto:
    raise ValueError(
      f"the mesh's axis {not_auto[0]!r} is of a type that jax.make_mesh gives by default; make the mesh with "
      f"axis_types=(jax.sharding.AxisType.Auto,) * {len(mesh.shape)}"
    )
  if len(set(axes)) < len(axes):
    raise ValueError(f"token_axes={token_axes} and vocabulary_axis={vocabulary_axis!r} name an axis twice")
  if vocabulary_axis is not None and vocabulary % mesh.shape[vocabulary_axis]:
    ways = mesh.shape[vocabulary_axis]
    raise ValueError(f"vocabulary_axis={vocabulary_axis!r} has {ways} devices, which do not divide V={vocabulary}")
