"""How one layer's keys and values lie in the slot cache, and how they get there.

Keys lie channel-major, `[B, K, C, S]`, so that scores over positions are contiguous; values lie `[B, K, S, C]`. Either
is an array of any float dtype, or `Int8`. Nothing but this file and the attention that reads it knows which.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

CACHE_DTYPES = ("float32", "bfloat16", "int8")


class Int8(NamedTuple):
  """Numbers in 8 bits, one scale for the channels of a position and head: `values * scale`."""

  values: jax.Array  # int8, [B, K, C, S] or [B, K, S, C]
  scale: jax.Array  # f32 [B, K, S]


class LayerCache(NamedTuple):
  """Keys and values of one layer."""

  k: jax.Array | Int8  # [B, K, C, S]
  v: jax.Array | Int8  # [B, K, S, C]


def empty(slots: int, kv_heads: int, channels: int, positions: int, dtype: str) -> LayerCache:
  """Zeros, in a dtype of `CACHE_DTYPES`."""
  keys = jnp.zeros((slots, kv_heads, channels, positions), jnp.dtype(dtype))
  values = keys.swapaxes(2, 3)
  if dtype != "int8":
    return LayerCache(keys, values)
  scale = jnp.zeros((slots, kv_heads, positions), jnp.float32)
  return LayerCache(Int8(keys, scale), Int8(values, scale))


def quantize(x: jax.Array) -> Int8:
  """Rounds to the nearest of 255 levels between -max|x| and max|x| over the channels.

  The error of a channel is at most half a level, `max|x| / 254`.

  Args:
    x: `[..., C]`.

  Returns:
    values int8 `[..., C]`, scale f32 `[...]`.
  """
  x = x.astype(jnp.float32)
  scale = jnp.max(jnp.abs(x), axis=-1) / 127
  levels = x / jnp.where(scale > 0, scale, 1.0)[..., None]
  return Int8(jnp.round(levels).astype(jnp.int8), scale)


def write(cache: LayerCache, slots: jax.Array, positions: jax.Array, k: jax.Array, v: jax.Array) -> LayerCache:
  """Writes the keys and values of some tokens; what lies past the cache's end is dropped.

  Args:
    slots: int32 `[R, 1]`, distinct. positions: int32 `[R, T]`, where each token is written.
    k, v: `[R, T, K, C]`.
  """

  def put(held, at, new):
    if isinstance(held, Int8):
      new = quantize(new)
      scale = held.scale.at[slots, :, positions].set(new.scale, mode="drop")
      return Int8(held.values.at[at].set(new.values, mode="drop"), scale)
    return held.at[at].set(new.astype(held.dtype), mode="drop")

  everything = slice(None)
  return LayerCache(
    k=put(cache.k, (slots, everything, everything, positions), k), v=put(cache.v, (slots, everything, positions), v)
  )


def first_positions(cache: LayerCache, length: int) -> LayerCache:
  """The first `length` positions of every slot."""

  def cut(held, axis):
    if isinstance(held, Int8):
      return Int8(jax.lax.slice_in_dim(held.values, 0, length, axis=axis), held.scale[:, :, :length])
    return jax.lax.slice_in_dim(held, 0, length, axis=axis)

  return LayerCache(cut(cache.k, 3), cut(cache.v, 2))


def of_slots(cache: LayerCache, slots: jax.Array) -> LayerCache:
  """A copy of some slots, int32 `[R]`."""
  return jax.tree.map(lambda a: a[slots], cache)


def copy_positions(whole: LayerCache, part: LayerCache, slots: jax.Array, positions: jax.Array) -> LayerCache:
  """`whole` with some positions of `slots` as they are in `part`, which `of_slots` gave; those past the end are left.

  Args:
    slots: int32 `[R]`, distinct. positions: int32 `[R, T]`.
  """
  to, row = slots[:, None], jnp.arange(slots.shape[0])[:, None]

  def copy(axis, held, new):
    if isinstance(held, Int8):
      return Int8(copy(axis, held.values, new.values), copy(2, held.scale, new.scale))
    every = (slice(None),) * (axis - 1)
    return held.at[to, *every, positions].set(new[row, *every, positions], mode="drop")

  return LayerCache(copy(3, whole.k, part.k), copy(2, whole.v, part.v))
