"""What the report reads of the JSON that a run writes: its fields, and a check of them.

The check stands where a file is read. What is drawn afterwards is as a run writes it, so that an error in drawing is
an error of the report and not of the file.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

ANY = object  # shown as text, whatever it is


@dataclasses.dataclass(frozen=True)
class OrNone:
  """The value may be null."""

  shape: Any


@dataclasses.dataclass(frozen=True)
class ValuesOf:
  """An object of any keys, whose values have this shape."""

  shape: Any


@dataclasses.dataclass(frozen=True)
class MayLack:
  """A field that files of earlier runs do not have."""

  shape: Any


# A type; a list of the shape of its entries; an object with the shapes of its fields, which may have others.
Shape = type | OrNone | ValuesOf | MayLack | Sequence[Any] | Mapping[str, Any]

START: Shape = {
  "time": ANY,
  "commit": OrNone(str),
  "versions": {"jax": ANY},
  "machine": {"devices": ANY, "cores": ANY, "processor": str},
}
RESULT: Shape = {
  "name": ANY, "arguments": ValuesOf(ANY), "text": ANY, "ok": bool, "failure": ANY, "seconds": float,
  "cost": MayLack(float),
}  # fmt: skip
ROW: Shape = {
  "task_id": str,
  "question": ANY,
  "reference": ANY,
  "stratum": MayLack(str),
  "stop": str,
  "failure": MayLack(OrNone({"kind": ANY, "reason": ANY})),
  "reward": OrNone(float),
  "reward_parts": OrNone(ValuesOf(float)),
  "tokens": [ANY],
  "text": [ANY],
  "action_mask": [int],
  "sampler_logp": [float],
  "entropy": [float],
  "turn": [int],
  "policy_version": [ANY],
  "turns": [{"kind": str, "latency": float, "results": [RESULT]}],
}
PER_TOKEN = ("tokens", "text", "action_mask", "sampler_logp", "entropy", "turn", "policy_version")
NODE: Shape = {
  "id": int,
  "parent": OrNone(int),
  "text": ANY,
  "answer": ANY,
  "tokens": int,
  "given": int,
  "prior": float,
  "visits": int,
  "q": OrNone(float),
  "value": OrNone(float),
  "terminal": bool,
  "barred": bool,
  "chosen": bool,
}
SEARCH: Shape = {"task": ANY, "uid": ANY, "question": str, "reward": OrNone(float), "nodes": [NODE]}


def check(value: Any, shape: Shape, name: str) -> None:
  """Raises ValueError where a JSON value has another shape; `name` says in words which value it is."""
  if isinstance(shape, OrNone):
    if value is not None:
      check(value, shape.shape, name)
  elif isinstance(shape, ValuesOf):
    _require(isinstance(value, dict), f"{name} is no object")
    for key, inner in value.items():
      check(inner, shape.shape, f"{name}[{key!r}]")
  elif isinstance(shape, Mapping):
    _check_fields(value, shape, name)
  elif isinstance(shape, Sequence):
    _require(isinstance(value, list), f"{name} is no list")
    for number, inner in enumerate(value):
      check(inner, shape[0], f"{name}[{number}]")
  else:
    _require(_is(value, shape), f"{name} is {str(value)[:40]!r}, and no {shape.__name__}")


def check_row(row: Any) -> None:
  """Raises ValueError where a JSON value is no row of trajectories/."""
  check(row, ROW, "the trajectory")
  lengths = {name: len(row[name]) for name in PER_TOKEN}
  _require(len(set(lengths.values())) == 1, f"the trajectory has lists of different lengths: {lengths}")
  _require(row["reward"] is None or row["reward_parts"] is not None, "the trajectory has a reward without parts")


def check_search(record: Any) -> None:
  """Raises ValueError where a JSON value is no search: one tree, depth first, with a Q value where it was visited."""
  check(record, SEARCH, "the search")
  nodes: dict[int | None, Mapping[str, Any]] = {}
  for node in record["nodes"]:
    name = f"the search's node {node['id']}"
    _require(node["id"] not in nodes, f"{name} stands there twice")
    _require((node["parent"] in nodes) if nodes else node["parent"] is None, f"{name} has no parent before it")
    _require(not node["visits"] or node["q"] is not None, f"{name} was visited and has no q")
    above = nodes.get(node["parent"])
    _require(above is None or bool(above["visits"]) or not node["visits"], f"{name} was visited and its parent was not")
    nodes[node["id"]] = node
  _require(bool(nodes), "the search has no nodes")


def _check_fields(value: Any, fields: Mapping[str, Any], name: str) -> None:
  _require(isinstance(value, dict), f"{name} is no object")
  for key, shape in fields.items():
    _require(key in value or isinstance(shape, MayLack), f"{name} has no {key!r}")
    if key in value:
      check(value[key], shape.shape if isinstance(shape, MayLack) else shape, f"{name}.{key}")


def _is(value: Any, kind: type) -> bool:
  """Whether a JSON value is of a kind; a number is finite, and true and false are none."""
  if kind is float:
    return type(value) is int or (type(value) is float and math.isfinite(value))
  return kind is ANY or type(value) is kind


def _require(condition: bool, otherwise: str) -> None:
  if not condition:
    raise ValueError(otherwise)
