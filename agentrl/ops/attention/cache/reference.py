"""Attention over the slot cache with all scores at once, in fp32: the specification."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from agentrl.ops.attention.cache.store import Int8


def reference(q: jax.Array, k: jax.Array | Int8, v: jax.Array | Int8, positions: jax.Array) -> jax.Array:
  """`cache_attention`; arguments and result as there, and already checked."""
  batch, queries, heads, channels = q.shape
  keys, values = _keys(k), _values(v)
  grouped = q.astype(jnp.float32).reshape(batch, queries, keys.shape[1], -1, channels)
  scores = jnp.einsum("bqkgc,bksc->bqkgs", grouped, keys, precision="highest") * channels**-0.5
  seen = jnp.arange(keys.shape[2])[None, None] <= positions[:, :, None]
  weights = jax.nn.softmax(jnp.where(seen[:, :, None, None], scores, -jnp.inf), axis=-1)
  out = jnp.einsum("bqkgs,bksc->bqkgc", weights, values, precision="highest")
  return out.reshape(batch, queries, heads, channels).astype(q.dtype)


def _keys(held: jax.Array | Int8) -> jax.Array:
  """What is stored, in fp32 `[B, K, S, C]`."""
  if isinstance(held, Int8):
    return _keys(held.values) * held.scale[..., None]
  in_order = held.astype(jnp.float32).swapaxes(3, 4)
  return in_order.reshape(*held.shape[:2], -1, held.shape[3])


def _values(held: jax.Array | Int8) -> jax.Array:
  """What is stored, in fp32 `[B, K, S, C]`."""
  if isinstance(held, Int8):
    return held.values.astype(jnp.float32) * held.scale[..., None]
  return held.astype(jnp.float32)
