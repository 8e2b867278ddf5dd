"""`linear_logprob` on TPUs: two Pallas kernels, products whose epilogue is the softmax.

Both sum a tile of logits over parts of the channels in VMEM. Backward is that of "chunked", with a kernel that computes
logits and their gradient and writes the latter once; the two products with it are XLA's.

Unproven: it has not run on its device yet; its numbers are tested in an interpreter.
"""

import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from agentrl.ops.linear_logprob import chunked
from agentrl.ops.linear_logprob.differentiable import Implementation, RowConstants, Rows, Statistics, Tile

# In fp32 and doubly buffered, operands of 256 x 512 and 512 x 512 and 256 x 512 logits take 3.5 MiB of VMEM.
TOKENS, COLUMNS, CHANNELS = 256, 512, 512
_NEVER = -1e30


def _channels(width: int) -> int:
  """Channels at a time: they must divide D, for what lies beyond an array's end is undefined."""
  return CHANNELS if width % CHANNELS == 0 else width


def _add_product(k, hidden, rows, logits):
  @pl.when(k == 0)
  def _():
    logits[...] = jnp.zeros_like(logits)

  # Full precision, or fp32 operands would be rounded to bf16.
  precision = jax.lax.Precision.HIGHEST if hidden.dtype == jnp.float32 else None
  logits[...] += jax.lax.dot_general(
    hidden[...],
    rows[...],
    (((1,), (1,)), ((), ())),
    preferred_element_type=jnp.float32,
    precision=precision,
  )


def _forward_kernel(size, live, hidden, rows, tokens, scale, taken_out, logsumexp, entropy, logits, sums):
  i, j, k = (pl.program_id(axis) for axis in range(3))
  peak, total, weighted, taken = (sums.at[s] for s in range(4))

  @pl.when((j == 0) & (k == 0))
  def _():
    sums[...] = jnp.zeros_like(sums)
    peak[...] = jnp.full_like(peak, _NEVER)

  @pl.when(i * hidden.shape[0] < live[0])
  def _():
    _add_product(k, hidden, rows, logits)

    @pl.when(k == pl.num_programs(2) - 1)
    def _():
      column = j * rows.shape[0] + jax.lax.broadcasted_iota(jnp.int32, logits.shape, 1)
      z = jnp.where(column < size, logits[...] * scale[...], _NEVER)
      new_peak = jnp.maximum(peak[...], jnp.max(z, axis=1, keepdims=True))
      distance = z - new_peak
      weight = jnp.exp(distance)
      rescale = jnp.exp(peak[...] - new_peak)
      shifted = weighted[...] + (peak[...] - new_peak) * total[...]
      weighted[...] = rescale * shifted + jnp.sum(weight * distance, axis=1, keepdims=True)
      total[...] = rescale * total[...] + jnp.sum(weight, axis=1, keepdims=True)
      hit = (column == tokens[...]) & (column < size)
      taken[...] += jnp.sum(jnp.where(hit, z, 0.0), axis=1, keepdims=True)
      peak[...] = new_peak

  @pl.when((j == pl.num_programs(1) - 1) & (k == pl.num_programs(2) - 1))
  def _():
    whole = jnp.where(total[...] > 0, total[...], 1.0)  # 0 where a whole tile does not count
    taken_out[...] = taken[...]
    logsumexp[...] = peak[...] + jnp.log(whole)
    entropy[...] = jnp.log(whole) - weighted[...] / whole


