"""Attention of a few queries per slot over the slot cache."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp


def cache_attention(q: jax.Array, k: jax.Array, v: jax.Array, positions: jax.Array) -> jax.Array:
  """softmax(q k / sqrt(C)) v over the cache positions up to each query's own.

  Args:
    q: `[B, Q, H, C]`, Q queries per slot.
    k: `[B, K, C, S]`, channel-major keys; H is a multiple of K.
    v: `[B, K, S, C]`.
    positions: int32 `[B, Q]`; a query sees the cache positions `<= positions[b, q]`, at least one.

  Returns:
    `[B, Q, H, C]` in q's dtype; scores and softmax are fp32.
  """
  batch, queries, heads, channels = q.shape
  kv_heads, length = k.shape[1], k.shape[3]
  chex.assert_shape(k, (batch, kv_heads, channels, length))
  chex.assert_shape(v, (batch, kv_heads, length, channels))
  grouped = q.reshape(batch, queries, kv_heads, heads // kv_heads, channels).transpose(0, 2, 3, 1, 4)
  grouped = grouped.reshape(batch, kv_heads, -1, channels)
  scores = jnp.einsum("bkgc,bkcs->bkgs", grouped, k, preferred_element_type=jnp.float32) * channels**-0.5
  seen = jnp.arange(length)[None, None] <= positions[:, :, None]
  seen = jnp.tile(seen, (1, heads // kv_heads, 1))[:, None]
  weights = jax.nn.softmax(jnp.where(seen, scores, -jnp.inf), axis=-1).astype(v.dtype)
  mixed = jnp.einsum("bkgs,bksc->bkgc", weights, v)
  mixed = mixed.reshape(batch, kv_heads, heads // kv_heads, queries, channels)
  return mixed.transpose(0, 3, 1, 2, 4).reshape(batch, queries, heads, channels)
