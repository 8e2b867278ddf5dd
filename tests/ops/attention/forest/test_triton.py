"""Triton's kernels without a GPU: their numbers under Triton's interpreter, their compilation for Hopper."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from agentrl.ops.attention.forest.triton import default_blocks

pytest.importorskip("triton", reason="needs triton: pip install 'agentrl[triton]'")


IMPLEMENTATIONS = Path(__file__).with_name("test_implementations.py")


def test_numbers_of_the_kernels(run_interpreted):
  run_interpreted(IMPLEMENTATIONS, "triton and (33-float32-3.0 or zeros or touched)")


@pytest.mark.slow
def test_numbers_of_the_kernels_everywhere(run_interpreted):
  run_interpreted(IMPLEMENTATIONS, "triton")


def test_more_channels_than_the_kernels_hold_are_refused():
  with pytest.raises(ValueError, match="up to 256 channels a head; q has C = 320"):
    default_blocks(320, jnp.dtype(jnp.bfloat16))


def test_a_missing_installation_is_named(monkeypatch):
  from agentrl.ops import triton_call

  monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
  monkeypatch.setitem(sys.modules, "jax_triton", None)
  with pytest.raises(ValueError, match=r'implementation="triton" needs jax-triton: pip install'):
    triton_call.require('implementation="triton"')
