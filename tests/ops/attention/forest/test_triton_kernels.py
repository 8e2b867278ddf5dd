"""The Triton kernels of the forest, compiled for an H100 without a GPU."""

import os

import jax.numpy as jnp
import pytest

from agentrl.ops.attention.forest.triton import default_blocks

pytest.importorskip("triton", reason="needs triton: pip install 'agentrl[triton]'")


def compile_for_hopper(kernel, types, block, constants):
  import triton
  from triton.backends.compiler import GPUTarget
  from triton.compiler import ASTSource

  signature = dict(zip(kernel.arg_names, [*types, *["constexpr"] * len(constants)], strict=True))
  aligned = {(i,): [["tt.divisibility", 16]] for i in range(len(types))}
  source = ASTSource(kernel, signature, constants, aligned)
  options = {"num_warps": block.warps, "num_stages": block.stages}
  return triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)


def compile_all(dtype, channels):
  """The compiled forward, key and query kernels of 8k rows of 16 heads."""
  from agentrl.ops.attention.forest import triton_kernels as kernels

  blocks = default_blocks(channels, jnp.dtype(dtype))
  x, f, i = {jnp.bfloat16: "*bf16", jnp.float32: "*fp32"}[dtype], "*fp32", "*i32"
  wide = 1 << (channels - 1).bit_length()
  shape = {"T": 8191, "H": 16, "K": 8, "C": channels, "WIDE": wide, "SCALE": channels**-0.5, "TILE": blocks.tile}
  forward, keys, queries = blocks.forward, blocks.keys, blocks.queries
  return [
    compile_for_hopper(
      kernels.forward_kernel, [x, x, x, i, i, i, i, x, f], forward,
      {**shape, "QUERIES": forward.queries, "KEYS": forward.keys},
    ),
    compile_for_hopper(
      kernels.keys_kernel, [x, x, x, i, i, i, x, f, f, x, x], keys, {**shape, "QUERIES": keys.queries}
    ),
    compile_for_hopper(
      kernels.queries_kernel, [x, x, x, i, i, i, i, x, f, f, x], queries,
      {**shape, "QUERIES": queries.queries, "KEYS": queries.keys},
    ),
  ]  # fmt: skip


def check(compiled):
  for kernel in compiled:
    assert "wgmma.mma_async" in kernel.asm["ptx"], "the tensor cores of Hopper are not used"
    assert kernel.metadata.shared <= 227 * 1024


@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="Triton interprets in this process")
def test_kernels_compile_for_hopper():
  check(compile_all(jnp.bfloat16, 64))


@pytest.mark.slow
@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="Triton interprets in this process")
@pytest.mark.parametrize(
  ("dtype", "channels"),
  [(jnp.bfloat16, 128), (jnp.bfloat16, 80), (jnp.bfloat16, 256), (jnp.float32, 64), (jnp.float32, 128)],
)
def test_kernels_of_other_shapes_compile_for_hopper(dtype, channels):
  check(compile_all(dtype, channels))
