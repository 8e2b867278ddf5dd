"""Forest attention tile by tile: memory in proportion to the row, and no work on tiles in which no token sees another.

The forward pass keeps a running maximum and sum per query (Rabe and Staats, 2021, https://arxiv.org/abs/2112.05682),
the backward pass recomputes each tile's weights from the log-sum-exp (Dao et al., 2022, https://arxiv.org/abs/2205.14135).
Which tiles hold anything follows from `subtree_end` at run time; loops run over those alone, and stay plain XLA.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from agentrl.ops.attention.forest.tiles import find_tiles, saved

UNSEEN = -1e30  # score of a pair that does not see each other; finite, so that no infinity meets another


def tiled_forest_attention(
  q: jax.Array, k: jax.Array, v: jax.Array, subtree_end: jax.Array, *, scale: float, tile: int
) -> jax.Array:
  """`forest_attention` in tiles of about `tile` queries by as many keys. Shapes as there, and already checked."""
  rows, length, heads, channels = q.shape
  tiles = -(-length // tile)
  tile = -(-length // tiles)
  missing = tiles * tile - length
  ends = jnp.pad(subtree_end, ((0, 0), (0, missing))).reshape(rows, tiles, tile).swapaxes(0, 1)
  # Queries that share a key head lie together: one matmul per key head, [tiles, B, K, H / K * tile, C].
  q = _in_tiles(q * scale, tiles, tile).reshape(tiles, rows, tile, k.shape[2], -1, channels)
  q = q.transpose(0, 1, 3, 4, 2, 5).reshape(tiles, rows, k.shape[2], -1, channels)
  k, v = (_in_tiles(a, tiles, tile).swapaxes(2, 3) for a in (k, v))
  out = _attend(q, k, v, ends).reshape(tiles, rows, v.shape[2], -1, tile, channels)
  out = out.transpose(1, 0, 4, 2, 3, 5).reshape(rows, tiles * tile, heads, channels)
  return out[:, :length]


def _in_tiles(a: jax.Array, tiles: int, tile: int) -> jax.Array:
  """`[B, T, ...]` -> `[tiles, B, tile, ...]`, padded."""
  a = jnp.pad(a, ((0, 0), (0, tiles * tile - a.shape[1]), (0, 0), (0, 0)))
  return a.reshape(a.shape[0], tiles, tile, *a.shape[2:]).swapaxes(0, 1)


def _scores(q: jax.Array, k: jax.Array, ends: jax.Array, i: jax.Array, j: jax.Array) -> jax.Array:
  """fp32 `[B, K, H / K, tile, tile]` of queries `q [B, K, H / K * tile, C]` of tile i on keys of tiles `j [B]`."""
  tile = k.shape[2]
  scores = jnp.einsum("bkqc,bksc->bkqs", q, k, preferred_element_type=jnp.float32)
  scores = scores.reshape(*scores.shape[:2], -1, tile, tile)
  query, key = i * tile + jnp.arange(tile), j[:, None] * tile + jnp.arange(tile)[None]
  seen = (key[:, None, :] <= query[None, :, None]) & (query[None, :, None] < ends[:, None, :])
  return jnp.where(seen[:, None, None], scores, UNSEEN)


def _key_tiles(ends: jax.Array) -> tuple[jax.Array, jax.Array]:
  """For each row and query tile its key tiles, live ones first, int32 `[B, tiles, tiles]`; and the most of any row.

  The second is int32 `[tiles]`.
  """
  tile = ends.shape[2]
  found = find_tiles(ends.swapaxes(0, 1).reshape(ends.shape[1], -1), tile)
  return found.keys, jnp.max(found.live, axis=0)


def _each_rows(tiles: jax.Array, index: jax.Array) -> jax.Array:
  """From `[tiles, B, ...]`, tile `index[b]` of each row: `[B, ...]`."""
  return jax.vmap(lambda of_row, i: of_row[i], in_axes=(1, 0))(tiles, index)


def _flat(a: jax.Array) -> jax.Array:
  """`[B, K, H / K, tile, ...]` -> `[B, K, H / K * tile, ...]`."""
  return a.reshape(*a.shape[:2], -1, *a.shape[4:])


@jax.custom_vjp
def _attend(q: jax.Array, k: jax.Array, v: jax.Array, ends: jax.Array) -> jax.Array:
  return _forward(q, k, v, ends)[0]


def _forward(q: jax.Array, k: jax.Array, v: jax.Array, ends: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Output in q's layout and v's dtype, and the log-sum-exp of each query's scores, fp32 `[tiles, B, K, H / K * tile]`.

  A query that sees nothing gives 0, and a log-sum-exp so large that its weights are 0 in the backward pass.
  """
  keys, live = _key_tiles(ends)

  def of_tile(i):
    def add(t, state):
      out, peak, total = state
      j = keys[:, i, t]
      k_tile, v_tile, ends_tile = (_each_rows(a, j) for a in (k, v, ends))
      scores = _flat(_scores(q[i], k_tile, ends_tile, i, j))
      higher = jnp.maximum(peak, jnp.max(scores, axis=-1))
      weights, shrink = jnp.exp(scores - higher[..., None]), jnp.exp(peak - higher)
      mixed = jnp.einsum("bkqs,bksc->bkqc", weights.astype(v.dtype), v_tile, preferred_element_type=jnp.float32)
      return out * shrink[..., None] + mixed, higher, total * shrink + jnp.sum(weights, axis=-1)

    shape = q.shape[1:-1]
    state = (jnp.zeros(q.shape[1:], jnp.float32), jnp.full(shape, UNSEEN), jnp.zeros(shape))
    out, peak, total = jax.lax.fori_loop(0, live[i], add, state)
    sees = peak > UNSEEN / 2
    total = jnp.where(sees, total, 1.0)
    out = jnp.where(sees[..., None], out / total[..., None], 0.0)
    return out.astype(v.dtype), jnp.where(sees, peak + jnp.log(total), -UNSEEN)

  return jax.lax.map(of_tile, jnp.arange(ends.shape[0]))


