"""Forest attention with all scores at once: the specification."""

import jax
import jax.numpy as jnp


def reference_forest_attention(
  q: jax.Array, k: jax.Array, v: jax.Array, subtree_end: jax.Array, *, scale: float
) -> jax.Array:
  """`forest_attention` by `[B, H, T, T]` scores, gradients by autodiff. Shapes as there, and already checked."""
  rows, length, heads, channels = q.shape
  grouped = q.reshape(rows, length, k.shape[2], heads // k.shape[2], channels)
  scores = jnp.einsum("bikgc,bjkc->bkgij", grouped, k, preferred_element_type=jnp.float32) * scale
  scores = jnp.where(visible(subtree_end)[:, None, None], scores, -jnp.inf)
  peak = jax.lax.stop_gradient(jnp.max(scores, axis=-1, keepdims=True))
  # A token that sees nothing has peak -inf; 0 in its place keeps its weights, and their gradients, at 0 and not NaN.
  weights = jnp.exp(scores - jnp.where(jnp.isfinite(peak), peak, 0.0))
  total = jnp.sum(weights, axis=-1, keepdims=True)
  weights = weights / jnp.where(total > 0, total, 1.0)
  out = jnp.einsum("bkgij,bjkc->bikgc", weights.astype(v.dtype), v, preferred_element_type=jnp.float32)
  return out.reshape(rows, length, heads, channels).astype(v.dtype)


def visible(subtree_end: jax.Array) -> jax.Array:
  """bool `[B, T, T]`: whether token i sees token j."""
  index = jnp.arange(subtree_end.shape[1])
  return (index[None, :] <= index[:, None])[None] & (index[None, :, None] < subtree_end[:, None, :])
