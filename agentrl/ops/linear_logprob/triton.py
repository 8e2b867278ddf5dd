"""`linear_logprob` on NVIDIA GPUs: Triton kernels through jax-triton.

Forward is one kernel, whose programs each own a tile of tokens and a part of the vocabulary: tokens alone do not always
fill the device. Backward is that of "chunked", with a kernel that computes logits and their gradient and writes the
latter once, in the dtype of the inputs; the two products with it are those of the vendor's library. A kernel that kept
their sums on the chip instead would hold `[tokens, D]` in fp32, more than there is of registers from D = 512 on.

Unproven: it has not run on its device yet; its numbers are tested in an interpreter.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from agentrl.ops import triton_call
from agentrl.ops.linear_logprob import chunked
from agentrl.ops.linear_logprob.differentiable import Implementation, RowConstants, Rows, Statistics, Tile

_PROGRAMS = 528  # four for each processor of an H100 or H200


class Launch(NamedTuple):
  """What a program computes at a time, and with what."""

  tokens: int  # TILE_T
  columns: int  # TILE_V
  channels: int  # TILE_D
  warps: int
  stages: int


# Two tiles of operands of 128 x 64 and 64 x 256 in bf16, four deep, take 192 of 227 KiB of shared memory.
LAUNCH_16_BIT = Launch(tokens=128, columns=256, channels=64, warps=8, stages=4)
LAUNCH_32_BIT = Launch(tokens=64, columns=64, channels=32, warps=4, stages=3)


def launch_for(dtype: jnp.dtype) -> Launch:
  """The launch for inputs of a dtype."""
  return LAUNCH_16_BIT if dtype.itemsize == 2 else LAUNCH_32_BIT


def splits_of(tokens: int, vocabulary: int, launch: Launch) -> tuple[int, int]:
  """How many parts the vocabulary is in, and the columns of one: enough to fill the device, none empty."""
  tiles = -(-vocabulary // launch.columns)
  wanted = min(tiles, max(1, _PROGRAMS // -(-tokens // launch.tokens)))
  part = -(-tiles // wanted)
  return -(-tiles // part), part * launch.columns


def forward_parameters(tokens: int, shape: tuple[int, int], part: int, launch: Launch) -> dict[str, Any]:
  """Compile-time arguments of `forward_kernel` for `[V, D] = shape`."""
  V, D = shape
  return {
    "T": tokens,
    "V": V,
    "D": D,
    "SPLIT": part,
    "TILE_T": launch.tokens,
    "TILE_V": launch.columns,
    "TILE_D": launch.channels,
  }


def logits_bar_parameters(
  tokens: int, shape: tuple[int, int], constants: RowConstants, launch: Launch
) -> dict[str, Any]:
  """Compile-time arguments of `logits_bar_kernel`; a cotangent that is None costs nothing."""
  V, D = shape
  return {
    "T": tokens,
    "V": V,
    "D": D,
    "HAS_TAKEN": constants.taken is not None,
    "HAS_SOFTMAX": constants.offset is not None,
    "HAS_SLOPE": constants.slope is not None,
    "TILE_T": launch.tokens,
    "TILE_V": launch.columns,
    "TILE_D": launch.channels,
    "GROUP": 8,
  }


def combine(peak: jax.Array, total: jax.Array, weighted: jax.Array, taken: jax.Array) -> Statistics:
  """Statistics `[T]` from those of parts of the vocabulary, `[splits, T]` and in base 2."""
  highest = jnp.max(peak, axis=0, keepdims=True)
  share = jnp.exp2(peak - highest)
  whole = jnp.sum(share * total, axis=0)
  distance = jnp.sum(share * (weighted + (peak - highest) * total), axis=0)
  return Statistics(
    taken=jnp.sum(taken, axis=0) * math.log(2),
    logsumexp=(highest[0] + jnp.log2(whole)) * math.log(2),
    entropy=(jnp.log2(whole) - distance / whole) * math.log(2),
  )


def forward(tokens: Rows, rows: jax.Array, tile: Tile) -> Statistics:
  """Statistics of all tokens in one launch, and the parts of the vocabulary put together."""
  from agentrl.ops.linear_logprob.triton_kernels import forward_kernel

  del tile
  (count,) = tokens.tokens.shape
  launch = launch_for(rows.dtype)
  splits, part = splits_of(count, rows.shape[0], launch)
  live = jnp.asarray(tokens.live, jnp.int32).reshape(1)
  parts = triton_call.launch(
    forward_kernel,
    (tokens.hidden, rows, tokens.tokens.astype(jnp.int32), tokens.scale, live),
    [jax.ShapeDtypeStruct((splits, count), jnp.float32)] * 4,
    grid=(-(-count // launch.tokens), splits),
    warps=launch.warps,
    stages=launch.stages,
    **forward_parameters(count, rows.shape, part, launch),
  )
  out = combine(*parts)
  # Whole tiles of tokens that do not count were never written.
  return jax.tree.map(lambda x: jnp.where(jnp.arange(count) < live, x, 0.0), out)


def logits_bar(hidden: jax.Array, tile_rows: jax.Array, tokens: jax.Array, constants: RowConstants, skip: jax.Array):
  """The gradient of a tile of logits, in one launch."""
  from agentrl.ops.linear_logprob.triton_kernels import logits_bar_kernel

  launch = launch_for(hidden.dtype)
  unused = constants.scale  # a pointer that the kernel never reads
  vectors = [unused if x is None else x for x in constants]
  (bar,) = triton_call.launch(
    logits_bar_kernel,
    (hidden, tile_rows, tokens.astype(jnp.int32), *vectors, jnp.asarray(skip, jnp.int32).reshape(1)),
    [jax.ShapeDtypeStruct((hidden.shape[0], tile_rows.shape[0]), hidden.dtype)],
    grid=(-(-hidden.shape[0] // launch.tokens) * -(-tile_rows.shape[0] // launch.columns),),
    warps=launch.warps,
    stages=launch.stages,
    **logits_bar_parameters(hidden.shape[0], tile_rows.shape, constants, launch),
  )
  return bar


TRITON = Implementation(forward, functools.partial(chunked.backward, logits_bar=logits_bar))
