"""Attention over the slot cache in plain XLA: every position it is handed is read, for every slot."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from agentrl.ops.attention.cache.store import Int8

BLOCK = 32  # positions that are summed at a time; lengths that are multiples of it need no padding


def xla(q: jax.Array, k: jax.Array | Int8, v: jax.Array | Int8, positions: jax.Array) -> jax.Array:
  """`cache_attention`; arguments and result as there, and already checked.

  Sums over positions are taken block by block, so that reading more of the cache than a query sees adds exact zeros to
  the same sums. (On a CPU, from about 4,000 scores on: XLA computes fewer in another way.)
  """
  (keys, key_scale), (values, value_scale) = _numbers(k, positions_axis=3), _numbers(v, positions_axis=2)
  batch, queries, heads, channels = q.shape
  kv_heads, length = keys.shape[1], keys.shape[3]
  grouped = q.reshape(batch, queries, kv_heads, heads // kv_heads, channels).transpose(0, 2, 3, 1, 4)
  grouped = grouped.reshape(batch, kv_heads, -1, channels)
  scores = jnp.einsum("bkgc,bkcs->bkgs", grouped, keys.astype(q.dtype), preferred_element_type=jnp.float32)
  scores = _scaled(scores, key_scale) * channels**-0.5
  seen = jnp.arange(length)[None, None] <= positions[:, :, None]
  seen = jnp.tile(seen, (1, heads // kv_heads, 1))[:, None]
  scores = jnp.where(seen, scores, -jnp.inf)
  weights = jnp.exp(scores - jnp.max(scores, axis=-1, keepdims=True))
  in_blocks = (*weights.shape[:-1], -1, BLOCK)
  total = jnp.sum(jnp.sum(weights.reshape(in_blocks), axis=-1), axis=-1, keepdims=True)
  weights = _scaled(weights, value_scale).reshape(in_blocks).swapaxes(2, 3).astype(q.dtype)
  blocks = values.astype(q.dtype).reshape(batch, kv_heads, -1, BLOCK, channels)
  mixed = jnp.einsum("bkngs,bknsc->bkngc", weights, blocks, preferred_element_type=jnp.float32)
  mixed = (jnp.sum(mixed, axis=2) / total).astype(q.dtype)
  mixed = mixed.reshape(batch, kv_heads, heads // kv_heads, queries, channels)
  return mixed.transpose(0, 3, 1, 2, 4).reshape(batch, queries, heads, channels)


def _numbers(held, *, positions_axis):
  """The array and its scales `[B, K, 1, S]`, or None; positions padded to whole blocks."""
  if isinstance(held, Int8):
    return _whole_blocks(held.values, positions_axis), _whole_blocks(held.scale, 2)[:, :, None]
  return _whole_blocks(held, positions_axis), None


def _whole_blocks(a, axis):
  missing = -a.shape[axis] % BLOCK
  if not missing:
    return a
  return jnp.pad(a, [(0, missing if i == axis else 0) for i in range(a.ndim)])


def _scaled(a, scale):
  return a if scale is None else a * scale
