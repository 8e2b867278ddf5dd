"""Forest attention for TPUs: a Pallas grid over the pairs of tiles that hold something, known when it runs.

The list of pairs is prefetched; the grid is as long as the batch's longest list, and a shorter row's last steps move no
data. Forward and dQ walk over a query tile's keys, dK with dV over a key tile's queries of every head of the group.
Unproven: tested in interpret mode, not run on a TPU.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from agentrl.ops.attention.forest.tiles import PART, WHOLE, find_pairs, saved

TILE = 512  # tokens; not measured
LOG2E = 1.4426950408889634
# Finite, so that no infinity meets another: the running maximum of a query that saw nothing yet, and the log-sum-exp of
# one that sees nothing at all.
LOWEST, NEVER = -1e30, 1e30


def pallas_forest_attention(
  q: jax.Array, k: jax.Array, v: jax.Array, subtree_end: jax.Array, *, scale: float, tile: int = TILE,
  interpret: bool = False,
) -> jax.Array:  # fmt: skip
  """`forest_attention` on a TPU. Shapes as there, and already checked; `interpret` runs it anywhere, slowly."""
  length = q.shape[1]
  missing = -length % tile
  q, k, v = (jnp.pad(a, ((0, 0), (0, missing), (0, 0), (0, 0))).swapaxes(1, 2) for a in (q, k, v))
  ends = jnp.pad(subtree_end.astype(jnp.int32), ((0, 0), (0, missing)))
  out = _attend(scale * LOG2E, tile, interpret, q, k, v, ends[:, None])
  return out.swapaxes(1, 2)[:, :length]


# Below, q and out are [B, H, T, C], k and v [B, K, T, C], ends [B, 1, T], lse and delta fp32 [B, H, T, 1]; T is whole
# tiles, and scores are in base 2.


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _attend(scale, tile, interpret, q, k, v, ends):
  return _forward(scale, tile, interpret, q, k, v, ends)[0]


def _forward(scale, tile, interpret, q, k, v, ends):
  pairs, (wide, narrow, of_keys, of_ends) = find_pairs(ends[:, 0], tile, by_key=False), _query_specs(tile, q, k)
  shapes = jax.ShapeDtypeStruct(q.shape, v.dtype), jax.ShapeDtypeStruct((*q.shape[:3], 1), jnp.float32)
  return _call(
    functools.partial(_forward_kernel, scale), pairs, q.shape[:2], (), (q, k, v, ends),
    (wide, of_keys, of_keys, of_ends), shapes, (wide, narrow), [(tile, q.shape[3]), (tile, 1), (tile, 1)], interpret,
  )  # fmt: skip


def _forward_rule(scale, tile, interpret, q, k, v, ends):
  out, lse = saved(*_forward(scale, tile, interpret, q, k, v, ends))
  return out, (q, k, v, ends, out, lse)


def _backward_rule(scale, tile, interpret, kept, d_out):
  q, k, v, ends, out, lse = kept
  delta = jnp.sum(d_out.astype(jnp.float32) * out.astype(jnp.float32), axis=-1, keepdims=True)
  inputs = q, k, v, ends, d_out, lse, delta
  d_q = _query_gradient(scale, tile, interpret, *inputs)
  d_k, d_v = _key_gradients(scale, tile, interpret, *inputs)
  return d_q, d_k, d_v, None


_attend.defvjp(_forward_rule, _backward_rule)


def _query_gradient(scale, tile, interpret, q, k, v, ends, d_out, lse, delta):
  pairs, (wide, narrow, of_keys, of_ends) = find_pairs(ends[:, 0], tile, by_key=False), _query_specs(tile, q, k)
  (d_q,) = _call(
    functools.partial(_query_kernel, scale), pairs, q.shape[:2], (), (q, k, v, ends, d_out, lse, delta),
    (wide, of_keys, of_keys, of_ends, wide, narrow, narrow), (jax.ShapeDtypeStruct(q.shape, q.dtype),), (wide,),
    [(tile, q.shape[3])], interpret,
  )  # fmt: skip
  return d_q


def _key_gradients(scale, tile, interpret, q, k, v, ends, d_out, lse, delta):
  pairs, group, channels = find_pairs(ends[:, 0], tile, by_key=True), q.shape[1] // k.shape[1], q.shape[3]

  def query_index(b, h, t, g, query, *_):
    return b, h * group + g, query[b, t], 0

  wide, narrow = _block(tile, channels, query_index), _block(tile, 1, query_index)
  of_keys = _block(tile, channels, lambda b, h, t, g, query, key, *_: (b, h, key[b, t], 0))
  of_ends = pl.BlockSpec((None, 1, tile), lambda b, h, t, g, query, key, *_: (b, 0, key[b, t]))
  shapes = jax.ShapeDtypeStruct(k.shape, k.dtype), jax.ShapeDtypeStruct(v.shape, v.dtype)
  return _call(
    functools.partial(_key_kernel, scale, group), pairs, k.shape[:2], (group,), (q, k, v, ends, d_out, lse, delta),
    (wide, of_keys, of_keys, of_ends, wide, narrow, narrow), shapes, (of_keys, of_keys), [(tile, channels)] * 2,
    interpret,
  )  # fmt: skip


def _query_specs(tile, q, k):
  """Blocks of a grid over pairs by query tile: `[tile, C]` and `[tile, 1]` of queries, `[tile, C]` of keys, ends."""
  channels, group = q.shape[3], q.shape[1] // k.shape[1]

  def query_index(b, h, t, query, *_):
    return b, h, query[b, t], 0

  return (
    _block(tile, channels, query_index),
    _block(tile, 1, query_index),
    _block(tile, channels, lambda b, h, t, query, key, *_: (b, jax.lax.div(h, jnp.int32(group)), key[b, t], 0)),
    pl.BlockSpec((None, 1, tile), lambda b, h, t, query, key, *_: (b, 0, key[b, t])),
  )


def _block(tile, width, index):
  return pl.BlockSpec((None, None, tile, width), index)


def _call(kernel, pairs, outer, inner, inputs, in_specs, shapes, out_specs, scratch, interpret):
  """Runs `kernel` over (*outer, steps, *inner), as many steps as the longest list of pairs has."""
  return pl.pallas_call(
    kernel,
    grid_spec=pltpu.PrefetchScalarGridSpec(
      num_scalar_prefetch=len(pairs), grid=(*outer, jnp.max(pairs.count), *inner), in_specs=in_specs,
      out_specs=out_specs, scratch_shapes=[pltpu.VMEM(shape, jnp.float32) for shape in scratch],
    ),
    out_shape=shapes,
    compiler_params=pltpu.CompilerParams(
      dimension_semantics=("parallel",) * len(outer) + ("arbitrary",) * (1 + len(inner))
    ),
    interpret=interpret,
  )(*pairs, *inputs)  # fmt: skip


def _edges(tile_of, count):
  """Whether this step is the first, and the last, of those that share a tile."""
  row, step = pl.program_id(0), pl.program_id(2)
  most = tile_of.shape[1] - 1
  here = tile_of[row, step]
  first = (step == 0) | (tile_of[row, jnp.maximum(step - 1, 0)] != here)
  last = (step == count[row] - 1) | (tile_of[row, jnp.minimum(step + 1, most)] != here)
  return first, last


def _dot(a, b, contract):
  # fp32 operands in full: the MXU's default rounds them to bf16.
  precision = jax.lax.Precision.HIGHEST if a.dtype == jnp.float32 else None
  return jax.lax.dot_general(a, b, (contract, ((), ())), precision=precision, preferred_element_type=jnp.float32)


ROWS_BY_ROWS, ROWS_BY_COLUMNS, COLUMNS_BY_COLUMNS = ((1,), (1,)), ((1,), (0,)), ((0,), (0,))


def _for_kind(kind, add):
  """Runs `add(masked)` for this step's pair of tiles, if it holds anything."""
  here = kind[pl.program_id(0), pl.program_id(2)]
  pl.when(here == WHOLE)(lambda: add(False))
  pl.when(here == PART)(lambda: add(True))


