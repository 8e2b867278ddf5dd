"""The implementations by name, each loaded when it is first asked for, and which of them is the fastest where."""

import importlib
import importlib.util
from collections.abc import Mapping
from typing import NamedTuple

import jax

from agentrl.named import by_name
from agentrl.ops import triton_call
from agentrl.ops.linear_logprob.chunked import ACCELERATOR_TILE, CPU_TILE
from agentrl.ops.linear_logprob.differentiable import Implementation, Tile

# name -> (module, its `Implementation`, the platforms it runs on; None for all)
IMPLEMENTATIONS = {
  "reference": ("reference", "REFERENCE", None),
  "chunked": ("chunked", "CHUNKED", None),
  "triton": ("triton", "TRITON", ("gpu",)),
  "pallas": ("pallas", "PALLAS", ("tpu",)),
}

# (device kind, shape class) -> {implementation: (tokens, columns) of a tile}, the fastest first. Written by
# `scripts/bench/tune_linear_logprob.py --write`, on the device of each entry. A device on which it was not run has no
# entry, and gets the default implementation and tiles.
TABLE = {("cpu", "narrow, few"): {"chunked": (1024, 2048)}}

DEFAULT = "chunked"  # wherever no kernel has been shown to be faster


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


class Choice(NamedTuple):
  """What computes a problem."""

  implementation: str
  tile: Tile


def shape_class(tokens: int, width: int) -> str:
  """The row of the table: "narrow" up to 1,024 wide, "few" up to 16,384 tokens."""
  return f"{'narrow' if width <= 1024 else 'wide'}, {'few' if tokens <= 16_384 else 'many'}"


def choose(
  device_kind: str,
  tokens: int,
  width: int,
  implementation: str | None = None,
  table: Mapping[tuple[str, str], Mapping[str, tuple[int, int]]] = TABLE,
) -> Choice:
  """The fastest recorded implementation, or the tiles of the one asked for.

  Args:
    device_kind: as JAX names it: "cpu", "NVIDIA H200".
    tokens: T on one device.
    width: D.
    implementation: None for the first, which is the fastest, of the device's entry in the table.
    table: `(device kind, shape class) -> {implementation: (tokens, columns) of a tile}`, fastest first.
  """
  known = table.get((device_kind, shape_class(tokens, width)), {})
  name = next(iter(known), DEFAULT) if implementation is None else implementation
  default = CPU_TILE if device_kind == "cpu" else ACCELERATOR_TILE
  return Choice(name, Tile(*known[name]) if name in known else default)
