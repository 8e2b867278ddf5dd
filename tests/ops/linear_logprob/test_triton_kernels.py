"""The Triton kernels of `linear_logprob`, compiled for an H100 without a GPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="Triton is not installed: pip install triton")


def test_they_compile_for_hopper():
  environment = os.environ | {"TRITON_INTERPRET": "0", "JAX_PLATFORMS": "cpu"}
  path = Path(__file__).with_name("triton_compiles.py")
  done = subprocess.run([sys.executable, path], env=environment, capture_output=True, text=True, timeout=600)
  assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
