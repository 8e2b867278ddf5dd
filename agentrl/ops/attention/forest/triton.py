"""Forest attention by Triton kernels, for NVIDIA GPUs from Ampere on; block sizes are meant for Hopper.

Unproven: the kernels compile for compute capability 9.0 and their numbers are tested under Triton's interpreter; they
have not run on a GPU yet.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from agentrl.ops import triton_call
from agentrl.ops.attention.forest.tiles import find_tiles, saved


class Block(NamedTuple):
  """Queries by keys that a program takes at a time, its warps, and its stages of software pipelining."""

  queries: int
  keys: int
  warps: int
  stages: int


class Blocks(NamedTuple):
  """A block per kernel; all sides divide `tile`, the unit in which tiles are skipped."""

  tile: int
  forward: Block
  keys: Block  # dK and dV; its keys are a whole tile
  queries: Block  # dQ


# By C up to, for 16-bit inputs. At 64 and 128 the compiler keeps every accumulator in registers; at 128 with steps of
# 64 in the backward pass it spills 2.5 kB a thread.
BLOCKS = {
  64: Blocks(128, Block(128, 64, 4, 3), Block(64, 128, 8, 3), Block(128, 64, 8, 3)),
  128: Blocks(128, Block(128, 64, 8, 2), Block(32, 128, 8, 3), Block(128, 32, 8, 3)),
  256: Blocks(64, Block(64, 32, 8, 2), Block(32, 64, 8, 2), Block(64, 32, 8, 2)),
}
# fp32 inputs take twice the shared memory and three products each.
BLOCKS_FP32 = {
  128: Blocks(64, Block(64, 32, 4, 2), Block(32, 64, 8, 1), Block(64, 32, 8, 1)),
  256: Blocks(32, Block(32, 32, 4, 1), Block(32, 32, 8, 1), Block(32, 32, 8, 1)),
}


def default_blocks(channels: int, dtype: jnp.dtype) -> Blocks:
  """Raises ValueError for more channels than the kernels hold."""
  table = BLOCKS_FP32 if dtype == jnp.float32 else BLOCKS
  for most, blocks in table.items():
    if channels <= most:
      return blocks
  raise ValueError(f'implementation="triton" takes up to {max(table)} channels a head; q has C = {channels}')


def triton_forest_attention(
  q: jax.Array, k: jax.Array, v: jax.Array, subtree_end: jax.Array, *, scale: float, blocks: Blocks | None = None
) -> jax.Array:
  """`forest_attention` by three kernels: forward, dK with dV, dQ. Shapes as there, and already checked."""
  blocks = default_blocks(q.shape[-1], q.dtype) if blocks is None else blocks
  return _attend(scale, blocks, q, k, v, subtree_end.astype(jnp.int32))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _attend(scale, blocks, q, k, v, ends):
  return _forward(scale, blocks, q, k, v, ends)[0]


def _constants(scale, blocks, q, k):
  channels = q.shape[3]
  wide = max(16, 1 << (channels - 1).bit_length())
  return {
    "T": q.shape[1], "H": q.shape[2], "K": k.shape[2], "C": channels, "WIDE": wide, "SCALE": scale, "TILE": blocks.tile,
  }  # fmt: skip


def _like(*arrays):
  return [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in arrays]


def _forward(scale, blocks, q, k, v, ends):
  """Output in v's dtype, and log-sum-exp, base 2, fp32 `[B, H, T]`."""
  from agentrl.ops.attention.forest import triton_kernels

  rows, length, heads, _ = q.shape
  tiles, block = find_tiles(ends, blocks.tile), blocks.forward
  norms = jax.ShapeDtypeStruct((rows, heads, length), jnp.float32)
  out, lse = triton_call.launch(
    triton_kernels.forward_kernel, (q, k, v, ends, tiles.keys, tiles.whole, tiles.live), [*_like(q), norms],
    grid=(-(-length // block.queries), heads, rows), warps=block.warps, stages=block.stages,
    QUERIES=block.queries, KEYS=block.keys, **_constants(scale, blocks, q, k),
  )  # fmt: skip
  return out, lse


def _forward_rule(scale, blocks, q, k, v, ends):
  out, lse = saved(*_forward(scale, blocks, q, k, v, ends))
  return out, (q, k, v, ends, out, lse)


def _backward_rule(scale, blocks, kept, d_out):
  from agentrl.ops.attention.forest import triton_kernels

  q, k, v, ends, out, lse = kept
  rows, length, heads, _ = q.shape
  tiles, constants = find_tiles(ends, blocks.tile), _constants(scale, blocks, q, k)
  delta = jnp.sum(d_out.astype(jnp.float32) * out.astype(jnp.float32), axis=-1).swapaxes(1, 2)
  block = blocks.keys
  d_k, d_v = triton_call.launch(
    triton_kernels.keys_kernel, (q, k, v, ends, tiles.reach, tiles.floor, d_out, lse, delta), _like(k, v),
    grid=(-(-length // blocks.tile), k.shape[2], rows), warps=block.warps, stages=block.stages,
    QUERIES=block.queries, **constants,
  )  # fmt: skip
  block = blocks.queries
  (d_q,) = triton_call.launch(
    triton_kernels.queries_kernel,
    (q, k, v, ends, tiles.keys, tiles.whole, tiles.live, d_out, lse, delta), _like(q),
    grid=(-(-length // block.queries), heads, rows), warps=block.warps, stages=block.stages,
    QUERIES=block.queries, KEYS=block.keys, **constants,
  )  # fmt: skip
  return d_q, d_k, d_v, None


_attend.defvjp(_forward_rule, _backward_rule)
