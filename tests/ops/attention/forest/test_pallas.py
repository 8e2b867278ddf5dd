"""The Pallas kernels, lowered for a TPU; their numbers are in `test_implementations.py`."""

import jax
import jax.numpy as jnp
import pytest

from agentrl.ops.attention.forest.pallas import pallas_forest_attention

SCALE = 0.4


@pytest.mark.parametrize(("dtype", "channels"), [(jnp.bfloat16, 128), (jnp.float32, 64)])
def test_the_pallas_kernels_lower_for_a_tpu(dtype, channels):
  q, k, v = (jax.ShapeDtypeStruct((2, 1025, heads, channels), dtype) for heads in (4, 2, 2))
  ends = jax.ShapeDtypeStruct((2, 1025), jnp.int32)
  pull = jax.grad(lambda *x: jnp.sum(pallas_forest_attention(*x, scale=SCALE).astype(jnp.float32)), argnums=(0, 1, 2))
  text = jax.jit(pull).trace(q, k, v, ends).lower(lowering_platforms=("tpu",)).as_text()
  assert text.count("tpu_custom_call") == 3
