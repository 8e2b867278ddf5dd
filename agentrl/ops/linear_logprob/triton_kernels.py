"""The two Triton kernels of `linear_logprob`: products whose epilogue is the softmax.

Both walk over K channels at a time and keep one fp32 tile of logits in registers. Exponentials are in base 2, which is
what the hardware computes.
"""

import triton
import triton.language as tl

LOG2_E = tl.constexpr(1.4426950408889634)
LN_2 = tl.constexpr(0.6931471805599453)
NEVER = tl.constexpr(-1.0e30)


@triton.jit
def _logits(
  hidden, rows, row, column, V: tl.constexpr, D: tl.constexpr, M: tl.constexpr, C: tl.constexpr, K: tl.constexpr
):
  """`hidden[row] @ rows[column].T`, fp32 `[M, C]`; rows beyond the last one repeat it."""
  k = tl.arange(0, K)
  safe = tl.minimum(column, V - 1).to(tl.int64)
  left = hidden + row.to(tl.int64)[:, None] * D + k[None, :]
  right = rows + safe[None, :] * D + k[:, None]
  logits = tl.zeros((M, C), tl.float32)
  for first in range(0, D, K):
    if D % K == 0:
      x = tl.load(left + first)
      y = tl.load(right + first)
    else:
      x = tl.load(left + first, mask=k[None, :] < D - first, other=0.0)
      y = tl.load(right + first, mask=k[:, None] < D - first, other=0.0)
    logits = tl.dot(x, y, logits, input_precision="tf32x3")
  return logits


@triton.jit
def forward_kernel(
  hidden,  # [N, D]
  rows,  # [V, D]
  tokens,  # int32 [N]
  scale,  # f32 [N]
  live,  # int32 [1]
  peak_out,  # f32 [SPLITS, N], as the three below; in base 2
  total_out,
  weighted_out,
  taken_out,
  N: tl.constexpr,
  V: tl.constexpr,
  D: tl.constexpr,
  SPLIT: tl.constexpr,  # columns of a split, a multiple of C
  M: tl.constexpr,
  C: tl.constexpr,
  K: tl.constexpr,
):
  """Running maximum `m` of `z log2(e)`, and sums of `2^(z - m)` and `2^(z - m) (z - m)`, over a split of the columns.

  Programs next to each other share a split, so that its columns are read from memory once, and from L2 by the others.
  """
  split = tl.program_id(1)
  first_row = tl.program_id(0) * M
  if first_row < tl.load(live):
    offsets = first_row + tl.arange(0, M)
    row = tl.minimum(offsets, N - 1)
    token = tl.load(tokens + row)
    base2 = tl.load(scale + row) * LOG2_E
    peak = tl.full((M,), NEVER, tl.float32)
    total = tl.zeros((M,), tl.float32)
    weighted = tl.zeros((M,), tl.float32)
    taken = tl.zeros((M,), tl.float32)
    begin = split * SPLIT
    end = tl.minimum(begin + SPLIT, V)
    for first in range(begin, end, C):
      column = first + tl.arange(0, C)
      logits = _logits(hidden, rows, row, column, V, D, M, C, K) * base2[:, None]
      if first + C > end:
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
    inside = offsets < N
    at = split.to(tl.int64) * N + offsets
    tl.store(peak_out + at, peak, mask=inside)
    tl.store(total_out + at, total, mask=inside)
    tl.store(weighted_out + at, weighted, mask=inside)
    tl.store(taken_out + at, taken, mask=inside)


@triton.jit
def logits_bar_kernel(
  hidden,  # [N, D]
  rows,  # [V, D], a tile of the vocabulary
  tokens,  # int32 [N], within the tile
  scale,  # f32 [N], as the four below
  logsumexp,
  taken_bar,
  offset,
  slope,
  skip,  # int32 [1], columns at the front that do not count
  out,  # [N, V], in the dtype of hidden
  N: tl.constexpr,
  V: tl.constexpr,
  D: tl.constexpr,
  HAS_TAKEN: tl.constexpr,
  HAS_SOFTMAX: tl.constexpr,
  HAS_SLOPE: tl.constexpr,
  M: tl.constexpr,
  C: tl.constexpr,
  K: tl.constexpr,
  GROUP: tl.constexpr,  # tiles of tokens that pass over the vocabulary together, and share its columns in L2
):
  """`taken 1[v = token] + p (offset - slope log p)`."""
  across = tl.cdiv(V, C)
  down = tl.cdiv(N, M)
  program = tl.program_id(0)
  group = program // (GROUP * across)
  size = tl.minimum(down - group * GROUP, GROUP)
  within = program % (GROUP * across)
  offsets = (group * GROUP + within % size) * M + tl.arange(0, M)
  column = (within // size) * C + tl.arange(0, C)
  row = tl.minimum(offsets, N - 1)
  bar = tl.zeros((M, C), tl.float32)
  if HAS_SOFTMAX:
    logits = _logits(hidden, rows, row, column, V, D, M, C, K)
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
  tl.store(at, bar.to(out.dtype.element_ty), mask=(offsets < N)[:, None] & (column < V)[None, :])
