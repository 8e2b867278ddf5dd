"""Attention over the slot cache in plain XLA: every position it is handed is read, for every slot."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from agentrl.ops.attention.cache.store import BLOCK, Int8, numbers_of


def xla(q: jax.Array, k: jax.Array | Int8, v: jax.Array | Int8, positions: jax.Array) -> jax.Array:
  """`cache_attention`; arguments and result as there, and already checked.

  One query per slot is decoding: products and sums are taken block by block, so that reading more of the cache than the
  query sees adds exact zeros to the same sums. (On a CPU, from about 4,000 scores on: XLA computes the exponentials of
  fewer in another way.) A product per block also keeps all cores of a CPU busy, which one per head does not. Several
  queries are a chunk of prefill, which always reads whole slots, at once.
  """
  batch, queries, heads, channels = q.shape
  length = numbers_of(v).shape[2]
  size = BLOCK if queries == 1 else length
  (keys, key_scale), (values, value_scale) = _keys(k, size), _values(v, size)
  kv_heads, blocks = keys.shape[1:3]
  grouped = q.reshape(batch, queries, kv_heads, heads // kv_heads, channels).transpose(0, 2, 3, 1, 4)
  grouped = grouped.reshape(batch, kv_heads, 1, -1, channels)
  grouped = jnp.broadcast_to(grouped, (batch, kv_heads, blocks, *grouped.shape[3:]))
  scores = jnp.einsum("bkngc,bkncs->bkngs", grouped, keys.astype(q.dtype), preferred_element_type=jnp.float32)
  scores = _scaled(scores, key_scale) * channels**-0.5
  at = jnp.arange(length).reshape(1, 1, blocks, 1, size)
  last_seen = jnp.tile(positions, (1, heads // kv_heads))[:, None, None, :, None]
  scores = jnp.where(at <= last_seen, scores, -jnp.inf)
  weights = jnp.exp(scores - jnp.max(scores, axis=(2, 4), keepdims=True))
  total = jnp.sum(jnp.sum(weights, axis=-1), axis=2)[..., None]
  weights = _scaled(weights, value_scale).astype(q.dtype)
  mixed = jnp.einsum("bkngs,bknsc->bkngc", weights, values.astype(q.dtype), preferred_element_type=jnp.float32)
  mixed = (jnp.sum(mixed, axis=2) / total).astype(q.dtype)
  mixed = mixed.reshape(batch, kv_heads, heads // kv_heads, queries, channels)
  return mixed.transpose(0, 3, 1, 2, 4).reshape(batch, queries, heads, channels)


def _keys(held: jax.Array | Int8, size: int) -> tuple[jax.Array, jax.Array | None]:
  """Keys `[B, K, S / size, C, size]`, and their scales `[B, K, S / size, 1, size]` or None."""
  keys, scale = held if isinstance(held, Int8) else (held, None)
  if size != BLOCK:
    keys = keys.swapaxes(2, 3).reshape(*keys.shape[:2], 1, keys.shape[3], size)
  return keys, _scales(scale, size)


def _values(held: jax.Array | Int8, size: int) -> tuple[jax.Array, jax.Array | None]:
  """Values `[B, K, S / size, size, C]`, and their scales `[B, K, S / size, 1, size]` or None."""
  values, scale = held if isinstance(held, Int8) else (held, None)
  return values.reshape(*values.shape[:2], -1, size, values.shape[3]), _scales(scale, size)


def _scales(scale: jax.Array | None, size: int) -> jax.Array | None:
  return None if scale is None else scale.reshape(*scale.shape[:2], -1, 1, size)


def _scaled(a: jax.Array, scale: jax.Array | None) -> jax.Array:
  return a if scale is None else a * scale
