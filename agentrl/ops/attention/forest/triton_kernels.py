"""Triton kernels of forest attention: forward, dK with dV, and dQ. Imported only where Triton is.

A program owns a tile of queries (forward, dQ) or of keys (dK and dV) of one row, and walks over the tiles that it sees
or that see it: first those that are seen whole, without any mask, then those seen in part. Nothing is added across
programs, so the same inputs give the same bits. Softmax is in base 2 (Dao, 2023, https://arxiv.org/abs/2307.08691).

Layouts: q, out `[B, T, H, C]`; k, v `[B, T, K, C]`; lse, delta fp32 `[B, H, T]`. WIDE is C, or the next power of two.
Tile lists are in units of TILE tokens, see `tiles.Tiles`; a program takes QUERIES by KEYS of them at a time.
"""

import triton
import triton.language as tl

LOG2E = tl.constexpr(1.4426950408889634)
# Finite, so that no infinity meets another: the running maximum of a query that saw nothing yet, and the log-sum-exp of
# one that sees nothing at all, with which its weights are 0 in the backward pass.
LOWEST = tl.constexpr(-1e30)
NEVER = tl.constexpr(1e30)
# Three TF32 products make an fp32 one; 16-bit inputs do not ask.
PRECISION = tl.constexpr("tf32x3")


@triton.jit
def _load(base, token, channel, stride, T: tl.constexpr, C: tl.constexpr, WIDE: tl.constexpr, CHECK: tl.constexpr):
  """`[tokens, WIDE]`, or its transpose if `token` comes as a row; CHECK where tokens may lie past the row's end."""
  pointers = base + token * stride + channel
  if CHECK and WIDE != C:
    return tl.load(pointers, mask=(token < T) & (channel < C), other=0.0)
  if CHECK:
    return tl.load(pointers, mask=token < T, other=0.0)
  if WIDE != C:
    return tl.load(pointers, mask=channel < C, other=0.0)
  return tl.load(pointers)


@triton.jit
def _store(base, token, channel, stride, value, T: tl.constexpr, C: tl.constexpr):
  tl.store(base + token * stride + channel, value, mask=(token < T) & (channel < C))


