"""Attention of a few queries per slot over the slot cache.

`store` says how keys and values lie; one file per implementation, of which `reference` is the specification.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from agentrl.named import by_name
from agentrl.ops import triton_call
from agentrl.ops.attention.cache.reference import reference
from agentrl.ops.attention.cache.store import BLOCK, CACHE_DTYPES, Int8, numbers_of, whole_blocks
from agentrl.ops.attention.cache.xla import xla

__all__ = [
  "BLOCK",
  "CACHE_DTYPES",
  "IMPLEMENTATIONS",
  "Int8",
  "cache_attention",
  "reads_each_slots_length",
  "whole_blocks",
]


def _triton(q: jax.Array, k: jax.Array | Int8, v: jax.Array | Int8, positions: jax.Array) -> jax.Array:
  triton_call.require("cache_attention: implementation='triton'")
  from agentrl.ops.attention.cache.triton import triton

  return triton(q, k, v, positions)


# (q, k, v, positions) as `cache_attention` takes them -> [B, T, H, C]
IMPLEMENTATIONS = {"reference": reference, "xla": xla, "triton": _triton}


def cache_attention(
  q: jax.Array,
  k: jax.Array | Int8,
  v: jax.Array | Int8,
  positions: jax.Array,
  *,
  implementation: str | None = None,
) -> jax.Array:
  """softmax(q k / sqrt(C)) v over the cache positions up to each query's own.

  How long other slots are does not change how a slot's result is rounded, in any implementation. Products are taken
  in q's dtype, to which the cache is converted as it is read; scores, softmax and sums are fp32.

  Args:
    q: `[B, T, H, C]`, T queries per slot.
    k: `[B, K, S / BLOCK, C, BLOCK]`, keys in blocks of `BLOCK` positions, channel-major in each; H is a multiple of K.
      An `Int8` holds them in 8 bits with scales `[B, K, S]`.
    v: `[B, K, S, C]`, or `Int8`.
    positions: int32 `[B, T]`; a query sees the cache positions `<= positions[b, q]`, at least one.
    implementation: "reference" holds `[B, T, H, S]` scores; "xla" as well, and reads all S positions of every slot:
      hand it no more of the cache than the longest needs; "triton" (NVIDIA GPUs) reads what each slot needs. None means
      "xla": no recorded run shows another to be faster yet.

  Returns:
    `[B, T, H, C]` in q's dtype.

  Raises:
    ValueError: shapes or dtypes do not fit together, no such implementation, or it cannot run here.
  """
  compute = by_name(IMPLEMENTATIONS, _choice(implementation), kind="cache_attention implementation")
  _check(q, k, v, positions)
  return compute(q, k, v, positions)


def reads_each_slots_length(implementation: str | None) -> bool:
  """Whether the cost follows each slot's own length, whatever part of the cache is handed over."""
  return _choice(implementation) == "triton"


def _choice(implementation: str | None) -> str:
  return "xla" if implementation is None else implementation


def _check(q: jax.Array, k: jax.Array | Int8, v: jax.Array | Int8, positions: jax.Array) -> None:
  if isinstance(k, Int8) != isinstance(v, Int8):
    raise ValueError(f"k and v must both be Int8 or both be arrays; got {type(k).__name__} and {type(v).__name__}")
  keys, values = numbers_of(k), numbers_of(v)
  if q.ndim != 4 or keys.ndim != 5 or (keys.shape[0], *keys.shape[3:]) != (q.shape[0], q.shape[3], BLOCK):
    raise ValueError(
      f"cache_attention needs q [B, T, H, C] and k [B, K, S / {BLOCK}, C, {BLOCK}]; got {q.shape} and {keys.shape}"
    )
  batch, kv_heads, blocks, channels, _ = keys.shape
  length = blocks * BLOCK
  if values.shape != (batch, kv_heads, length, channels):
    raise ValueError(f"v must be [B, K, S, C] = {(batch, kv_heads, length, channels)}; got {values.shape}")
  if q.shape[2] % kv_heads:
    raise ValueError(f"{q.shape[2]} query heads cannot share {kv_heads} key-value heads: H must be a multiple of K")
  if positions.shape != q.shape[:2] or not jnp.issubdtype(positions.dtype, jnp.integer):
    raise ValueError(f"positions must be integers [B, T] = {q.shape[:2]}; got {positions.dtype} {positions.shape}")
  _check_dtypes(q, k, v, (batch, kv_heads, length))


def _check_dtypes(q: jax.Array, k: jax.Array | Int8, v: jax.Array | Int8, scales: tuple[int, int, int]) -> None:
  if q.dtype not in (jnp.float32, jnp.bfloat16):
    raise ValueError(f"q must be float32 or bfloat16; got {q.dtype}")
  for name, a in (("k", k), ("v", v)):
    if isinstance(a, Int8):
      if a.scale.shape != scales or a.scale.dtype != jnp.float32:
        raise ValueError(f"{name}.scale must be float32 [B, K, S] = {scales}; got {a.scale.dtype} {a.scale.shape}")
    elif a.dtype not in (jnp.float32, jnp.bfloat16):
      raise ValueError(f"{name} must be float32, bfloat16 or Int8; got {a.dtype}")