def _grid(count: int, size: int, width: int):
  """Grid, and blocks of `[T, D]`, `[V, D]` and `[T, 1]`; tiles that do not count fetch nothing new."""
  tokens, columns, channels = min(TOKENS, count), min(COLUMNS, size), _channels(width)

  def counts(i, live):
    return (i * tokens < live[0]).astype(jnp.int32)

  hidden = pl.BlockSpec((tokens, channels), lambda i, j, k, live: (i * counts(i, live), k * counts(i, live)))
  rows = pl.BlockSpec((columns, channels), lambda i, j, k, live: (j * counts(i, live), k * counts(i, live)))
  vector = pl.BlockSpec((tokens, 1), lambda i, j, k, live: (i, 0))
  grid = (pl.cdiv(count, tokens), pl.cdiv(size, columns), width // channels)
  return grid, hidden, rows, vector, (tokens, columns)


def _call(kernel, grid, in_specs, out_specs, out_shape, scratch, interpret):
  spec = pltpu.PrefetchScalarGridSpec(
    num_scalar_prefetch=1, grid=grid, in_specs=in_specs, out_specs=out_specs, scratch_shapes=scratch
  )
  # Tiles of tokens are independent; those of the vocabulary and of the channels add up.
  order = pltpu.CompilerParams(dimension_semantics=("parallel", "arbitrary", "arbitrary"))
  return pl.pallas_call(kernel, grid_spec=spec, out_shape=out_shape, compiler_params=order, interpret=interpret)


def forward(tokens: Rows, rows: jax.Array, tile: Tile, *, interpret: bool = False) -> Statistics:
  """Statistics of all tokens in one call."""
  del tile
  (count,) = tokens.tokens.shape
  grid, hidden_block, rows_block, vector, tile_shape = _grid(count, *rows.shape)
  out = _call(
    functools.partial(_forward_kernel, rows.shape[0]),
    grid,
    [hidden_block, rows_block, vector, vector],
    [vector] * 3,
    [jax.ShapeDtypeStruct((count, 1), jnp.float32)] * 3,
    [pltpu.VMEM(tile_shape, jnp.float32), pltpu.VMEM((4, tile_shape[0], 1), jnp.float32)],
    interpret,
  )(_scalar(tokens.live), tokens.hidden, rows, tokens.tokens[:, None].astype(jnp.int32), tokens.scale[:, None])
  live = jnp.arange(count) < tokens.live
  return Statistics(*(jnp.where(live, x[:, 0], 0.0) for x in out))


def _logits_bar_kernel(parts, skip, hidden, rows, tokens, *refs):
  *vectors, out, logits = refs
  constants = RowConstants(*(vectors.pop(0)[...] if present else None for present in parts))
  j, k = pl.program_id(1), pl.program_id(2)
  _add_product(k, hidden, rows, logits)

  @pl.when(k == pl.num_programs(2) - 1)
  def _():
    column = j * rows.shape[0] + jax.lax.broadcasted_iota(jnp.int32, logits.shape, 1)
    log_p = logits[...] * constants.scale - constants.logsumexp
    bar = jnp.zeros_like(log_p)
    if constants.offset is not None:
      slope = 0.0 if constants.slope is None else constants.slope * log_p
      bar = jnp.exp(log_p) * (constants.offset - slope)
    if constants.taken is not None:
      bar += jnp.where(column == tokens[...], constants.taken, 0.0)
    out[...] = jnp.where(column >= skip[0], bar, 0.0).astype(out.dtype)


def logits_bar(
  hidden: jax.Array, tile_rows: jax.Array, tokens: jax.Array, constants: RowConstants, skip, *, interpret: bool = False
) -> jax.Array:
  """The gradient of a tile of logits, in one call."""
  (count, width), size = hidden.shape, tile_rows.shape[0]
  grid, _, _, _, (rows_at_once, columns) = _grid(count, size, width)
  channels = _channels(width)
  vector = pl.BlockSpec((rows_at_once, 1), lambda i, j, k, skip: (i, 0))
  vectors = [x[:, None] for x in constants if x is not None]
  return _call(
    functools.partial(_logits_bar_kernel, [x is not None for x in constants]),
    grid,
    [
      pl.BlockSpec((rows_at_once, channels), lambda i, j, k, skip: (i, k)),
      pl.BlockSpec((columns, channels), lambda i, j, k, skip: (j, k)),
      *[vector] * (1 + len(vectors)),
    ],
    pl.BlockSpec((rows_at_once, columns), lambda i, j, k, skip: (i, j)),
    jax.ShapeDtypeStruct((count, size), hidden.dtype),
    [pltpu.VMEM((rows_at_once, columns), jnp.float32)],
    interpret,
  )(_scalar(skip), hidden, tile_rows, tokens[:, None].astype(jnp.int32), *vectors)


def _scalar(x) -> jax.Array:
  return jnp.asarray(x, jnp.int32).reshape(1)


def implementation(*, interpret: bool = False) -> Implementation:
  """The kernels; `interpret=True` runs them on any platform, slowly."""
  return Implementation(
    functools.partial(forward, interpret=interpret),
    functools.partial(chunked.backward, logits_bar=functools.partial(logits_bar, interpret=interpret)),
  )


PALLAS = implementation()
