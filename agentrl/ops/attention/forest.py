"""Attention over rows that hold a forest, laid out depth first.

Token i sees token j exactly when `j <= i < subtree_end[j]`: j is i itself or one of its ancestors. Plain packing is a
forest of chains, a group with a shared prompt is one trunk with a branch per sample, a search tree is itself.
"""

import functools

import jax
import jax.numpy as jnp

PLAIN_MAX_LENGTH = 512  # up to here the [B, H, T, T] scores are held whole
QUERY_BLOCK = 256  # beyond it, [B, H, QUERY_BLOCK, T] of them at a time


def forest_attention(
  q: jax.Array, k: jax.Array, v: jax.Array, subtree_end: jax.Array, *, scale: float | None = None
) -> jax.Array:
  """Softmax attention of each token over itself and its ancestors, softmax in fp32.

  Short rows go to `reference_forest_attention`, longer ones to `blocked_forest_attention`; both give the same values.

  Args:
    q: `[B, T, H, C]`, positions already encoded.
    k: `[B, T, K, C]`, H a multiple of K; query heads `h * H / K` up to `(h + 1) * H / K` read key head h.
    v: `[B, T, K, C]`.
    subtree_end: int `[B, T]`, one past the last descendant of each token; 0 on padding.
    scale: factor on the scores; None means `C ** -0.5`.

  Returns:
    `[B, T, H, C]` in the dtype of `v`; 0 where a token sees nothing (padding).

  Raises:
    ValueError: shapes do not fit together, or H is not a multiple of K.
  """
  attend = reference_forest_attention if q.shape[1] <= PLAIN_MAX_LENGTH else blocked_forest_attention
  return attend(q, k, v, subtree_end, scale=scale)


def reference_forest_attention(
  q: jax.Array, k: jax.Array, v: jax.Array, subtree_end: jax.Array, *, scale: float | None = None
) -> jax.Array:
  """`forest_attention` with all `[B, H, T, T]` scores at once: the specification. Shapes as there."""
  _check_shapes(q, k, v, subtree_end)
  scale = q.shape[-1] ** -0.5 if scale is None else scale
  return _attend(q, k, v, subtree_end, jnp.arange(q.shape[1]), scale=scale)


def blocked_forest_attention(
  q: jax.Array,
  k: jax.Array,
  v: jax.Array,
  subtree_end: jax.Array,
  *,
  scale: float | None = None,
  query_block: int = QUERY_BLOCK,
) -> jax.Array:
  """`forest_attention` for one block of queries after the other, recomputed in the backward pass.

  Holds `[B, H, query_block, T]` scores at a time, forward and backward. Shapes as in `forest_attention`; T need not
  be a multiple of `query_block`.
  """
  _check_shapes(q, k, v, subtree_end)
  scale = q.shape[-1] ** -0.5 if scale is None else scale
  rows, length = q.shape[:2]
  blocks = -(-length // query_block)
  padded = jnp.pad(q, ((0, 0), (0, blocks * query_block - length), (0, 0), (0, 0)))
  q_blocks = padded.reshape(rows, blocks, query_block, *q.shape[2:]).swapaxes(0, 1)
  index_blocks = jnp.arange(blocks * query_block).reshape(blocks, query_block)

  @functools.partial(jax.checkpoint, prevent_cse=False)
  def attend(k, v, q_block, index):
    return _attend(q_block, k, v, subtree_end, index, scale=scale)

  _, out = jax.lax.scan(lambda _, block: ((), attend(k, v, *block)), (), (q_blocks, index_blocks))
  return out.swapaxes(0, 1).reshape(rows, blocks * query_block, *q.shape[2:])[:, :length]


def _attend(
  q: jax.Array, k: jax.Array, v: jax.Array, subtree_end: jax.Array, index: jax.Array, *, scale: float
) -> jax.Array:
  """Attention of the queries `[B, I, H, C]` that stand at `index [I]` over all T keys."""
  rows, queries, heads, channels = q.shape
  grouped = q.reshape(rows, queries, k.shape[2], heads // k.shape[2], channels)
  scores = jnp.einsum("bikgc,bjkc->bkgij", grouped, k, preferred_element_type=jnp.float32) * scale
  visible = _visible(subtree_end, index)[:, None, None]
  scores = jnp.where(visible, scores, -jnp.inf)
  peak = jax.lax.stop_gradient(jnp.max(scores, axis=-1, keepdims=True))
  # A token that sees nothing has peak -inf; 0 in its place keeps its weights, and their gradients, at 0 and not NaN.
  weights = jnp.exp(scores - jnp.where(jnp.isfinite(peak), peak, 0.0))
  total = jnp.sum(weights, axis=-1, keepdims=True)
  weights = weights / jnp.where(total > 0, total, 1.0)
  out = jnp.einsum("bkgij,bjkc->bikgc", weights.astype(v.dtype), v, preferred_element_type=jnp.float32)
  return out.reshape(rows, queries, heads, channels).astype(v.dtype)


def _visible(subtree_end: jax.Array, index: jax.Array) -> jax.Array:
  """bool `[B, I, T]`: whether the token at `index[i]` sees token j."""
  causal = jnp.arange(subtree_end.shape[1])[None, :] <= index[:, None]
  return causal[None] & (index[None, :, None] < subtree_end[:, None, :])


def _check_shapes(q: jax.Array, k: jax.Array, v: jax.Array, subtree_end: jax.Array) -> None:
  if q.ndim != 4 or k.shape != v.shape or k.shape[:2] != q.shape[:2] or k.shape[-1] != q.shape[-1]:
    raise ValueError(
      f"forest_attention needs q [B, T, H, C] and k, v [B, T, K, C]; got q {q.shape}, k {k.shape}, v {v.shape}"
    )
  if subtree_end.shape != q.shape[:2]:
    raise ValueError(f"subtree_end must be [B, T] = {q.shape[:2]}, one end per token; got {subtree_end.shape}")
  if q.shape[2] % k.shape[2]:
    raise ValueError(f"{q.shape[2]} query heads cannot share {k.shape[2]} key-value heads: H must be a multiple of K")
