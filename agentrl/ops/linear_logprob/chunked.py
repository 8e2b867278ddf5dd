"""`linear_logprob` in tiles of tokens and vocabulary: plain XLA, for every platform.

The forward pass walks over the vocabulary with a running maximum. The backward pass computes each tile of logits a
second time, so that training costs four matrix products where holding the logits costs three, and no memory grows with
T V. Tokens pass in blocks, and in each the vocabulary passes once: what is summed in fp32 is the gradient of the hidden
states of a block and that of the unembedding, so that no scratch memory grows with T either.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from agentrl.ops.linear_logprob.differentiable import (
  Implementation,
  RowConstants,
  Rows,
  Statistics,
  Tile,
  row_constants,
)

# On a CPU a tile should stay near the caches; an accelerator wants few and large products.
CPU_TILE = Tile(tokens=1024, vocabulary=2048)
ACCELERATOR_TILE = Tile(tokens=4096, vocabulary=8192)
_NEVER = -1e30  # logit of a column that does not count; finite, since 0 * -inf is not 0

# (hidden [T, D], tile of rows [tile, D], tokens [T] within the tile, constants [T], columns that do not count) ->
# gradient of the logits [T, tile], in the dtype of hidden
LogitsBar = Callable[[jax.Array, jax.Array, jax.Array, RowConstants, jax.Array], jax.Array]


class _Plan(NamedTuple):
  """How R tokens are cut: `blocks` of `tiles` of `tokens` each, `padding` more than there are."""

  blocks: int
  tiles: int
  tokens: int
  padding: int


def _plan(count: int, tile: Tile) -> _Plan:
  tiles = -(-count // tile.tokens)
  blocks = -(-tiles // max(tile.block // tile.tokens, 1))
  tiles = -(-tiles // blocks)
  tokens = -(-count // (blocks * tiles))
  return _Plan(blocks, tiles, tokens, blocks * tiles * tokens - count)


def forward(tokens: Rows, rows: jax.Array, tile: Tile) -> Statistics:
  """Statistics of tiles of tokens, one after another."""
  count = tokens.tokens.shape[0]
  plan = _plan(count, tile)
  columns = min(tile.vocabulary, rows.shape[0])
  padded = _pad(tokens, plan.padding)

  def token_tile(i, out):
    # Behind a barrier, lest XLA do to all hidden states, before the loop, what the loop does to a tile: a copy in bf16.
    every, i = jax.lax.optimization_barrier((padded.hidden, i))
    hidden = jax.lax.dynamic_slice_in_dim(every, i * plan.tokens, plan.tokens)
    taken, scale = (_take(x, i * plan.tokens, plan.tokens) for x in (padded.tokens, padded.scale))
    here = _forward_tile(hidden, rows, taken, scale, columns)
    return jax.tree.map(lambda x, y: _put(x, y, i * plan.tokens), out, here)

  zeros = jnp.zeros_like(padded.scale)
  out = jax.lax.fori_loop(0, _ceil(tokens.live, plan.tokens), token_tile, Statistics(zeros, zeros, zeros))
  return jax.tree.map(lambda x: x[:count], out)


def _forward_tile(hidden: jax.Array, rows: jax.Array, tokens: jax.Array, scale: jax.Array, columns: int) -> Statistics:
  """Statistics `[T]` of `hidden [T, D]`."""

  def vocabulary_tile(running, first):
    start, skip = _tile_start(columns, rows, first)
    logits = _matmul("nd,vd->nv", hidden, _take(rows, start, columns)) * scale[:, None]
    return _accumulate(running, _without(logits, skip, rows), tokens - start, skip), None

  zeros = jnp.zeros_like(scale)
  start = (jnp.full_like(scale, _NEVER), zeros, zeros, zeros)
  (peak, total, weighted, taken), _ = jax.lax.scan(vocabulary_tile, start, jnp.arange(0, rows.shape[0], columns))
  return Statistics(taken, peak + jnp.log(total), jnp.log(total) - weighted / total)


def _accumulate(
  running: tuple[jax.Array, ...], logits: jax.Array, tokens: jax.Array, skip: jax.Array
) -> tuple[jax.Array, ...]:
  """One more tile of the sums of `e` and `e (z - peak)`, `e = exp(z - peak)`, and of the logit of the taken token."""
  peak, total, weighted, taken = running
  new_peak = jnp.maximum(peak, jnp.max(logits, axis=1))
  distance = logits - new_peak[:, None]
  weight = jnp.exp(distance)
  rescale = jnp.exp(peak - new_peak)
  weighted = rescale * (weighted + (peak - new_peak) * total) + jnp.sum(weight * distance, axis=1)
  total = rescale * total + jnp.sum(weight, axis=1)
  here = (tokens >= skip) & (tokens < logits.shape[1])
  logit = jnp.take_along_axis(logits, jnp.where(here, tokens, 0)[:, None], axis=1, mode="promise_in_bounds")[:, 0]
  return new_peak, total, weighted, taken + jnp.where(here, logit, 0.0)


def xla_logits_bar(
  hidden: jax.Array, tile_rows: jax.Array, tokens: jax.Array, constants: RowConstants, skip: jax.Array
) -> jax.Array:
  """The gradient of a tile of logits, computed a second time."""
  logits = _matmul("nd,vd->nv", hidden, tile_rows) * constants.scale[:, None]
  log_p = logits - constants.logsumexp[:, None]
  column = jnp.arange(tile_rows.shape[0])
  bar = jnp.zeros_like(log_p)
  if constants.offset is not None:
    slope = 0.0 if constants.slope is None else constants.slope[:, None] * log_p
    bar = jnp.exp(log_p) * (constants.offset[:, None] - slope)
  if constants.taken is not None:
    bar += jnp.where(column[None, :] == tokens[:, None], constants.taken[:, None], 0.0)
  return jnp.where(column[None, :] >= skip, bar, 0.0).astype(hidden.dtype)


def backward(
  tokens: Rows,
  rows: jax.Array,
  out: Statistics,
  bars: Statistics,
  tile: Tile,
  train_rows: bool,
  *,
  logits_bar: LogitsBar = xla_logits_bar,
) -> tuple[jax.Array, jax.Array | None]:
  """Gradients of hidden states and unembedding; `logits_bar` gives the tiles between the two products."""
  count = tokens.tokens.shape[0]
  plan = _plan(count, tile)
  columns = min(tile.vocabulary, rows.shape[0])
  padded = _pad(tokens, plan.padding)
  constants = _pad(row_constants(tokens.scale, out, bars), plan.padding)
  # Whole tiles alone are skipped: in the last one, tokens that do not count may have been given any cotangent.
  size = plan.tiles * plan.tokens

  def token_tile(first, block_hidden, tile_rows, start, skip, i, sums):
    tile_bar, block_bar = sums
    at = first + i * plan.tokens
    hidden, taken = _take(block_hidden, i * plan.tokens, plan.tokens), _take(padded.tokens, at, plan.tokens)
    here = jax.tree.map(lambda x: _take(x, at, plan.tokens), constants)
    bar = logits_bar(hidden, tile_rows, taken - start, here, skip)
    block_bar = _add(block_bar, _matmul("nv,vd->nd", bar, tile_rows), i * plan.tokens)
    # [D, tile] and not [tile, D]: the product is a fifth faster on a CPU, and is transposed once for all token tiles.
    tile_bar = tile_bar + _matmul("nd,nv->dv", hidden, bar) if train_rows else None
    return tile_bar, block_bar

  def block(b, sums):
    hidden, rows_bar = sums
    first = b * size
    tiles = jnp.clip(_ceil(tokens.live - first, plan.tokens), 0, plan.tiles)
    block_hidden = jax.lax.dynamic_slice_in_dim(hidden, first, size)

    def vocabulary_tile(v, sums):
      block_bar, rows_bar = sums
      start, skip = _tile_start(columns, rows, v * columns)
      tile_rows = _take(rows, start, columns)
      tile_bar = jnp.zeros((rows.shape[1], columns), jnp.float32) if train_rows else None
      step = functools.partial(token_tile, first, block_hidden, tile_rows, start, skip)
      tile_bar, block_bar = jax.lax.fori_loop(0, tiles, step, (tile_bar, block_bar))
      if train_rows:
        rows_bar = _add(rows_bar, tile_bar.T, start)
      return block_bar, rows_bar

    vocabulary_tiles = jnp.where(tiles > 0, -(-rows.shape[0] // columns), 0)
    block_bar = jnp.zeros((size, rows.shape[1]), jnp.float32)
    block_bar, rows_bar = jax.lax.fori_loop(0, vocabulary_tiles, vocabulary_tile, (block_bar, rows_bar))
    return jax.lax.dynamic_update_slice_in_dim(hidden, block_bar.astype(hidden.dtype), first, axis=0), rows_bar

  # The gradient of a block takes the place of its hidden states, which are needed no more.
  start = padded.hidden, jnp.zeros(rows.shape, jnp.float32) if train_rows else None
  hidden_bar, rows_bar = jax.lax.fori_loop(0, plan.blocks, block, start)
  return hidden_bar[:count], rows_bar.astype(rows.dtype) if train_rows else None


CHUNKED = Implementation(forward, backward)


def _pad(arrays: NamedTuple, padding: int) -> NamedTuple:
  """Every array `[R, ...]` with so many zeros at its end."""

  def pad(x):
    return jnp.pad(x, [(0, padding)] + [(0, 0)] * (x.ndim - 1)) if padding and jnp.ndim(x) else x

  return jax.tree.map(pad, arrays)


def _add(x: jax.Array, part: jax.Array, first: jax.Array | int) -> jax.Array:
  return _put(x, _take(x, first, part.shape[0]) + part, first)


def _ceil(count: jax.Array | int, size: int) -> jax.Array | int:
  return (count + size - 1) // size


def _tile_start(columns: int, rows: jax.Array, first: jax.Array | int) -> tuple[jax.Array, jax.Array]:
  """Where the tile from column `first` on begins, early enough to be whole, and how many columns of it others have."""
  start = jnp.minimum(first, rows.shape[0] - columns)
  return start, first - start


def _without(logits: jax.Array, skip: jax.Array, rows: jax.Array) -> jax.Array:
  if rows.shape[0] % logits.shape[1] == 0:
    return logits
  return jnp.where((jnp.arange(logits.shape[1]) >= skip)[None, :], logits, _NEVER)


def _matmul(equation: str, x: jax.Array, y: jax.Array) -> jax.Array:
  return jnp.einsum(equation, x, y, preferred_element_type=jnp.float32)


# ---- parts of arrays, moved as bits: XLA for the CPU has no bf16, and slices an array of it by converting all of it to
# fp32, which it also keeps. Integers it leaves alone, and elsewhere the casts cost nothing.


def as_bits(x: jax.Array) -> jax.Array:
  """16-bit floats as integers; all else as it is."""
  return jax.lax.bitcast_convert_type(x, jnp.uint16) if x.dtype.itemsize == 2 else x


def from_bits(x: jax.Array, dtype: jnp.dtype) -> jax.Array:
  """The inverse of `as_bits`."""
  return x if x.dtype == dtype else jax.lax.bitcast_convert_type(x, dtype)


def _take(x: jax.Array, start: jax.Array | int, size: int) -> jax.Array:
  """`size` entries of the first axis, from `start` on."""
  return from_bits(jax.lax.dynamic_slice_in_dim(as_bits(x), start, size), x.dtype)


def _put(x: jax.Array, part: jax.Array, start: jax.Array | int) -> jax.Array:
  """`x` with `part` in place of its entries from `start` on."""
  return from_bits(jax.lax.dynamic_update_slice_in_dim(as_bits(x), as_bits(part), start, 0), x.dtype)
