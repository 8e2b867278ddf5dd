"""Choosing an entry by the name that a config gives it."""

import difflib
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def by_name(table: Mapping[str, T], name: str, *, kind: str) -> T:
  """The entry of `table` called `name`; a ValueError names the nearest one and lists all.

  Args:
    table: entries by name.
    name: from a config.
    kind: what the table holds, for the error: "tool".
  """
  if name in table:
    return table[name]
  near = difflib.get_close_matches(str(name), table, n=1, cutoff=0.4)
  hint = f"did you mean {near[0]!r}? " if near else ""
  raise ValueError(f"no {kind} is called {name!r}: {hint}known: {', '.join(table)}")
