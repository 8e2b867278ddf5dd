"""The Triton kernels compile for H100 and H200 on a machine without a GPU."""

import os

import jax
import jax.numpy as jnp
import pytest

from agentrl.ops.attention.cache.store import BLOCK, Int8

if os.environ.get("TRITON_INTERPRET") == "1":
  pytest.skip("the compiler's opposite was chosen", allow_module_level=True)
triton = pytest.importorskip("triton")

from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from agentrl.ops import triton_call  # noqa: E402
from agentrl.ops.attention.cache import triton as kernels  # noqa: E402

HOPPER = GPUTarget("cuda", 90, 32)
NAMES = {"float32": "fp32", "bfloat16": "bf16", "int32": "i32", "int8": "i8"}


@pytest.fixture
def compiled(monkeypatch):
  """What a launch would run, by the name of the kernel."""
  done = {}

  def launch(kernel, inputs, outputs, *, grid, warps, stages, **constants):
    arrays = (*inputs, *outputs)
    types = ["*" + NAMES[a.dtype.name] for a in arrays] + ["constexpr"] * (len(kernel.arg_names) - len(arrays))
    source = ASTSource(
      kernel,
      signature=dict(zip(kernel.arg_names, types, strict=True)),
      constexprs={(kernel.arg_names.index(name),): value for name, value in constants.items()},
      attrs={(i,): [["tt.divisibility", 16]] for i in range(len(arrays))},  # what jax-triton promises of arrays
    )
    options = {"num_warps": warps, "num_stages": stages}
    done[kernel.fn.__name__] = triton.compile(source, target=HOPPER, options=options)
    assert all(0 < size < 2**31 for size in grid)
    return [jnp.zeros(o.shape, o.dtype) for o in outputs]

  monkeypatch.setattr(triton_call, "launch", launch)
  return done


@pytest.mark.parametrize(
  ("dtype", "cache_dtype", "queries"),
  [("bfloat16", "bfloat16", 1), ("bfloat16", "int8", 1), ("float32", "float32", 1), ("bfloat16", "bfloat16", 32)],
)
def test_compiles_for_hopper(compiled, dtype, cache_dtype, queries):
  """Qwen3-4B's heads over a cache of 4096 positions; a chunk of prefill last. Shared memory must fit an SM twice."""
  batch, heads, kv_heads, channels, length = 2, 32, 8, 128, 4096
  k = jax.ShapeDtypeStruct((batch, kv_heads, length // BLOCK, channels, BLOCK), jnp.dtype(cache_dtype))
  v = jax.ShapeDtypeStruct((batch, kv_heads, length, channels), jnp.dtype(cache_dtype))
  if cache_dtype == "int8":
    scale = jax.ShapeDtypeStruct((batch, kv_heads, length), jnp.float32)
    k, v = Int8(k, scale), Int8(v, scale)
  q = jax.ShapeDtypeStruct((batch, queries, heads, channels), jnp.dtype(dtype))
  out = kernels.triton(q, k, v, jnp.zeros((batch, queries), jnp.int32))
  assert out.shape == q.shape and out.dtype == q.dtype
  part, join = compiled["part_kernel"], compiled["join_kernel"]
  assert part.asm["cubin"] and join.asm["cubin"]
  assert part.metadata.shared <= 227 * 1024 // (2 if dtype == "bfloat16" else 1)
  if dtype == "bfloat16":
    assert "mma" in part.asm["ptx"]


def test_channels_that_the_kernel_cannot_tile_are_refused():
  with pytest.raises(ValueError, match="needs q with 16, 32, 64, 128 or 256 channels; got 96"):
    kernels.triton(
      jnp.zeros((1, 1, 1, 96)), jnp.zeros((1, 1, 1, 96, 64)), jnp.zeros((1, 1, 64, 96)), jnp.zeros((1, 1), jnp.int32)
    )
