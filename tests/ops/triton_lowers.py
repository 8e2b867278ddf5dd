"""Programs with Triton kernels, lowered for an H100 by the installed jax-triton: as far as one gets without a GPU.

What a launch asks of jax-triton, what becomes of a kernel's arguments, and what JAX does around the calls is then
as it is on a GPU. `test_triton_call.py` runs these tests where jax-triton is.
"""

import functools

import jax
import jax.numpy as jnp
import jax_triton
import pytest

from agentrl.ops.attention.cache import triton as cache_attention
from agentrl.ops.attention.cache.store import Int8
from agentrl.ops.attention.forest.triton import triton_forest_attention
from agentrl.ops.linear_logprob.differentiable import Rows, Tile, statistics
from agentrl.ops.linear_logprob.triton import TRITON


@pytest.fixture(autouse=True)
def hopper(monkeypatch):
  """Compute capability 9.0, there being no GPU to ask."""
  monkeypatch.setattr(jax_triton, "triton_call", functools.partial(jax_triton.triton_call, compute_capability=90))


def launches(function, *arguments):
  """How many kernels the lowered program calls."""
  lowered = jax.jit(function).trace(*arguments).lower(lowering_platforms=("cuda",))
  return lowered.as_text().count("@triton_kernel_call")


def array(*shape, dtype=jnp.bfloat16):
  return jax.ShapeDtypeStruct(shape, dtype)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_linear_logprob(dtype):
  def loss(hidden, rows, tokens):
    ones = jnp.ones(tokens.shape)
    out = statistics(TRITON, Tile(256, 1024), Rows(hidden, tokens, ones, jnp.sum(tokens >= 0)), rows)
    return jnp.sum(out.taken) + jnp.sum(out.entropy)

  arguments = array(256, 64, dtype=dtype), array(1000, 64, dtype=dtype), array(256, dtype=jnp.int32)
  assert launches(loss, *arguments) == 1
  assert launches(jax.grad(loss, argnums=(0, 1)), *arguments) == 2


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_forest_attention(dtype):
  def loss(q, k, v, ends):
    return jnp.sum(triton_forest_attention(q, k, v, ends, scale=0.125).astype(jnp.float32))

  q, k, ends = array(2, 300, 4, 64, dtype=dtype), array(2, 300, 2, 64, dtype=dtype), array(2, 300, dtype=jnp.int32)
  assert launches(loss, q, k, k, ends) == 1
  assert launches(jax.grad(loss, argnums=(0, 1, 2)), q, k, k, ends) == 3


@pytest.mark.parametrize("held", ["bfloat16", "int8"])
def test_cache_attention(held):
  k, v = array(2, 2, 8, 64, 64, dtype=jnp.dtype(held)), array(2, 2, 512, 64, dtype=jnp.dtype(held))
  if held == "int8":
    scale = array(2, 2, 512, dtype=jnp.float32)
    k, v = Int8(k, scale), Int8(v, scale)
  assert launches(cache_attention.triton, array(2, 1, 4, 64), k, v, array(2, 1, dtype=jnp.int32)) == 2
