"""Which implementation and which tiles, from a table that recorded benchmarks fill."""

from collections.abc import Mapping
from typing import NamedTuple

from agentrl.ops.linear_logprob.chunked import ACCELERATOR_TILE, CPU_TILE
from agentrl.ops.linear_logprob.differentiable import Tile
from agentrl.ops.linear_logprob.table import TABLE

DEFAULT = "chunked"  # wherever no kernel has been shown to be faster


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
    tokens, width: N on one device, and D.
    implementation: None for the first, which is the fastest, of the device's entry in the table.
    table: `(device kind, shape class) -> {implementation: (tokens, columns) of a tile}`, fastest first.
  """
  known = table.get((device_kind, shape_class(tokens, width)), {})
  name = next(iter(known), DEFAULT) if implementation is None else implementation
  default = CPU_TILE if device_kind == "cpu" else ACCELERATOR_TILE
  return Choice(name, Tile(*known[name]) if name in known else default)