def _scores(scale, q, k, ends, query_tile, key_tile, masked):
  """fp32 `[queries, keys]`; minus infinity where the query does not see the key."""
  scores = _dot(q, k, ROWS_BY_ROWS) * scale
  if not masked:
    return scores
  query = query_tile * q.shape[0] + jax.lax.broadcasted_iota(jnp.int32, scores.shape, 0)
  key = key_tile * k.shape[0] + jax.lax.broadcasted_iota(jnp.int32, scores.shape, 1)
  return jnp.where((key <= query) & (query < ends), scores, -jnp.inf)


def _forward_kernel(scale, query, key, kind, count, q, k, v, ends, out, lse, total_out, peak, total):
  first, last = _edges(query, count)
  row, step = pl.program_id(0), pl.program_id(2)

  @pl.when(first)
  def _():
    total_out[...] = jnp.zeros_like(total_out)
    peak[...] = jnp.full_like(peak, LOWEST)
    total[...] = jnp.zeros_like(total)

  def add(masked):
    scores = _scores(scale, q[...], k[...], ends[...], query[row, step], key[row, step], masked)
    higher = jnp.maximum(peak[...], jnp.max(scores, axis=1, keepdims=True))
    weights, shrink = jnp.exp2(scores - higher), jnp.exp2(peak[...] - higher)
    total_out[...] = total_out[...] * shrink + _dot(weights.astype(v.dtype), v[...], ROWS_BY_COLUMNS)
    total[...] = total[...] * shrink + jnp.sum(weights, axis=1, keepdims=True)
    peak[...] = higher

  _for_kind(kind, add)

  @pl.when(last)
  def _():
    sees = total[...] > 0
    safe = jnp.where(sees, total[...], 1.0)
    out[...] = (total_out[...] / safe).astype(out.dtype)
    lse[...] = jnp.where(sees, peak[...] + jnp.log2(safe), NEVER)


