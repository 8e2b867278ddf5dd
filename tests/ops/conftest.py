"""Triton kernels without a GPU: where TRITON_INTERPRET=1 was set, tests run them in Triton's interpreter.

The interpreter is chosen when Triton is imported, so `run_interpreted` runs a file's tests in a process of its own.
"""

import os
import subprocess
import sys

import pytest

from agentrl.ops import triton_call, triton_interpreter


@pytest.fixture(autouse=True)
def _interpreter(monkeypatch):
  if os.environ.get("TRITON_INTERPRET") == "1":
    monkeypatch.setattr(triton_call, "launch", triton_interpreter.launch)
    monkeypatch.setattr(triton_call, "require", lambda argument: None)


@pytest.fixture
def run_interpreted():
  """`(path of a test file, pytest -k expression)`: fails where one of those tests does, or none is selected."""

  def run(path, selection):
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-W", "ignore", "-k", selection]
    environment = os.environ | {"TRITON_INTERPRET": "1", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([*command, path], env=environment, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0 and "passed" in done.stdout, done.stdout[-3000:] + done.stderr[-1000:]

  return run
