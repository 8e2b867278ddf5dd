"""The Triton kernels without a GPU: compiled for Hopper, run by Triton's own interpreter, launched on a stub."""

from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from agentrl.ops import triton_call
from agentrl.ops.linear_logprob.differentiable import Rows, Tile, statistics
from agentrl.ops.linear_logprob.triton import TRITON

pytest.importorskip("triton", reason="Triton is not installed: pip install triton")


def test_numbers_of_the_kernels(run_interpreted):
  run_interpreted(Path(__file__).with_name("test_implementations.py"), "triton")


def test_every_parameter_of_the_kernels_is_given(monkeypatch):
  seen = []

  def launch(kernel, inputs, outputs, *, grid, warps, stages, **constants):
    pointers = len(inputs) + len(outputs)
    assert kernel.arg_names[pointers:] == [name for name in kernel.arg_names if name in constants]
    assert set(constants) <= set(kernel.arg_names)
    seen.append((kernel.__name__, grid))
    return [jnp.zeros(x.shape, x.dtype) for x in outputs]

  monkeypatch.setattr(triton_call, "launch", launch)

  def loss(hidden, rows, tokens):
    out = statistics(TRITON, Tile(4096, 8192), Rows(hidden, tokens, jnp.ones(tokens.shape), 8192), rows)
    return jnp.sum(out.taken) + jnp.sum(out.entropy)

  shapes = [((8192, 1024), jnp.bfloat16), ((151_936, 1024), jnp.bfloat16), ((8192,), jnp.int32)]
  bars = jax.eval_shape(jax.grad(loss, argnums=(0, 1)), *(jax.ShapeDtypeStruct(*s) for s in shapes))
  assert [x.shape for x in bars] == [(8192, 1024), (151_936, 1024)]
  # 64 tiles of 128 tokens; the vocabulary in 8 parts makes 512 programs. Then 32 x 32 tiles of 128 x 256.
  assert seen == [("forward_kernel", (64, 8)), ("logits_bar_kernel", (1024,))]
