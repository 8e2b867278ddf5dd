"""Rows that are one plain causal sequence each, by cuDNN's attention."""

import jax
import jax.numpy as jnp


def causal_attention(
  q: jax.Array, k: jax.Array, v: jax.Array, subtree_end: jax.Array, *, scale: float, backend: str = "cudnn"
) -> jax.Array:
  """`forest_attention` of rows that hold a single chain, then padding; NaN in a row that holds anything else.

  Args:
    q: `[B, T, H, C]`, already checked, like the others; cuDNN takes 16-bit inputs alone.
    k: `[B, T, K, C]`.
    v: `[B, T, K, C]`.
    subtree_end: int32 `[B, T]`.
    scale: factor on the scores.
    backend: `implementation` of `jax.nn.dot_product_attention`.
  """
  length = jnp.max(subtree_end, axis=1).astype(jnp.int32)
  inside = jnp.arange(q.shape[1])[None] < length[:, None]
  out = jax.nn.dot_product_attention(
    q, k, v, scale=scale, is_causal=True, query_seq_lengths=length, key_value_seq_lengths=length, implementation=backend
  )
  plain = jnp.all(subtree_end == jnp.where(inside, length[:, None], 0), axis=1)
  out = jnp.where(inside[:, :, None, None], out, jnp.zeros((), out.dtype))
  return jnp.where(plain[:, None, None, None], out, jnp.full((), jnp.nan, out.dtype))
