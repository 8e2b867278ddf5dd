"""`linear_logprob` on NVIDIA GPUs: Triton kernels through jax-triton.

Forward is one kernel, whose programs each own a tile of tokens and a part of the vocabulary: tokens alone do not always
fill the device. Backward is that of "chunked", with a kernel that computes logits and their gradient and writes the
latter once, in the dtype of the inputs; the two products with it are those of the vendor's library. A kernel that kept
their sums on the chip instead would hold `[tokens, D]` in fp32, more than there is of registers from D = 512 on.
"""

import functools

import jax
import jax.numpy as jnp

from agentrl.ops.linear_logprob import chunked
from agentrl.ops.linear_logprob.differentiable import Implementation, RowConstants, Rows, Statistics, Tile
from agentrl.ops.linear_logprob.triton_launch import (
  combine,
  forward_parameters,
  launch_for,
  logits_bar_parameters,
  splits_of,
)

try:
  import jax_triton
  import triton  # noqa: F401
except ImportError as error:
  raise ImportError(
    "implementation='triton' needs jax-triton and a JAX for CUDA: pip install 'agentrl[triton,cuda]'"
  ) from error

from agentrl.ops.linear_logprob.triton_kernels import forward_kernel, logits_bar_kernel

# jax-triton 0.3 pairs with JAX 0.10, 0.4 with JAX 0.11 and later.
_OUT = "out_type" if jax_triton.__version_info__ >= (0, 4) else "out_shape"


def forward(tokens: Rows, rows: jax.Array, tile: Tile) -> Statistics:
  """Statistics of all tokens in one launch, and the parts of the vocabulary put together."""
  del tile
  groups, count = tokens.tokens.shape
  if groups > 1:
    raise ValueError("implementation='triton' computes on one device; use sharded_linear_logprob on several")
  launch = launch_for(rows.dtype)
  splits, part = splits_of(count, rows.shape[0], launch)
  hidden, taken, scale = (x[0] for x in tokens[:3])
  parts = jax_triton.triton_call(
    hidden,
    rows,
    taken.astype(jnp.int32),
    scale,
    jnp.asarray(tokens.live, jnp.int32).reshape(1),
    kernel=forward_kernel,
    grid=(-(-count // launch.tokens), splits),
    num_warps=launch.warps,
    num_stages=launch.stages,
    **{_OUT: [jax.ShapeDtypeStruct((splits, count), jnp.float32)] * 4},
    **forward_parameters(count, rows.shape, part, launch),
  )
  out = combine(*parts)
  # Whole tiles of tokens that do not count were never written.
  live = jnp.arange(count) < tokens.live
  return jax.tree.map(lambda x: jnp.where(live, x, 0.0)[None], out)


def logits_bar(hidden: jax.Array, tile_rows: jax.Array, tokens: jax.Array, constants: RowConstants, skip: jax.Array):
  """The gradient of a tile of logits, in one launch."""
  launch = launch_for(hidden.dtype)
  unused = constants.scale  # a pointer that the kernel never reads
  return jax_triton.triton_call(
    hidden,
    tile_rows,
    tokens.astype(jnp.int32),
    constants.scale,
    constants.logsumexp,
    unused if constants.taken is None else constants.taken,
    unused if constants.offset is None else constants.offset,
    unused if constants.slope is None else constants.slope,
    jnp.asarray(skip, jnp.int32).reshape(1),
    kernel=logits_bar_kernel,
    grid=(-(-hidden.shape[0] // launch.tokens) * -(-tile_rows.shape[0] // launch.columns),),
    num_warps=launch.warps,
    num_stages=launch.stages,
    **{_OUT: jax.ShapeDtypeStruct((hidden.shape[0], tile_rows.shape[0]), hidden.dtype)},
    **logits_bar_parameters(hidden.shape[0], tile_rows.shape, constants, launch),
  )


TRITON = Implementation(forward, functools.partial(chunked.backward, logits_bar=logits_bar))
