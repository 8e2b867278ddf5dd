"""How one layer's keys and values lie in the slot cache, and how they get there.

Keys lie in blocks of 64 positions, channel-major in each, `[B, K, S / BLOCK, C, BLOCK]`: the scores of a block are
contiguous, and its product with the queries has one shape, and so one rounding, however many blocks are read.
Values lie `[B, K, S, C]`. Either is an array of float32 or bfloat16, or `Int8`. Nothing but this file and the attention
that reads it knows which. What is stored must be finite: a value that no query sees is multiplied by 0.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

BLOCK = 64  # positions; a slot has whole blocks
CACHE_DTYPES = ("float32", "bfloat16", "int8")


class Int8(NamedTuple):
  """Numbers in 8 bits, one scale for the channels of a position and head: `values * scale`."""

  values: jax.Array  # int8, [B, K, S / BLOCK, C, BLOCK] or [B, K, S, C]
  scale: jax.Array  # f32 [B, K, S]


def numbers_of(held: jax.Array | Int8) -> jax.Array:
  """The array, or the values of an `Int8`, which lie alike."""
  return held.values if isinstance(held, Int8) else held


class LayerCache(NamedTuple):
  """Keys and values of one layer."""

  k: jax.Array | Int8  # [B, K, S / BLOCK, C, BLOCK]
  v: jax.Array | Int8  # [B, K, S, C]


def empty(slots: int, kv_heads: int, channels: int, positions: int, dtype: str) -> LayerCache:
  """Zeros; raises ValueError for a dtype that is not of `CACHE_DTYPES`, or positions that are not whole blocks."""
  dtype = jnp.dtype(dtype).name
  if dtype not in CACHE_DTYPES:
    raise ValueError(f"a cache is {', '.join(CACHE_DTYPES)}; got {dtype}")
  keys = jnp.zeros((slots, kv_heads, _blocks_of(positions), channels, BLOCK), jnp.dtype(dtype))
  values = jnp.zeros((slots, kv_heads, positions, channels), jnp.dtype(dtype))
  if dtype != "int8":
    return LayerCache(keys, values)
  scale = jnp.zeros((slots, kv_heads, positions), jnp.float32)
  return LayerCache(Int8(keys, scale), Int8(values, scale))


def whole_blocks(positions: int) -> int:
  """Rounded up to what a cache can hold, and what can be read of it."""
  return -(-positions // BLOCK) * BLOCK


def _blocks_of(positions: int) -> int:
  if positions <= 0 or positions % BLOCK:
    raise ValueError(f"a cache has whole blocks of {BLOCK} positions (see whole_blocks); got {positions} positions")
  return positions // BLOCK


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
    cache: of one layer.
    slots: int32 `[R, 1]`, distinct.
    positions: int32 `[R, T]`, where each token is written; not negative.
    k: `[R, T, K, C]`, keys of the tokens.
    v: `[R, T, K, C]`, values of the tokens.

  Raises:
    ValueError: shapes do not fit together.
  """
  _check_written(cache, slots, positions, k, v)

  def put(held, index, new):
    if isinstance(held, Int8):
      new = quantize(new)
      scale = held.scale.at[slots, :, positions].set(new.scale, mode="drop")
      return Int8(held.values.at[index].set(new.values, mode="drop"), scale)
    return held.at[index].set(new.astype(held.dtype), mode="drop")

  return LayerCache(k=put(cache.k, _of_keys(slots, positions), k), v=put(cache.v, _of_values(slots, positions), v))


def _check_written(cache: LayerCache, slots: jax.Array, positions: jax.Array, k: jax.Array, v: jax.Array) -> None:
  if positions.ndim != 2 or slots.shape != (positions.shape[0], 1):
    raise ValueError(f"write needs slots [R, 1] and positions [R, T]; got {slots.shape} and {positions.shape}")
  _, kv_heads, _, channels = numbers_of(cache.v).shape
  wanted = (*positions.shape, kv_heads, channels)
  for name, new in (("k", k), ("v", v)):
    if new.shape != wanted:
      raise ValueError(f"{name} must be [R, T, K, C] = {wanted}; got {new.shape}")


def _of_keys(slots: jax.Array, positions: jax.Array) -> tuple:
  """Where the keys of `positions [R, T]` of `slots [R, 1]` lie: an index that gives `[R, T, K, C]`."""
  return slots, slice(None), positions // BLOCK, slice(None), positions % BLOCK


def _of_values(slots: jax.Array, positions: jax.Array) -> tuple:
  return slots, slice(None), positions


def first_positions(cache: LayerCache, length: int) -> LayerCache:
  """The first `length` positions of every slot; raises ValueError where they are not whole blocks that it has."""
  blocks, held = _blocks_of(length), numbers_of(cache.v).shape[2]
  if length > held:
    raise ValueError(f"the slots have {held} positions; got {length}")

  def cut(held, count):
    if isinstance(held, Int8):
      return Int8(cut(held.values, count), cut(held.scale, length))
    return jax.lax.slice_in_dim(held, 0, count, axis=2)

  return LayerCache(cut(cache.k, blocks), cut(cache.v, length))


def of_slots(cache: LayerCache, slots: jax.Array) -> LayerCache:
  """A copy of some slots, int32 `[R]`."""
  return jax.tree.map(lambda a: a[slots], cache)


def copy_positions(whole: LayerCache, part: LayerCache, slots: jax.Array, positions: jax.Array) -> LayerCache:
  """`whole` with some positions of `slots` as they are in `part`, which `of_slots` gave; those past the end are left.

  Args:
    whole: of all slots.
    part: of `slots`.
    slots: int32 `[R]`, distinct.
    positions: int32 `[R, T]`.
  """
  to, row = slots[:, None], jnp.arange(slots.shape[0])[:, None]

  def copy(index_of, held, new):
    if isinstance(held, Int8):
      return Int8(copy(index_of, held.values, new.values), copy(_of_values, held.scale, new.scale))
    return held.at[index_of(to, positions)].set(new[index_of(row, positions)], mode="drop")

  return LayerCache(copy(_of_keys, whole.k, part.k), copy(_of_values, whole.v, part.v))
