"""Columns and heads as a term meets them: one that there is not is told by its name, beside those that there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax

from agentrl.types import Batch


@jax.tree_util.register_pytree_node_class
class NamedArrays(dict[str, Any]):
  """Arrays by name; asking for another one raises ValueError.

  Args:
    arrays: by name.
    what: one of them, for the error: "column".
    reader: who asks for them, for the error: "the term entropy".
  """

  def __init__(self, arrays: Mapping[str, Any], *, what: str, reader: str):
    super().__init__(arrays)
    self._what, self._reader = what, reader

  def __missing__(self, name: str) -> Any:
    known = ", ".join(sorted(self)) or "none"
    raise ValueError(f"{self._reader} reads the {self._what} {name!r}, which there is not; there are: {known}")

  def tree_flatten(self) -> tuple[list[Any], tuple[tuple[str, ...], str, str]]:
    """See `jax.tree_util.register_pytree_node_class`."""
    names = tuple(sorted(self))
    return [self[name] for name in names], (names, self._what, self._reader)

  @classmethod
  def tree_unflatten(cls, told: tuple[tuple[str, ...], str, str], arrays: Sequence[Any]) -> NamedArrays:
    """See `jax.tree_util.register_pytree_node_class`."""
    names, what, reader = told
    return cls(dict(zip(names, arrays, strict=True)), what=what, reader=reader)


def read_by(batch: Batch, reader: str) -> Batch:
  """The batch for a reader that may ask for a column that there is not."""
  return batch._replace(columns=NamedArrays(batch.columns, what="column", reader=reader))
