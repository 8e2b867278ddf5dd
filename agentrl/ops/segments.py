"""Sums per segment, and segment values back at their elements.

A segment is whatever an id names: a trajectory of the batch, a turn of a row, a group of samples. Ids outside
`[0, segments)` belong to none: their elements enter no sum and read 0. Padding holds such an id.
"""

import jax
import jax.numpy as jnp


def segment_sum(values: jax.Array, segment: jax.Array, segments: int) -> jax.Array:
  """`[segments]`: the sum of `values` over each segment.

  Args:
    values: any shape.
    segment: int, same shape.
    segments: how many there are; static.
  """
  _check(values, segment)
  index = _one_past_the_end(segment, segments)
  return jnp.zeros((segments + 1,), values.dtype).at[index].add(values)[:segments]


def segment_min(values: jax.Array, segment: jax.Array, segments: int) -> jax.Array:
  """`[segments]`: the smallest of `values` in each segment, infinity in an empty one. Arguments as `segment_sum`."""
  _check(values, segment)
  index = _one_past_the_end(segment, segments)
  return jnp.full((segments + 1,), jnp.inf, values.dtype).at[index].min(values)[:segments]


def segment_values(per_segment: jax.Array, segment: jax.Array) -> jax.Array:
  """The value of each element's segment, 0 where it belongs to none.

  Args:
    per_segment: `[segments]`.
    segment: int, any shape; the result has it too.
  """
  index = _one_past_the_end(segment, per_segment.shape[0])
  return jnp.append(per_segment, jnp.zeros((1,), per_segment.dtype))[index]


def _one_past_the_end(segment: jax.Array, segments: int) -> jax.Array:
  return jnp.where((segment >= 0) & (segment < segments), segment, segments)


def _check(values: jax.Array, segment: jax.Array) -> None:
  if values.shape != segment.shape:
    raise ValueError(f"one segment id per value: values have shape {values.shape}, ids {segment.shape}")
