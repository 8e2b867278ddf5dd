"""How a kernel is launched: on stubs of both versions of jax-triton, and lowered for an H100 by the real one."""

import os
import subprocess
import sys
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from agentrl.ops import triton_call

LOWERING = Path(sys.prefix) / "lowering"  # where scripts/setup_env.sh puts jax-triton and what it lowers with


def rule_of_two(used, equation):
  return [True], (used, equation)


def rule_of_three(used, live, equation):
  return [live], (used, equation)


@pytest.fixture(params=["out_shape", "out_type"])
def stub(monkeypatch, request):
  """A jax-triton, with what it was called with under `called`."""
  called = {}

  def old(*args, kernel, out_shape, grid, num_warps=None, num_stages=None, **constants):
    called.update(args=args, outputs=out_shape, grid=grid, warps=num_warps, stages=num_stages, constants=constants)
    return ["out"]

  def new(*args, kernel, out_type=None, grid, num_warps=None, num_stages=None, **constants):
    return old(
      *args, kernel=kernel, out_shape=out_type, grid=grid, num_warps=num_warps, num_stages=num_stages, **constants
    )

  module = types.SimpleNamespace(
    triton_call=old if request.param == "out_shape" else new,
    triton_lib=types.SimpleNamespace(triton_kernel_call_p="call"),
    called=called,
  )
  monkeypatch.setitem(sys.modules, "jax_triton", module)
  return module


def launch():
  x, out = jnp.zeros(3), jax.ShapeDtypeStruct((3,), jnp.float32)
  return x, out, triton_call.launch(print, [x], [out], grid=(2, 1), warps=4, stages=3, SIZE=16)


def test_the_outputs_are_named_as_the_installed_version_does(stub):
  x, out, result = launch()
  assert result == ["out"]
  assert stub.called["args"] == (x,) and stub.called["outputs"] == (out,) and stub.called["grid"] == (2, 1)
  assert stub.called["warps"] == 4 and stub.called["stages"] == 3 and stub.called["constants"] == {"SIZE": 16}


@pytest.mark.parametrize("rule", [rule_of_two, rule_of_three, None])
@pytest.mark.parametrize("version", [(0, 11, 2), (0, 12, 0)])
def test_dead_code_is_found_by_the_rule_that_jax_calls(monkeypatch, stub, version, rule):
  rules = {} if rule is None else {"call": rule}
  monkeypatch.setattr(triton_call, "dce_rules", rules)
  monkeypatch.setattr(jax, "__version_info__", version)
  launch()
  launch()
  if version >= (0, 12) and rule:
    assert rules["call"]("used", True, "equation") == ([True], ("used", "equation"))
  else:
    assert rules.get("call") is rule


@pytest.mark.skipif(not LOWERING.is_dir(), reason="scripts/setup_env.sh has not installed jax-triton here")
def test_programs_with_kernels_are_lowered_for_hopper():
  path = os.pathsep.join([str(LOWERING), *filter(None, [os.environ.get("PYTHONPATH")])])
  environment = os.environ | {"PYTHONPATH": path, "JAX_PLATFORMS": "cpu", "TRITON_INTERPRET": "0"}
  command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore"]
  command.append(str(Path(__file__).with_name("triton_lowers.py")))
  done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1200, check=False)
  assert done.returncode == 0 and " passed" in done.stdout, done.stdout[-3000:] + done.stderr[-1000:]
