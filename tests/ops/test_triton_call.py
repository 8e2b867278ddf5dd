"""How a kernel is launched under either version of jax-triton, without one."""

import sys
import types

import jax
import jax.numpy as jnp
import pytest

from agentrl.ops import triton_call


@pytest.mark.parametrize("keyword", ["out_shape", "out_type"])
def test_the_outputs_are_named_as_the_installed_version_does(monkeypatch, keyword):
  called = {}

  def old(*args, kernel, out_shape, grid, num_warps=None, num_stages=None, **constants):
    called.update(args=args, outputs=out_shape, grid=grid, warps=num_warps, stages=num_stages, constants=constants)
    return ["out"]

  def new(*args, kernel, out_type=None, grid, num_warps=None, num_stages=None, **constants):
    return old(
      *args, kernel=kernel, out_shape=out_type, grid=grid, num_warps=num_warps, num_stages=num_stages, **constants
    )

  module = types.SimpleNamespace(triton_call=old if keyword == "out_shape" else new)
  monkeypatch.setitem(sys.modules, "jax_triton", module)
  x, out = jnp.zeros(3), jax.ShapeDtypeStruct((3,), jnp.float32)
  assert triton_call.launch(print, [x], [out], grid=(2, 1), warps=4, stages=3, SIZE=16) == ["out"]
  assert called["args"] == (x,) and called["outputs"] == (out,) and called["grid"] == (2, 1)
  assert called["warps"] == 4 and called["stages"] == 3 and called["constants"] == {"SIZE": 16}
