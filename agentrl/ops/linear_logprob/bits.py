"""Parts of arrays, moved as bits.

XLA for the CPU has no bf16: it slices an array of it by converting all of it to fp32, which it also keeps. Integers it
leaves alone, and elsewhere the casts cost nothing.
"""

import jax
import jax.numpy as jnp


def as_bits(x: jax.Array) -> jax.Array:
  """16-bit floats as integers; all else as it is."""
  return jax.lax.bitcast_convert_type(x, jnp.uint16) if x.dtype.itemsize == 2 else x


def from_bits(x: jax.Array, dtype: jnp.dtype) -> jax.Array:
  """The inverse of `as_bits`."""
  return x if x.dtype == dtype else jax.lax.bitcast_convert_type(x, dtype)


def take(x: jax.Array, start, size: int) -> jax.Array:
  """`size` entries of the first axis, from `start` on."""
  return from_bits(jax.lax.dynamic_slice_in_dim(as_bits(x), start, size), x.dtype)


def put(x: jax.Array, part: jax.Array, start) -> jax.Array:
  """`x` with `part` in place of its entries from `start` on."""
  return from_bits(jax.lax.dynamic_update_slice_in_dim(as_bits(x), as_bits(part), start, 0), x.dtype)
