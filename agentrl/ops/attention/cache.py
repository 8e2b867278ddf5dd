"""Attention of a few queries per slot over the slot cache."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp

BLOCK = 32  # positions that are summed at a time; lengths that are multiples of it need no padding


def cache_attention(q: jax.Array, k: jax.Array, v: jax.Array, positions: jax.Array) -> jax.Array:
  """softmax(q k / sqrt(C)) v over the cache positions up to each query's own.

  Sums over positions are taken block by block, so that reading more of the cache than a query sees adds exact zeros to
  the same sums: how long other slots are does not change how this one's are rounded. (On a CPU, from about 4,000 scores
  on: XLA computes fewer in another way.)

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
  if length % BLOCK:
    missing = -length % BLOCK
    k = jnp.pad(k, ((0, 0), (0, 0), (0, 0), (0, missing)))
    v = jnp.pad(v, ((0, 0), (0, 0), (0, missing), (0, 0)))
  grouped = q.reshape(batch, queries, kv_heads, heads // kv_heads, channels).transpose(0, 2, 3, 1, 4)
  grouped = grouped.reshape(batch, kv_heads, -1, channels)
  scores = jnp.einsum("bkgc,bkcs->bkgs", grouped, k, preferred_element_type=jnp.float32) * channels**-0.5
  seen = jnp.arange(k.shape[3])[None, None] <= positions[:, :, None]
  seen = jnp.tile(seen, (1, heads // kv_heads, 1))[:, None]
  scores = jnp.where(seen, scores, -jnp.inf)
  weights = jnp.exp(scores - jnp.max(scores, axis=-1, keepdims=True))
  weights = weights.reshape(*weights.shape[:-1], -1, BLOCK)
  total = jnp.sum(jnp.sum(weights, axis=-1), axis=-1, keepdims=True)
  blocks = v.reshape(batch, kv_heads, -1, BLOCK, channels)
  mixed = jnp.einsum("bkngs,bknsc->bkngc", weights.swapaxes(2, 3).astype(v.dtype), blocks)
  mixed = (jnp.sum(mixed, axis=2, dtype=jnp.float32) / total).astype(q.dtype)
  mixed = mixed.reshape(batch, kv_heads, heads // kv_heads, queries, channels)
  return mixed.transpose(0, 3, 1, 2, 4).reshape(batch, queries, heads, channels)