def _score_gradients(scale, q, k, v, ends, d_out, lse, delta, query_tile, key_tile, masked):
  """Weights and the gradients of the scores before scaling, fp32 `[queries, keys]`."""
  weights = jnp.exp2(_scores(scale, q[...], k[...], ends[...], query_tile, key_tile, masked) - lse[...])
  return weights, weights * (_dot(d_out[...], v[...], ROWS_BY_ROWS) - delta[...])


def _query_kernel(scale, query, key, kind, count, q, k, v, ends, d_out, lse, delta, d_q, total):
  first, last = _edges(query, count)
  row, step = pl.program_id(0), pl.program_id(2)

  @pl.when(first)
  def _():
    total[...] = jnp.zeros_like(total)

  def add(masked):
    _, d_scores = _score_gradients(
      scale, q, k, v, ends, d_out, lse, delta, query[row, step], key[row, step], masked
    )  # fmt: skip
    total[...] += _dot(d_scores.astype(k.dtype), k[...], ROWS_BY_COLUMNS)

  _for_kind(kind, add)

  @pl.when(last)
  def _():
    d_q[...] = (total[...] * (scale / LOG2E)).astype(d_q.dtype)


def _key_kernel(
  scale, group, query, key, kind, count, q, k, v, ends, d_out, lse, delta, d_k, d_v, total_k, total_v
):  # fmt: skip
  first, last = _edges(key, count)
  row, step, head = pl.program_id(0), pl.program_id(2), pl.program_id(3)

  @pl.when(first & (head == 0))
  def _():
    total_k[...] = jnp.zeros_like(total_k)
    total_v[...] = jnp.zeros_like(total_v)

  def add(masked):
    weights, d_scores = _score_gradients(
      scale, q, k, v, ends, d_out, lse, delta, query[row, step], key[row, step], masked
    )  # fmt: skip
    total_v[...] += _dot(weights.astype(d_out.dtype), d_out[...], COLUMNS_BY_COLUMNS)
    total_k[...] += _dot(d_scores.astype(q.dtype), q[...], COLUMNS_BY_COLUMNS)

  _for_kind(kind, add)

  @pl.when(last & (head == group - 1))
  def _():
    d_k[...] = (total_k[...] * (scale / LOG2E)).astype(d_k.dtype)
    d_v[...] = total_v[...].astype(d_v.dtype)
