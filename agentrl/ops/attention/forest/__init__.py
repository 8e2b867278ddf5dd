"""Attention over rows that hold a forest, laid out depth first.

Token i sees token j exactly when `j <= i < subtree_end[j]`: j is i itself or one of its ancestors. Plain packing is a
forest of chains, a group with a shared prompt is one trunk with a branch per sample, a search tree is itself.
"""

import functools

import jax
import jax.numpy as jnp

from agentrl.named import by_name
from agentrl.ops import triton_call
from agentrl.ops.attention.forest.cudnn import causal_attention
from agentrl.ops.attention.forest.pallas import pallas_forest_attention
from agentrl.ops.attention.forest.reference import reference_forest_attention
from agentrl.ops.attention.forest.tiled import tiled_forest_attention
from agentrl.ops.attention.forest.triton import triton_forest_attention

# Tokens of a tile of "tiled"; None takes "reference" for rows up to this length. Measured on a CPU (LOG.md); elsewhere
# every tile costs a launch or more, so they are larger (not measured).
TILE = {"cpu": 128, "gpu": 1024, "tpu": 1024}

# (q, k, v, subtree_end, *, scale) -> out
IMPLEMENTATIONS = {
  "reference": reference_forest_attention,
  "tiled": lambda *x, scale: tiled_forest_attention(*x, scale=scale, tile=_tile()),
  "triton": triton_forest_attention,
  "pallas": pallas_forest_attention,
  "cudnn": causal_attention,
}
DTYPES = (jnp.float32, jnp.bfloat16, jnp.float16)


def forest_attention(
  q: jax.Array,
  k: jax.Array,
  v: jax.Array,
  subtree_end: jax.Array,
  *,
  scale: float | None = None,
  implementation: str | None = None,
) -> jax.Array:
  """Softmax attention of each token over itself and its ancestors, softmax in fp32.

  Keys and values must be finite on padding too. Gradients are of first order and in reverse mode.

  Args:
    q: `[B, T, H, C]`, positions already encoded; fp32, bf16 or fp16.
    k: `[B, T, K, C]`, H a multiple of K; query heads `h * H / K` up to `(h + 1) * H / K` read key head h.
    v: `[B, T, K, C]`.
    subtree_end: int `[B, T]`, one past the last descendant of each token; 0 on padding, which ends the row.
    scale: factor on the scores, static; None means `C ** -0.5`.
    implementation: "reference" holds `[B, H, T, T]` scores; "tiled" a tile of them at a time, and skips tiles in
      which nothing is seen; "triton" the same in kernels, for NVIDIA GPUs; "pallas" for TPUs; "cudnn" for rows that
      hold one causal sequence each, and nothing else: it gives NaN for others. None takes "reference" for short rows
      and "tiled" for longer ones: no kernel has been measured yet.

  Returns:
    `[B, T, H, C]` in the dtype of `v`; 0 where a token sees nothing (padding).

  Raises:
    ValueError: shapes or dtypes do not fit together, no such implementation, or one that cannot run here.
  """
  _check(q, k, v, subtree_end)
  name = _automatic(q.shape[1]) if implementation is None else implementation
  attend = by_name(IMPLEMENTATIONS, name, kind="forest_attention implementation")
  if name in _REQUIRES:
    _REQUIRES[name](q)
  return attend(q, k, v, subtree_end, scale=q.shape[-1] ** -0.5 if scale is None else float(scale))


def _tile() -> int:
  return TILE[jax.default_backend()]


def _automatic(length: int) -> str:
  return "reference" if length <= _tile() else "tiled"


def _needs_triton(q: jax.Array) -> None:
  del q
  triton_call.require('implementation="triton"')


def _needs(platform: str, q: jax.Array, *, name: str, dtypes: tuple = DTYPES) -> None:
  if jax.default_backend() != platform:
    here = jax.default_backend()
    raise ValueError(f'implementation="{name}" runs on a {platform.upper()}; JAX runs on {here!r} here: take "tiled"')
  if q.dtype not in dtypes:
    raise ValueError(f'implementation="{name}" takes {" or ".join(d.__name__ for d in dtypes)}; q is {q.dtype}')


_REQUIRES = {
  "triton": _needs_triton,
  "pallas": functools.partial(_needs, "tpu", name="pallas", dtypes=(jnp.float32, jnp.bfloat16)),
  "cudnn": functools.partial(_needs, "gpu", name="cudnn", dtypes=(jnp.bfloat16, jnp.float16)),
}


def _check(q: jax.Array, k: jax.Array, v: jax.Array, subtree_end: jax.Array) -> None:
  if q.ndim != 4 or k.shape != v.shape or k.ndim != 4 or k.shape[:2] != q.shape[:2] or k.shape[-1] != q.shape[-1]:
    raise ValueError(
      f"forest_attention needs q [B, T, H, C] and k, v [B, T, K, C]; got q {q.shape}, k {k.shape}, v {v.shape}"
    )
  if q.dtype not in DTYPES or k.dtype != q.dtype or v.dtype != q.dtype:
    accepted = ", ".join(d.__name__ for d in DTYPES)
    raise ValueError(f"q, k and v must share one dtype of {accepted}; got {q.dtype}, {k.dtype} and {v.dtype}")
  if subtree_end.shape != q.shape[:2] or not jnp.issubdtype(subtree_end.dtype, jnp.integer):
    raise ValueError(
      f"subtree_end must be integers [B, T] = {q.shape[:2]}, one end per token; "
      f"got {subtree_end.dtype} {subtree_end.shape}"
    )
  if q.shape[2] % k.shape[2]:
    raise ValueError(f"{q.shape[2]} query heads cannot share {k.shape[2]} key-value heads: H must be a multiple of K")
