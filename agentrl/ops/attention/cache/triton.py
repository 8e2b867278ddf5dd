"""Attention over the slot cache for NVIDIA GPUs, the long slots split over many programs.

The cache of every slot is cut at fixed positions. A program reads one piece of one key-value head, if the slot reaches
it, and leaves its part of the softmax; a second kernel joins the parts of a query in the order of their positions
(Dao et al., 2023, https://crfm.stanford.edu/2023/10/12/flashdecoding.html). So pieces depend on a slot's own length
alone, many pieces of one size fill the device whatever the mixture of lengths, and no result depends on their order.

Unproven: it has not run on a GPU yet; its numbers are tested in Triton's interpreter.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import triton as compiler
import triton.language as tl

from agentrl.ops import triton_call
from agentrl.ops.attention.cache.store import BLOCK, Int8

# A tile is a block of the cache: keys and values of it take 32 KiB in bf16 with 128 channels.
MAX_ROWS = 64  # of a tile of queries x heads; more, as in prefill, take several tiles
MIN_SPLIT, MAX_SPLITS = 256, 64  # positions of a piece at least, pieces of a slot at most
LOG2_E = 1.4426950408889634
NOTHING = tl.constexpr(-1e30)  # maximum of no scores: finite, so that no infinity meets another


@compiler.jit
def part_kernel(
  q, k, v, k_scale, v_scale, positions, part, lse,
  QUERIES: tl.constexpr, GROUP: tl.constexpr, KV_HEADS: tl.constexpr, CHANNELS: tl.constexpr, LENGTH: tl.constexpr,
  ROWS: tl.constexpr, ROW_TILES: tl.constexpr, SPLIT: tl.constexpr, SPLITS: tl.constexpr, SCALE: tl.constexpr,
  INT8: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
  """One piece of one head: `part [B, K, SPLITS, T * G, C]`, normalised, and the base-2 `lse [B, K, SPLITS, T * G]`.

  Row m of a head is query m // G, head m % G of its group. Pieces that no query reaches are left unwritten.
  """
  head = tl.program_id(0) // ROW_TILES  # b * K + k
  row = (tl.program_id(0) % ROW_TILES) * ROWS + tl.arange(0, ROWS)
  split = tl.program_id(1)
  real = row < QUERIES * GROUP
  query = (head // KV_HEADS) * QUERIES + row // GROUP
  position = tl.load(positions + query, mask=real, other=-1)
  start = split * SPLIT
  end = tl.minimum(tl.max(position, axis=0) + 1, start + SPLIT)
  if start >= end:
    return

  channel, column = tl.arange(0, CHANNELS), tl.arange(0, BLOCK)
  q_row = (query * KV_HEADS + head % KV_HEADS) * GROUP + row % GROUP
  queries = tl.load(q + q_row[:, None] * CHANNELS + channel[None, :], mask=real[:, None], other=0.0)
  base = head.to(tl.int64) * LENGTH
  k_tile = k + base * CHANNELS + channel[:, None] * BLOCK + column[None, :]
  v_tile = v + base * CHANNELS + column[:, None] * CHANNELS + channel[None, :]

  peak = tl.full((ROWS,), NOTHING, tl.float32)
  total = tl.zeros((ROWS,), tl.float32)
  mixed = tl.zeros((ROWS, CHANNELS), tl.float32)
  for s in range(start, end, BLOCK):
    # Whole blocks are read, past `end` too: loads stay wide, and what is there gets no weight.
    keys, values = tl.load(k_tile + s * CHANNELS), tl.load(v_tile + s * CHANNELS)
    scores = tl.dot(queries, keys.to(queries.dtype), input_precision="ieee") * SCALE
    if INT8:
      scores *= tl.load(k_scale + base + s + column)[None, :]
    scores = tl.where(s + column[None, :] <= position[:, None], scores, float("-inf"))
    higher = tl.maximum(peak, tl.max(scores, axis=1))
    weights, shrink = tl.exp2(scores - higher[:, None]), tl.exp2(peak - higher)
    total = total * shrink + tl.sum(weights, axis=1)
    if INT8:
      weights *= tl.load(v_scale + base + s + column)[None, :]
    mixed = mixed * shrink[:, None]
    mixed = tl.dot(weights.to(queries.dtype), values.to(queries.dtype), mixed, input_precision="ieee")
    peak = higher

  out_row = (head.to(tl.int64) * SPLITS + split) * (QUERIES * GROUP) + row
  mixed = mixed / tl.where(total > 0, total, 1.0)[:, None]
  tl.store(part + out_row[:, None] * CHANNELS + channel[None, :], mixed, mask=real[:, None])
  tl.store(lse + out_row, tl.where(total > 0, peak + tl.log2(total), float("-inf")), mask=real)


@compiler.jit
def join_kernel(
  part, lse, positions, out,
  QUERIES: tl.constexpr, GROUP: tl.constexpr, KV_HEADS: tl.constexpr, CHANNELS: tl.constexpr, SPLIT: tl.constexpr,
  SPLITS: tl.constexpr, SPLITS_PADDED: tl.constexpr,
):  # fmt: skip
  """`out [B, T, H, C]`: the mean of a query's parts, weighted by exp2(lse)."""
  index = tl.program_id(0)  # (b * T + query) * H + head
  at = index // (KV_HEADS * GROUP)
  in_heads = index % (KV_HEADS * GROUP)
  row = (at % QUERIES) * GROUP + in_heads % GROUP
  head = (at // QUERIES) * KV_HEADS + in_heads // GROUP
  split, channel = tl.arange(0, SPLITS_PADDED), tl.arange(0, CHANNELS)
  written = split * SPLIT <= tl.load(positions + at)
  part_row = (head.to(tl.int64) * SPLITS + split) * (QUERIES * GROUP) + row
  weight = tl.load(lse + part_row, mask=written, other=float("-inf"))
  weight = tl.exp2(weight - tl.max(weight, axis=0))
  weight = weight / tl.sum(weight, axis=0)
  parts = tl.load(part + part_row[:, None] * CHANNELS + channel[None, :], mask=written[:, None], other=0.0)
  mixed = tl.sum(weight[:, None] * parts, axis=0)
  tl.store(out + index.to(tl.int64) * CHANNELS + channel, mixed.to(out.dtype.element_ty))


def triton(q: jax.Array, k: jax.Array | Int8, v: jax.Array | Int8, positions: jax.Array) -> jax.Array:
  """`cache_attention`; arguments and result as there, and already checked.

  Raises:
    ValueError: C is not a power of 2 from 16 to 256.
  """
  batch, queries, heads, channels = q.shape
  if channels not in (16, 32, 64, 128, 256):
    raise ValueError(f"implementation='triton' needs q with 16, 32, 64, 128 or 256 channels; got {channels}")
  # The kernel takes scales that it does not read where there are none.
  (keys, k_scale), (values, v_scale) = (a if isinstance(a, Int8) else (a, positions) for a in (k, v))
  kv_heads, length = values.shape[1:3]
  rows = queries * (heads // kv_heads)
  tile = min(max(16, compiler.next_power_of_2(rows)), MAX_ROWS)
  split = split_positions(length)
  splits = -(-length // split)
  row_tiles = -(-rows // tile)
  sizes = {
    "QUERIES": queries, "GROUP": heads // kv_heads, "KV_HEADS": kv_heads, "CHANNELS": channels,
    "SPLIT": split, "SPLITS": splits,
  }  # fmt: skip
  lead = (batch, kv_heads, splits, rows)
  positions = jnp.minimum(positions.astype(jnp.int32), length - 1)
  part, lse = triton_call.launch(
    part_kernel,
    (q, keys, values, k_scale, v_scale, positions),
    (jax.ShapeDtypeStruct((*lead, channels), jnp.float32), jax.ShapeDtypeStruct(lead, jnp.float32)),
    grid=(batch * kv_heads * row_tiles, splits),
    warps=4,
    stages=3,
    LENGTH=length, ROWS=tile, ROW_TILES=row_tiles, SCALE=channels**-0.5 * LOG2_E, INT8=isinstance(k, Int8),
    BLOCK=BLOCK, **sizes,
  )  # fmt: skip
  (out,) = triton_call.launch(
    join_kernel,
    (part, lse, positions),
    (jax.ShapeDtypeStruct(q.shape, q.dtype),),
    grid=(batch * queries * heads,),
    warps=4,
    stages=1,
    SPLITS_PADDED=compiler.next_power_of_2(splits),
    **sizes,
  )
  return out


def split_positions(length: int) -> int:
  """Positions of a piece, whole tiles: a function of the cache's size and nothing else."""
  return max(MIN_SPLIT, -(-length // (MAX_SPLITS * BLOCK)) * BLOCK)
