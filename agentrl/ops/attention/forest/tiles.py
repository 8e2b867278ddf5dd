"""Which tiles of a forest row hold a pair that sees each other, and what the backward pass keeps."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name

SAVED = ("attention_out", "attention_lse")  # names of what the backward pass wants kept, for `jax.checkpoint` policies


def saved(out: jax.Array, lse: jax.Array) -> tuple[jax.Array, jax.Array]:
  """The same arrays, under the names in `SAVED`."""
  return checkpoint_name(out, SAVED[0]), checkpoint_name(lse, SAVED[1])


class Tiles(NamedTuple):
  """Tiles of each row; query tile m sees some of key tile n exactly when n <= m and m's first token < reach[n]."""

  reach: jax.Array  # int32 [B, tiles], one past the last query that sees some key of tile n
  floor: jax.Array  # int32 [B, tiles], queries of later tiles before this one see every key of tile n
  keys: jax.Array  # int32 [B, tiles, tiles], of each query tile: key tiles seen whole, those seen in part, the rest
  whole: jax.Array  # int32 [B, tiles], how many key tiles a query tile sees whole
  live: jax.Array  # int32 [B, tiles], how many it sees at all


def find_tiles(subtree_end: jax.Array, tile: int) -> Tiles:
  """What `subtree_end [B, T]` says of tiles of `tile` tokens; the last one is padded with tokens that nothing sees."""
  rows, length = subtree_end.shape
  ends = jnp.pad(subtree_end.astype(jnp.int32), ((0, 0), (0, -length % tile))).reshape(rows, -1, tile)
  reach, floor = jnp.max(ends, axis=2), jnp.min(ends, axis=2)
  first = jnp.arange(ends.shape[1], dtype=jnp.int32) * tile
  live = (first[None, :, None] >= first[None, None, :]) & (reach[:, None, :] > first[None, :, None])
  whole = live & (first[None, :, None] > first[None, None, :]) & (floor[:, None, :] >= first[None, :, None] + tile)
  keys = jnp.argsort(2 - whole.astype(jnp.int32) - live.astype(jnp.int32), axis=2, stable=True)
  count = functools.partial(jnp.sum, axis=2, dtype=jnp.int32)
  return Tiles(reach, floor, keys.astype(jnp.int32), count(whole), count(live))


DEAD, PART, WHOLE = 0, 1, 2  # how much of a pair of tiles sees each other


class Pairs(NamedTuple):
  """The pairs of tiles of each row that hold something, in order, and every tile's pair with itself."""

  query: jax.Array  # int32 [B, P]; behind the row's last pair, that pair again
  key: jax.Array  # int32 [B, P]
  kind: jax.Array  # int32 [B, P], DEAD, PART or WHOLE; DEAD behind the last pair
  count: jax.Array  # int32 [B]


def find_pairs(subtree_end: jax.Array, tile: int, *, by_key: bool) -> Pairs:
  """Pairs of tiles of `subtree_end [B, T]`, those of a query tile together, or those of a key tile."""
  tiles = find_tiles(subtree_end, tile)
  second, first = np.tril_indices(tiles.reach.shape[1])
  if by_key:
    order = np.lexsort((second, first))
    second, first = second[order], first[order]
  query, key = jnp.asarray(second, jnp.int32), jnp.asarray(first, jnp.int32)
  live = tiles.reach[:, key] > (query * tile)[None]
  whole = live & (query > key)[None] & (tiles.floor[:, key] >= ((query + 1) * tile)[None])
  kind = jnp.where(whole, WHOLE, jnp.where(live, PART, DEAD))
  kept = live | (query == key)[None]
  count = jnp.sum(kept, axis=1, dtype=jnp.int32)
  order = jnp.argsort(~kept, axis=1, stable=True)
  step = jnp.arange(len(first), dtype=jnp.int32)[None]
  order = jnp.take_along_axis(order, jnp.minimum(step, count[:, None] - 1), axis=1)
  kind = jnp.where(step < count[:, None], jnp.take_along_axis(kind, order, axis=1), DEAD)
  return Pairs(query[order], key[order], kind.astype(jnp.int32), count)