@triton.jit
def _attend(
  state, q, k, v, ends, list_of_keys, first, last, query, channel, stride,
  T: tl.constexpr, C: tl.constexpr, WIDE: tl.constexpr, SCALE: tl.constexpr, TILE: tl.constexpr, KEYS: tl.constexpr,
  MASKED: tl.constexpr,
):  # fmt: skip
  """Adds entries `first` to `last` of a list of key tiles to (out, peak, total) of a tile of queries."""
  out, peak, total = state
  PARTS: tl.constexpr = TILE // KEYS
  for t in range(first * PARTS, last * PARTS):
    key = tl.load(list_of_keys + t // PARTS) * TILE + (t % PARTS) * KEYS + tl.arange(0, KEYS)
    keys = _load(k, key[None, :], channel[:, None], stride, T, C, WIDE, MASKED)
    scores = tl.dot(q, keys, input_precision=PRECISION) * (SCALE * LOG2E)
    if MASKED:
      end = tl.load(ends + key, mask=key < T, other=0)
      scores = tl.where((key[None, :] <= query[:, None]) & (query[:, None] < end[None, :]), scores, float("-inf"))
    higher = tl.maximum(peak, tl.max(scores, 1))
    weights = tl.exp2(scores - higher[:, None])
    shrink = tl.exp2(peak - higher)
    values = _load(v, key[:, None], channel[None, :], stride, T, C, WIDE, MASKED)
    out = tl.dot(weights.to(values.dtype), values, out * shrink[:, None], input_precision=PRECISION)
    total = total * shrink + tl.sum(weights, 1)
    peak = higher
  return out, peak, total


@triton.jit
def forward_kernel(
  q, k, v, ends, list_of_keys, whole, live, out, lse,
  T: tl.constexpr, H: tl.constexpr, K: tl.constexpr, C: tl.constexpr, WIDE: tl.constexpr, SCALE: tl.constexpr,
  TILE: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
  """Grid: (query tiles, H, B), the longest lists first. `lse` is that of the scores in base 2."""
  TILES: tl.constexpr = (T + TILE - 1) // TILE
  block = tl.num_programs(0) - 1 - tl.program_id(0)
  head, row = tl.program_id(1), tl.program_id(2).to(tl.int64)
  tile = row * TILES + block * QUERIES // TILE
  query, channel = block * QUERIES + tl.arange(0, QUERIES), tl.arange(0, WIDE)
  kv = row * T * K * C + (head // (H // K)) * C
  queries = _load(q + row * T * H * C + head * C, query[:, None], channel[None, :], H * C, T, C, WIDE, True)
  peak = tl.full([QUERIES], LOWEST, tl.float32)
  state = tl.zeros([QUERIES, WIDE], tl.float32), peak, tl.zeros([QUERIES], tl.float32)
  seen_whole, seen = tl.load(whole + tile), tl.load(live + tile)
  state = _attend(
    state, queries, k + kv, v + kv, ends + row * T, list_of_keys + tile * TILES, 0, seen_whole, query, channel, K * C,
    T, C, WIDE, SCALE, TILE, KEYS, False,
  )  # fmt: skip
  total_out, peak, total = _attend(
    state, queries, k + kv, v + kv, ends + row * T, list_of_keys + tile * TILES, seen_whole, seen, query, channel,
    K * C, T, C, WIDE, SCALE, TILE, KEYS, True,
  )  # fmt: skip
  sees = total > 0
  total = tl.where(sees, total, 1.0)
  result = (total_out / total[:, None]).to(out.dtype.element_ty)
  _store(out + row * T * H * C + head * C, query[:, None], channel[None, :], H * C, result, T, C)
  tl.store(lse + (row * H + head) * T + query, tl.where(sees, peak + tl.log2(total), NEVER), mask=query < T)


@triton.jit
def _score_gradients(
  left, right, d_left, d_right, norm, shift, key, query, end, SCALE: tl.constexpr, MASKED: tl.constexpr
):
  """A tile's weights and the gradients of its scores, before scaling; vectors come as columns or rows of the tile.

  Scores are `left @ right`, and gradients of the weights `d_left @ d_right`. Without MASKED `end` is not read.
  """
  weights = tl.exp2(tl.dot(left, right, input_precision=PRECISION) * (SCALE * LOG2E) - norm)
  if MASKED:
    weights = tl.where((key <= query) & (query < end), weights, 0.0)
  return weights, weights * (tl.dot(d_left, d_right, input_precision=PRECISION) - shift)


@triton.jit
def _pull_keys(
  grads, q, d_out, lse, delta, keys, values, end, key, channel, first, count,
  T: tl.constexpr, H: tl.constexpr, C: tl.constexpr, WIDE: tl.constexpr, SCALE: tl.constexpr, QUERIES: tl.constexpr,
  GROUP: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
  """Adds `count` query blocks from `first` on, of every head of the group, to (dK, dV) of a tile of keys."""
  d_k, d_v = grads
  for t in range(count * GROUP):
    head = t // count
    query = (first + t % count) * QUERIES + tl.arange(0, QUERIES)
    inside = query < T
    queries = _load(q + head * C, query[:, None], channel[None, :], H * C, T, C, WIDE, MASKED)
    pulled = _load(d_out + head * C, query[:, None], channel[None, :], H * C, T, C, WIDE, MASKED)
    if MASKED:
      norm = tl.load(lse + head * T + query, mask=inside, other=NEVER)
      shift = tl.load(delta + head * T + query, mask=inside, other=0.0)
    else:
      norm, shift = tl.load(lse + head * T + query), tl.load(delta + head * T + query)
    weights, d_scores = _score_gradients(
      keys, tl.trans(queries), values, tl.trans(pulled), norm[None, :], shift[None, :], key[:, None], query[None, :],
      end[:, None], SCALE, MASKED,
    )  # fmt: skip
    d_v = tl.dot(weights.to(pulled.dtype), pulled, d_v, input_precision=PRECISION)
    d_k = tl.dot(d_scores.to(queries.dtype), queries, d_k, input_precision=PRECISION)
  return d_k, d_v


@triton.jit
def keys_kernel(
  q, k, v, ends, reach, floor, d_out, lse, delta, d_k, d_v,
  T: tl.constexpr, H: tl.constexpr, K: tl.constexpr, C: tl.constexpr, WIDE: tl.constexpr, SCALE: tl.constexpr,
  TILE: tl.constexpr, QUERIES: tl.constexpr,
):  # fmt: skip
  """dK and dV. Grid: (key tiles, K, B). The queries that see a key tile follow each other: no list is needed."""
  TILES: tl.constexpr = (T + TILE - 1) // TILE
  GROUP: tl.constexpr = H // K
  PARTS: tl.constexpr = TILE // QUERIES
  tile, head, row = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
  key, channel = tile * TILE + tl.arange(0, TILE), tl.arange(0, WIDE)
  kv = row * T * K * C + head * C
  keys = _load(k + kv, key[:, None], channel[None, :], K * C, T, C, WIDE, True)
  values = _load(v + kv, key[:, None], channel[None, :], K * C, T, C, WIDE, True)
  end = tl.load(ends + row * T + key, mask=key < T, other=0)
  q += row * T * H * C + head * GROUP * C
  d_out += row * T * H * C + head * GROUP * C
  lse += (row * H + head * GROUP) * T
  delta += (row * H + head * GROUP) * T
  # In blocks of queries: the diagonal, then what is seen whole, then the branches that end before the longest one.
  stop = (tl.load(reach + row * TILES + tile) + QUERIES - 1) // QUERIES
  after = (tile + 1) * PARTS
  parted = tl.maximum(after, tl.load(floor + row * TILES + tile) // QUERIES)
  grads = tl.zeros([TILE, WIDE], tl.float32), tl.zeros([TILE, WIDE], tl.float32)
  grads = _pull_keys(
    grads, q, d_out, lse, delta, keys, values, end, key, channel, tile * PARTS,
    tl.maximum(tl.minimum(after, stop) - tile * PARTS, 0), T, H, C, WIDE, SCALE, QUERIES, GROUP, True,
  )  # fmt: skip
  grads = _pull_keys(
    grads, q, d_out, lse, delta, keys, values, end, key, channel, after, parted - after,
    T, H, C, WIDE, SCALE, QUERIES, GROUP, False,
  )  # fmt: skip
  total_k, total_v = _pull_keys(
    grads, q, d_out, lse, delta, keys, values, end, key, channel, parted, tl.maximum(stop - parted, 0),
    T, H, C, WIDE, SCALE, QUERIES, GROUP, True,
  )  # fmt: skip
  _store(d_k + kv, key[:, None], channel[None, :], K * C, (total_k * SCALE).to(d_k.dtype.element_ty), T, C)
  _store(d_v + kv, key[:, None], channel[None, :], K * C, total_v.to(d_v.dtype.element_ty), T, C)


@triton.jit
def _pull_queries(
  d_q, q, d_out, norm, shift, k, v, ends, list_of_keys, first, last, query, channel, stride,
  T: tl.constexpr, C: tl.constexpr, WIDE: tl.constexpr, SCALE: tl.constexpr, TILE: tl.constexpr, KEYS: tl.constexpr,
  MASKED: tl.constexpr,
):  # fmt: skip
  """Adds entries `first` to `last` of a list of key tiles to dQ of a tile of queries."""
  PARTS: tl.constexpr = TILE // KEYS
  for t in range(first * PARTS, last * PARTS):
    key = tl.load(list_of_keys + t // PARTS) * TILE + (t % PARTS) * KEYS + tl.arange(0, KEYS)
    keys = _load(k, key[:, None], channel[None, :], stride, T, C, WIDE, MASKED)
    values = _load(v, key[None, :], channel[:, None], stride, T, C, WIDE, MASKED)
    end = tl.load(ends + key, mask=key < T, other=0)  # the compiler drops it where nothing is masked
    _, d_scores = _score_gradients(
      q, tl.trans(keys), d_out, values, norm[:, None], shift[:, None], key[None, :], query[:, None], end[None, :],
      SCALE, MASKED,
    )  # fmt: skip
    d_q = tl.dot(d_scores.to(keys.dtype), keys, d_q, input_precision=PRECISION)
  return d_q


@triton.jit
def queries_kernel(
  q, k, v, ends, list_of_keys, whole, live, d_out, lse, delta, d_q,
  T: tl.constexpr, H: tl.constexpr, K: tl.constexpr, C: tl.constexpr, WIDE: tl.constexpr, SCALE: tl.constexpr,
  TILE: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
  """dQ. Grid as of `forward_kernel`."""
  TILES: tl.constexpr = (T + TILE - 1) // TILE
  block = tl.num_programs(0) - 1 - tl.program_id(0)
  head, row = tl.program_id(1), tl.program_id(2).to(tl.int64)
  tile = row * TILES + block * QUERIES // TILE
  query, channel = block * QUERIES + tl.arange(0, QUERIES), tl.arange(0, WIDE)
  kv, mine = row * T * K * C + (head // (H // K)) * C, row * T * H * C + head * C
  queries = _load(q + mine, query[:, None], channel[None, :], H * C, T, C, WIDE, True)
  pulled = _load(d_out + mine, query[:, None], channel[None, :], H * C, T, C, WIDE, True)
  norm = tl.load(lse + (row * H + head) * T + query, mask=query < T, other=NEVER)
  shift = tl.load(delta + (row * H + head) * T + query, mask=query < T, other=0.0)
  seen_whole, seen = tl.load(whole + tile), tl.load(live + tile)
  total = _pull_queries(
    tl.zeros([QUERIES, WIDE], tl.float32), queries, pulled, norm, shift, k + kv, v + kv, ends + row * T,
    list_of_keys + tile * TILES, 0, seen_whole, query, channel, K * C, T, C, WIDE, SCALE, TILE, KEYS, False,
  )  # fmt: skip
  total = _pull_queries(
    total, queries, pulled, norm, shift, k + kv, v + kv, ends + row * T,
    list_of_keys + tile * TILES, seen_whole, seen, query, channel, K * C, T, C, WIDE, SCALE, TILE, KEYS, True,
  )  # fmt: skip
  _store(d_q + mine, query[:, None], channel[None, :], H * C, (total * SCALE).to(d_q.dtype.element_ty), T, C)
