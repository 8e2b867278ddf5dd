"""Choosing a function by the name that a config gives it."""

import difflib
from collections.abc import Collection, Mapping
from typing import TypeVar

T = TypeVar("T")


def by_name(table: Mapping[str, T], name: str, *, kind: str) -> T:
  """The entry of `table` called `name`; meant to be called once, where the config is read.

  Args:
    table: such as `POLICY_LOSSES`.
    name: the name that the config gives.
    kind: what the table holds, for the error: "policy loss".

  Raises:
    ValueError: no such name; says the nearest one and lists all.
  """
  check_name(table, name, kind=kind)
  return table[name]


def check_name(known: Collection[str], name: str, *, kind: str) -> None:
  """Raises ValueError where `name` is not one of the known ones, as `by_name` does."""
  if name in known:
    return
  near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.4)
  hint = f"did you mean {near[0]!r}? " if near else ""
  raise ValueError(f"no {kind} is called {name!r}: {hint}known: {', '.join(sorted(known))}")
