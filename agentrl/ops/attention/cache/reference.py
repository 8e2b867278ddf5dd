"""Attention over the slot cache with all scores at once, in fp32: the specification."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from agentrl.ops.attention.cache.store import Int8


def reference(q: jax.Array, k: jax.Array | Int8, v: jax.Array | Int8, positions: jax.Array) -> jax.Array:
  """`cache_attention`; arguments and result as there, and already checked."""
  batch, queries, heads, channels = q.shape
  keys, values = _numbers(k, axis=2), _numbers(v, axis=3)
  grouped = q.astype(jnp.float32).reshape(batch, queries, keys.shape[1], -1, channels)
  scores = jnp.einsum("bqkgc,bkcs->bqkgs", grouped, keys, precision="highest") * channels**-0.5
  seen = jnp.arange(keys.shape[3])[None, None] <= positions[:, :, None]
  weights = jax.nn.softmax(jnp.where(seen[:, :, None, None], scores, -jnp.inf), axis=-1)
  out = jnp.einsum("bqkgs,bksc->bqkgc", weights, values, precision="highest")
  return out.reshape(batch, queries, heads, channels).astype(q.dtype)


def _numbers(held, *, axis):
  """What is stored, in fp32; `axis` is that of the channels."""
  if isinstance(held, Int8):
    return held.values.astype(jnp.float32) * jnp.expand_dims(held.scale, axis)
  return held.astype(jnp.float32)
