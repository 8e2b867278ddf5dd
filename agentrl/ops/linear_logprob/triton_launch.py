"""How the Triton kernels of `linear_logprob` are launched; imports no Triton, so that it is tested without one."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from agentrl.ops.linear_logprob.differentiable import RowConstants, Statistics

_PROGRAMS = 528  # four for each processor of an H100 or H200


class Launch(NamedTuple):
  """What a program computes at a time, and with what."""

  tokens: int  # M
  columns: int  # C
  channels: int  # K
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
  return {"N": tokens, "V": V, "D": D, "SPLIT": part, "M": launch.tokens, "C": launch.columns, "K": launch.channels}


def logits_bar_parameters(
  tokens: int, shape: tuple[int, int], constants: RowConstants, launch: Launch
) -> dict[str, Any]:
  """Compile-time arguments of `logits_bar_kernel`; a cotangent that is None costs nothing."""
  V, D = shape
  return {
    "N": tokens,
    "V": V,
    "D": D,
    "HAS_TAKEN": constants.taken is not None,
    "HAS_SOFTMAX": constants.offset is not None,
    "HAS_SLOPE": constants.slope is not None,
    "M": launch.tokens,
    "C": launch.columns,
    "K": launch.channels,
    "GROUP": 8,
  }


def combine(peak: jax.Array, total: jax.Array, weighted: jax.Array, taken: jax.Array) -> Statistics:
  """Statistics `[N]` from those of parts of the vocabulary, `[S, N]` and in base 2."""
  highest = jnp.max(peak, axis=0, keepdims=True)
  share = jnp.exp2(peak - highest)
  whole = jnp.sum(share * total, axis=0)
  distance = jnp.sum(share * (weighted + (peak - highest) * total), axis=0)
  return Statistics(
    taken=jnp.sum(taken, axis=0) * math.log(2),
    logsumexp=(highest[0] + jnp.log2(whole)) * math.log(2),
    entropy=(jnp.log2(whole) - distance / whole) * math.log(2),
  )
