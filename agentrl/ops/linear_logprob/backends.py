"""The implementations by name, each loaded when it is first asked for."""

import importlib

import jax

from agentrl.ops import triton_call
from agentrl.ops.linear_logprob.differentiable import Implementation
from agentrl.ops.named import by_name

# name -> (module, its `Implementation`, the platforms it runs on; None for all)
IMPLEMENTATIONS = {
  "reference": ("reference", "REFERENCE", None),
  "chunked": ("chunked", "CHUNKED", None),
  "triton": ("triton", "TRITON", ("gpu",)),
  "pallas": ("pallas", "PALLAS", ("tpu",)),
}


def available() -> list[str]:
  """Names of the implementations that this process's devices can run."""
  platform = jax.default_backend()
  return [name for name, (_, _, platforms) in IMPLEMENTATIONS.items() if platforms is None or platform in platforms]


def load(name: str) -> Implementation:
  """The implementation called `name`.

  Raises:
    ValueError: there is none, it does not run on this platform, or it needs a package that is not installed.
  """
  module, attribute, _ = by_name(IMPLEMENTATIONS, name, kind="linear_logprob implementation")
  if name not in available():
    raise ValueError(
      f"implementation={name!r} does not run on {jax.default_backend()}; here: None, {', '.join(available())}"
    )
  if name == "triton":
    triton_call.require("implementation='triton'")
  return getattr(importlib.import_module(f"agentrl.ops.linear_logprob.{module}"), attribute)
