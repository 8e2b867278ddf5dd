"""The implementations by name, each loaded when it is first asked for."""

import importlib
import importlib.util

import jax

from agentrl.named import by_name
from agentrl.ops import triton_call
from agentrl.ops.linear_logprob.differentiable import Implementation

# name -> (module, its `Implementation`, the platforms it runs on; None for all)
IMPLEMENTATIONS = {
  "reference": ("reference", "REFERENCE", None),
  "chunked": ("chunked", "CHUNKED", None),
  "triton": ("triton", "TRITON", ("gpu",)),
  "pallas": ("pallas", "PALLAS", ("tpu",)),
}


def available() -> list[str]:
  """Names of the implementations that this process can run: it has their device, and the packages they need."""
  missing = [] if importlib.util.find_spec("jax_triton") else ["triton"]
  return [name for name in IMPLEMENTATIONS if _has_device(name) and name not in missing]


def _has_device(name: str) -> bool:
  platforms = IMPLEMENTATIONS[name][2]
  return platforms is None or jax.default_backend() in platforms


def load(name: str) -> Implementation:
  """The implementation called `name`.

  Raises:
    ValueError: there is none, it does not run on this platform, or it needs a package that is not installed.
  """
  module, attribute, _ = by_name(IMPLEMENTATIONS, name, kind="linear_logprob implementation")
  if not _has_device(name):
    raise ValueError(
      f"implementation={name!r} does not run on {jax.default_backend()}; here: None, {', '.join(available())}"
    )
  if name == "triton":
    triton_call.require("implementation='triton'")
  return getattr(importlib.import_module(f"agentrl.ops.linear_logprob.{module}"), attribute)
