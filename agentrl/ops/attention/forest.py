"""Attention over rows that hold a forest, laid out depth first.

Token i sees token j exactly when `j <= i < subtree_end[j]`: j is i itself or one of its ancestors. Plain packing is a
forest of chains, a group with a shared prompt is one trunk with a branch per sample, a search tree is itself.
"""

import jax
import jax.numpy as jnp

from agentrl.ops.attention.tiled import tiled_forest_attention

# Tokens of a tile; rows up to this length are one tile, and their [B, H, T, T] scores are held whole. Measured on
# a CPU (LOG.md); elsewhere every tile costs a launch or more, so they are larger (not measured).
TILE = {"cpu": 256}
TILE_ELSEWHERE = 1024


def forest_attention(
  q: jax.Array, k: jax.Array, v: jax.Array, subtree_end: jax.Array, *, scale: float | None = None
) -> jax.Array:
  """Softmax attention of each token over itself and its ancestors, softmax in fp32.

  Short rows go to `reference_forest_attention`, longer ones to `tiled_forest_attention`; both give the same values.

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
  tile = TILE.get(jax.default_backend(), TILE_ELSEWHERE)
  if q.shape[1] <= tile:
    return reference_forest_attention(q, k, v, subtree_end, scale=scale)
  _check_shapes(q, k, v, subtree_end)
  scale = q.shape[-1] ** -0.5 if scale is None else scale
  return tiled_forest_attention(q, k, v, subtree_end, scale=scale, tile=tile)


def reference_forest_attention(
  q: jax.Array, k: jax.Array, v: jax.Array, subtree_end: jax.Array, *, scale: float | None = None
) -> jax.Array:
  """`forest_attention` with all `[B, H, T, T]` scores at once: the specification. Shapes as there."""
  _check_shapes(q, k, v, subtree_end)
  scale = q.shape[-1] ** -0.5 if scale is None else scale
  rows, length, heads, channels = q.shape
  grouped = q.reshape(rows, length, k.shape[2], heads // k.shape[2], channels)
  scores = jnp.einsum("bikgc,bjkc->bkgij", grouped, k, preferred_element_type=jnp.float32) * scale
  scores = jnp.where(_visible(subtree_end)[:, None, None], scores, -jnp.inf)
  peak = jax.lax.stop_gradient(jnp.max(scores, axis=-1, keepdims=True))
  # A token that sees nothing has peak -inf; 0 in its place keeps its weights, and their gradients, at 0 and not NaN.
  weights = jnp.exp(scores - jnp.where(jnp.isfinite(peak), peak, 0.0))
  total = jnp.sum(weights, axis=-1, keepdims=True)
  weights = weights / jnp.where(total > 0, total, 1.0)
  out = jnp.einsum("bkgij,bjkc->bikgc", weights.astype(v.dtype), v, preferred_element_type=jnp.float32)
  return out.reshape(rows, length, heads, channels).astype(v.dtype)


def _visible(subtree_end: jax.Array) -> jax.Array:
  """bool `[B, T, T]`: whether token i sees token j."""
  index = jnp.arange(subtree_end.shape[1])
  return (index[None, :] <= index[:, None])[None] & (index[None, :, None] < subtree_end[:, None, :])


def _check_shapes(q: jax.Array, k: jax.Array, v: jax.Array, subtree_end: jax.Array) -> None:
  if q.ndim != 4 or k.shape != v.shape or k.shape[:2] != q.shape[:2] or k.shape[-1] != q.shape[-1]:
    raise ValueError(
      f"forest_attention needs q [B, T, H, C] and k, v [B, T, K, C]; got q {q.shape}, k {k.shape}, v {v.shape}"
    )
  if subtree_end.shape != q.shape[:2]:
    raise ValueError(f"subtree_end must be [B, T] = {q.shape[:2]}, one end per token; got {subtree_end.shape}")
  if q.shape[2] % k.shape[2]:
    raise ValueError(f"{q.shape[2]} query heads cannot share {k.shape[2]} key-value heads: H must be a multiple of K")
