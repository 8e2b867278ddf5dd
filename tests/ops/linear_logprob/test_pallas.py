"""The TPU kernels are lowered for a TPU without one; `test_implementations.py` has their numbers."""

import jax
import jax.numpy as jnp
import pytest

from agentrl.ops.linear_logprob.differentiable import Rows, Tile, statistics
from agentrl.ops.linear_logprob.pallas import PALLAS


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_lowers_for_a_tpu(dtype):
  def loss(hidden, rows, tokens, live):
    out = statistics(PALLAS, Tile(4096, 8192), Rows(hidden, tokens, jnp.ones(tokens.shape), live), rows)
    return jnp.sum(out.taken - out.logsumexp) + jnp.sum(out.entropy)

  shapes = [((8192, 1024), dtype), ((151_936, 1024), dtype), ((8192,), jnp.int32), ((), jnp.int32)]
  arguments = [jax.ShapeDtypeStruct(*s) for s in shapes]
  lowered = jax.export.export(jax.jit(jax.grad(loss, argnums=(0, 1))), platforms=["tpu"])(*arguments)
  assert lowered.mlir_module().count("tpu_custom_call") == 2
