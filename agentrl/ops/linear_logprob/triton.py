"""`linear_logprob` on NVIDIA GPUs: Triton kernels through jax-triton.

Forward is one kernel, whose programs each own a tile of tokens and a part of the vocabulary: tokens alone do not always
fill the device. Backward is that of "chunked", with a kernel that computes logits and their gradient and writes the
latter once, in the dtype of the inputs; the two products with it are those of the vendor's library. A kernel that kept
their sums on the chip instead would hold `[tokens, D]` in fp32, more than there is of registers from D = 512 on.

Unproven: it has not run on its device yet; its numbers are tested in an interpreter.
"""

import functools

import jax
import jax.numpy as jnp

from agentrl.ops import triton_call
from agentrl.ops.linear_logprob import chunked
from agentrl.ops.linear_logprob.differentiable import Implementation, RowConstants, Rows, Statistics, Tile
from agentrl.ops.linear_logprob.triton_launch import (
  combine,
  forward_parameters,
  launch_for,
  logits_bar_parameters,
  splits_of,
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
