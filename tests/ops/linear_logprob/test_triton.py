"""The Triton kernels without a GPU: compiled for Hopper, and run by Triton's own interpreter against float64."""

import os
import subprocess
import sys

import pytest

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