def _forward_rule(q, k, v, ends):
  out, lse = saved(*_forward(q, k, v, ends))
  return out, (q, k, v, ends, out, lse)


def _backward_rule(kept, d_out):
  q, k, v, ends, out, lse = kept
  rows, tile = ends.shape[1:]
  delta = jnp.sum(d_out.astype(jnp.float32) * out.astype(jnp.float32), axis=-1)
  # The queries that see something of a key tile follow each other, from its own tile on.
  last = -(-jnp.max(ends, axis=(1, 2)) // tile)

  def of_tile(d_q, j):
    def add(i, state):
      d_q, d_k, d_v = state
      weights = jnp.exp(_flat(_scores(q[i], k[j], ends[j], i, jnp.full(rows, j))) - lse[i][..., None])
      d_v += _einsum("bkqs,bkqc->bksc", weights.astype(v.dtype), d_out[i])
      d_weights = _einsum("bkqc,bksc->bkqs", d_out[i], v[j])
      d_scores = (weights * (d_weights - delta[i][..., None])).astype(k.dtype)
      d_k += _einsum("bkqs,bkqc->bksc", d_scores, q[i])
      return d_q.at[i].add(_einsum("bkqs,bksc->bkqc", d_scores, k[j])), d_k, d_v

    zeros = jnp.zeros(k.shape[1:], jnp.float32)
    d_q, d_k, d_v = jax.lax.fori_loop(j, last[j], add, (d_q, zeros, zeros))
    return d_q, (d_k, d_v)

  d_q, (d_k, d_v) = jax.lax.scan(of_tile, jnp.zeros(q.shape, jnp.float32), jnp.arange(ends.shape[0]))
  return d_q.astype(q.dtype), d_k.astype(k.dtype), d_v.astype(v.dtype), None


_einsum = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)
_attend.defvjp(_forward_rule, _backward_rule)
