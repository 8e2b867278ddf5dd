"""The Triton kernels without a GPU: compiled for Hopper, and run by Triton's own interpreter against float64."""

import importlib
import os
import subprocess
import sys
import types

import jax
import jax.numpy as jnp
import pytest

from agentrl.ops.linear_logprob.differentiable import Rows, Tile, statistics

pytest.importorskip("triton", reason="Triton is not installed: pip install triton")

# Triton reads TRITON_INTERPRET when it is imported, so that each of the two needs a process of its own.
_HERE = os.path.dirname(__file__)


@pytest.mark.parametrize(
  ("script", "interpret"), [("triton_compiles.py", "0"), ("triton_interpreted.py", "1")], ids=["ptx", "interpreter"]
)
def test_kernels(script, interpret):
  environment = os.environ | {"TRITON_INTERPRET": interpret, "JAX_PLATFORMS": "cpu"}
  path = os.path.join(_HERE, script)
  done = subprocess.run([sys.executable, path], env=environment, capture_output=True, text=True, timeout=600)
  assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]


@pytest.mark.parametrize(("version", "keyword"), [((0, 3, 1), "out_shape"), ((0, 4, 1), "out_type")])
def test_every_parameter_of_the_kernels_is_given(version, keyword, monkeypatch):
  """jax-triton itself cannot be imported without a JAX for CUDA: what it would be called with is looked at instead."""
  seen = []

  def triton_call(*arrays, kernel, grid, num_warps, num_stages, **rest):
    outputs = rest.pop(keyword)
    pointers = len(arrays) + len(jax.tree.leaves(outputs))
    assert kernel.arg_names[pointers:] == [n for n in kernel.arg_names if n in rest] and set(rest) <= set(
      kernel.arg_names
    )
    seen.append((kernel.__name__, grid))
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), outputs)

  stub = types.ModuleType("jax_triton")
  stub.__version_info__, stub.triton_call = version, triton_call
  name = "agentrl.ops.linear_logprob.triton"
  monkeypatch.setitem(sys.modules, "jax_triton", stub)
  monkeypatch.delitem(sys.modules, name, raising=False)
  implementation = importlib.import_module(name).TRITON
  monkeypatch.delitem(sys.modules, name)

  def loss(hidden, rows, tokens):
    out = statistics(implementation, Tile(4096, 8192), Rows(hidden, tokens, jnp.ones(tokens.shape), 8192), rows)
    return jnp.sum(out.taken) + jnp.sum(out.entropy)

  shapes = [((1, 8192, 1024), jnp.bfloat16), ((151_936, 1024), jnp.bfloat16), ((1, 8192), jnp.int32)]
  bars = jax.eval_shape(jax.grad(loss, argnums=(0, 1)), *(jax.ShapeDtypeStruct(*s) for s in shapes))
  assert [x.shape for x in bars] == [(1, 8192, 1024), (151_936, 1024)]
  # 64 tiles of 128 tokens; the vocabulary in 8 parts makes 512 programs. Then 32 x 32 tiles of 128 x 256.
  assert seen == [("forward_kernel", (64, 8)), ("logits_bar_kernel", (1024,))]
