"""Log-probabilities of taken tokens, and entropies, from hidden states, without `[T, V]` logits."""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import checkify
from jax.sharding import AxisType, Mesh, PartitionSpec

from agentrl.ops.linear_logprob.backends import IMPLEMENTATIONS, available
from agentrl.ops.linear_logprob.compute import LinearLogprob, compute

__all__ = ["IMPLEMENTATIONS", "LinearLogprob", "available", "linear_logprob", "sharded_linear_logprob"]

_DTYPES = ("float32", "bfloat16", "float16")


def linear_logprob(
  hidden: jax.Array,
  unembed: jax.Array,
  tokens: jax.Array,
  *,
  temperature: jax.Array | float = 1.0,
  mask: jax.Array | None = None,
  with_logsumexp: bool = False,
  implementation: str | None = None,
) -> LinearLogprob:
  """`logp = z[token] - logsumexp(z)` and `entropy = -sum p log p`, with `z = hidden @ unembed / temperature`.

  All results have gradients in `hidden` and `unembed`, of first order and in reverse mode; products accumulate in fp32
  whatever the input dtype. In a `jax.shard_map` of your own it needs `check_vma=False`, and jit around.
  Tokens that lie on several devices under automatic partitioning are moved between them, which changes no result: use
  `sharded_linear_logprob`, in which they stay.

  Args:
    hidden: `[T, D]`, final hidden states, of action tokens alone.
    unembed: `[D, V]`; tied embeddings come as `embed.T`, which is read in place; any other is copied once, transposed.
    tokens: int `[T]`, in `[0, V)`; any other, unmasked, gives a `logp` of NaN (its gradient is finite and means
      nothing), and under `jax_debug_nans` an error.
    temperature: scalar or `[T]`, positive; a constant.
    mask: bool `[T]`, False on padding: 0 in all results and no gradient, whatever `hidden` holds there. Padding is
      not computed: outside jit it is dropped, and under jit tokens are sorted and tiles of nothing else skipped.
    with_logsumexp: gives the third result.
    implementation: "reference" holds `[T, V]` logits; "chunked" a tile of them at a time, on every platform; "triton"
      and "pallas" are kernels for NVIDIA GPUs and for TPUs, which have not run on one yet: their numbers are tested in
      interpreters. None takes the fastest that was recorded on this kind of device, else "chunked"; tiles come from
      the same table, `backends.TABLE`, which `scripts/bench/tune_linear_logprob.py --write` extends.

  Returns:
    `LinearLogprob`.

  Raises:
    ValueError: shapes or dtypes do not fit together, or the implementation is unknown, not for this device, or in need
      of a package that is not installed.
  """
  _check_arguments(hidden, unembed, tokens, temperature, mask)
  _check_range(tokens, mask, unembed.shape[1])
  mask = None if mask is None else jnp.asarray(mask)
  return compute(
    hidden,
    unembed.T,
    tokens,
    temperature,
    mask,
    with_logsumexp=with_logsumexp,
    implementation=implementation,
  )


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

  Shards of the vocabulary meet in one maximum and sums of `[T]` vectors, and the gradient of the unembedding is summed
  over the token axes once, not for every tile. Each device drops the padding among its own tokens.

  Args:
    hidden: `[T, D]`, final hidden states; see `linear_logprob` for this and what has no more to say here.
    unembed: `[D, V]`.
    tokens: int `[T]`.
    mesh: whose devices compute. Its axes may be of type Auto, or Explicit: then the call stands under
      `jax.set_mesh(mesh)`, and the results are divided over `token_axes` where those divide T, else whole everywhere.
    token_axes: its axes that T is divided over; T need not divide evenly.
    vocabulary_axis: its axis that V is divided over, which must divide V; None where every device has all of it.
    temperature: scalar or `[T]`.
    mask: bool `[T]`.
    with_logsumexp: gives the third result.
    implementation: name of one; None takes the fastest that was recorded.

  Raises:
    ValueError: as `linear_logprob`; or an axis is not of the mesh, is named twice, is Manual, or does not divide V; or
      axes are Explicit and `mesh` is not the current one.
  """
  _check_arguments(hidden, unembed, tokens, temperature, mask)
  _check_range(tokens, mask, unembed.shape[1])
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


def _check_arguments(
  hidden: jax.Array,
  unembed: jax.Array,
  tokens: jax.Array,
  temperature: jax.Array | float,
  mask: jax.Array | None,
) -> None:
  """Raises ValueError where shapes or dtypes do not fit together."""
  if hidden.ndim != 2 or unembed.ndim != 2 or hidden.shape[1] != unembed.shape[0]:
    hint = "; hidden.reshape(-1, D) makes one axis of rows and time" if hidden.ndim > 2 else ""
    raise ValueError(
      f"linear_logprob needs hidden [T, D] and unembed [D, V]; got {hidden.shape} and {unembed.shape}{hint}"
    )
  if hidden.shape[0] == 0:
    raise ValueError("linear_logprob got no tokens at all: hidden is [0, D]")
  if unembed.size == 0:
    raise ValueError(f"unembed [D, V] must not be empty; got {unembed.shape}")
  if hidden.dtype not in _DTYPES:
    raise ValueError(f"hidden is {hidden.dtype}; accepted: {', '.join(_DTYPES)}")
  if hidden.dtype != unembed.dtype:
    raise ValueError(f"hidden is {hidden.dtype} and unembed {unembed.dtype}: cast one of them first")
  if tokens.shape != hidden.shape[:1] or not jnp.issubdtype(tokens.dtype, jnp.integer):
    raise ValueError(f"tokens must be integers [T] = {hidden.shape[:1]}; got {tokens.dtype} {tokens.shape}")
  if jnp.shape(temperature) not in ((), tokens.shape):
    raise ValueError(f"temperature must be a scalar or [T] = {tokens.shape}; got {jnp.shape(temperature)}")
  if mask is not None and (mask.shape != tokens.shape or mask.dtype != jnp.bool_):
    raise ValueError(f"mask must be bool [T] = {tokens.shape}; got {mask.dtype} {mask.shape}")
  _check_temperature(temperature, mask)


def _check_temperature(temperature: jax.Array | float, mask: jax.Array | None) -> None:
  """Where its values are known: on rows that count it is positive."""
  if isinstance(temperature, jax.core.Tracer) or isinstance(mask, jax.core.Tracer):
    return
  refused = ~(np.asarray(temperature) > 0) & (True if mask is None else np.asarray(mask))
  if np.any(refused):
    least = np.min(np.broadcast_to(temperature, refused.shape)[refused])
    raise ValueError(f"temperature must be positive; got {least}")


def _check_range(tokens: jax.Array, mask: jax.Array | None, vocabulary: int) -> None:
  """Refuses tokens outside `[0, vocabulary)`, in debug mode alone.

  Under `jax_debug_nans` where values are known, and under `checkify.checkify` where they are traced.
  """
  outside = (tokens < 0) | (tokens >= vocabulary)
  outside = outside if mask is None else outside & mask
  if isinstance(outside, jax.core.Tracer):
    message = f"linear_logprob: tokens must be in [0, {vocabulary}), of unembed [D, V]"
    checkify.debug_check(~jnp.any(outside), message)
  elif jax.config.jax_debug_nans and np.any(outside):
    first = int(np.argmax(outside))
    raise ValueError(f"tokens[{first}] is {int(tokens[first])}; unembed [D, V] accepts 0 to {vocabulary - 1}")
