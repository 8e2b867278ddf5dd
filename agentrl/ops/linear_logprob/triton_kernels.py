"""The two Triton kernels of `linear_logprob`: products whose epilogue is the softmax.

Both walk over the D channels, TILE_D at a time, and keep one fp32 tile of logits in registers. Exponentials are in base
2, which is what the hardware computes.
"""

import triton
import triton.language as tl

LOG2_E = tl.constexpr(1.4426950408889634)
LN_2 = tl.constexpr(0.6931471805599453)
NEVER = tl.constexpr(-1.0e30)


@triton.jit
def _logits(
  hidden,
  rows,
  row,
  column,
  V: tl.constexpr,
  D: tl.constexpr,
  TILE_T: tl.constexpr,
  TILE_V: tl.constexpr,
  TILE_D: tl.constexpr,
):
  """`hidden[row] @ rows[column].T`, fp32 `[TILE_T, TILE_V]`; rows beyond the last one repeat it."""
  k = tl.arange(0, TILE_D)
  safe = tl.minimum(column, V - 1).to(tl.int64)
  left = hidden + row.to(tl.int64)[:, None] * D + k[None, :]
  right = rows + safe[None, :] * D + k[:, None]
  logits = tl.zeros((TILE_T, TILE_V), tl.float32)
  for first in range(0, D, TILE_D):
    if D % TILE_D == 0:
      x = tl.load(left + first)
      y = tl.load(right + first)
    else:
      x = tl.load(left + first, mask=k[None, :] < D - first, other=0.0)
      y = tl.load(right + first, mask=k[:, None] < D - first, other=0.0)
    logits = tl.dot(x, y, logits, input_precision="tf32x3")
  return logits


@triton.jit
def forward_kernel(
  hidden,  # [T, D]
  rows,  # [V, D]
  tokens,  # int32 [T]
  scale,  # f32 [T]
  live,  # int32 [1]
  peak_out,  # f32 [SPLITS, T], as the three below; in base 2
  total_out,
  weighted_out,
  taken_out,
  T: tl.constexpr,
  V: tl.constexpr,
  D: tl.constexpr,
  SPLIT: tl.constexpr,  # columns of a split, a multiple of TILE_V
  TILE_T: tl.constexpr,
  TILE_V: tl.constexpr,
  TILE_D: tl.constexpr,
):
  """Running maximum `m` of `z log2(e)`, and sums of `2^(z - m)` and `2^(z - m) (z - m)`, over a split of the columns.

  Programs next to each other share a split, so that its columns are read from memory once, and from L2 by the others.
  """
  split = tl.program_id(1)
  first_row = tl.program_id(0) * TILE_T
  if first_row < tl.load(live):
    offsets = first_row + tl.arange(0, TILE_T)
    row = tl.minimum(offsets, T - 1)
    token = tl.load(tokens + row)
    base2 = tl.load(scale + row) * LOG2_E
    peak = tl.full((TILE_T,), NEVER, tl.float32)
    total = tl.zeros((TILE_T,), tl.float32)
    weighted = tl.zeros((TILE_T,), tl.float32)
    taken = tl.zeros((TILE_T,), tl.float32)
    begin = split * SPLIT
    end = tl.minimum(begin + SPLIT, V)
    for first in range(begin, end, TILE_V):
      column = first + tl.arange(0, TILE_V)
      logits = _logits(hidden, rows, row, column, V, D, TILE_T, TILE_V, TILE_D) * base2[:, None]
      if first + TILE_V > end:
        logits = tl.where((column < end)[None, :], logits, NEVER)
      new_peak = tl.maximum(peak, tl.max(logits, axis=1))
      distance = logits - new_peak[:, None]
      weight = tl.exp2(distance)
      rescale = tl.exp2(peak - new_peak)
      weighted = rescale * (weighted + (peak - new_peak) * total) + tl.sum(weight * distance, axis=1)
      total = rescale * total + tl.sum(weight, axis=1)
      hit = (column[None, :] == token[:, None]) & (column < end)[None, :]
      taken += tl.sum(tl.where(hit, logits, 0.0), axis=1)
      peak = new_peak
    inside = offsets < T
    at = split.to(tl.int64) * T + offsets
    tl.store(peak_out + at, peak, mask=inside)
    tl.store(total_out + at, total, mask=inside)
    tl.store(weighted_out + at, weighted, mask=inside)
    tl.store(taken_out + at, taken, mask=inside)


@triton.jit
def logits_bar_kernel(
  hidden,  # [T, D]
  rows,  # [V, D], a tile of the vocabulary
  tokens,  # int32 [T], within the tile
  scale,  # f32 [T], as the four below
  logsumexp,
  taken_bar,
  offset,
  slope,
  skip,  # int32 [1], columns at the front that do not count
  out,  # [T, V], in the dtype of hidden
  T: tl.constexpr,
  V: tl.constexpr,
  D: tl.constexpr,
  HAS_TAKEN: tl.constexpr,
  HAS_SOFTMAX: tl.constexpr,
  HAS_SLOPE: tl.constexpr,
  TILE_T: tl.constexpr,
  TILE_V: tl.constexpr,
  TILE_D: tl.constexpr,
  GROUP: tl.constexpr,  # tiles of tokens that pass over the vocabulary together, and share its columns in L2
):
  """`taken 1[v = token] + p (offset - slope log p)`."""
  across = tl.cdiv(V, TILE_V)
  down = tl.cdiv(T, TILE_T)
  program = tl.program_id(0)
  group = program // (GROUP * across)
  size = tl.minimum(down - group * GROUP, GROUP)
  within = program % (GROUP * across)
  offsets = (group * GROUP + within % size) * TILE_T + tl.arange(0, TILE_T)
  column = (within // size) * TILE_V + tl.arange(0, TILE_V)
  row = tl.minimum(offsets, T - 1)
  bar = tl.zeros((TILE_T, TILE_V), tl.float32)
  if HAS_SOFTMAX:
    logits = _logits(hidden, rows, row, column, V, D, TILE_T, TILE_V, TILE_D)
    log_p = logits * tl.load(scale + row)[:, None] - tl.load(logsumexp + row)[:, None]
    bar = tl.load(offset + row)[:, None]
    if HAS_SLOPE:
      bar -= tl.load(slope + row)[:, None] * log_p
    bar *= tl.exp2(log_p * LOG2_E)
  if HAS_TAKEN:
    token = tl.load(tokens + row)
    bar += tl.where(column[None, :] == token[:, None], tl.load(taken_bar + row)[:, None], 0.0)
  bar = tl.where((column >= tl.load(skip))[None, :], bar, 0.0)
  at = out + offsets.to(tl.int64)[:, None] * V + column[None, :]
  tl.store(at, bar.to(out.dtype.element_ty), mask=(offsets < T)[:, None] & (column < V)[None, :])
