"""What is read of the package `alfworld`: rooms, what fits where, goals, the rules of the domain, and its grammar.

The package's own data set is a download. Its wheel carries the rules, the grammar and the objects of 120 rooms, which
is enough to make games of our own (`house.py`). They are read as files: importing the package makes a folder
in the user's home, and its environments import torch.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import pathlib
import runpy
from collections.abc import Mapping
from typing import Any


def folder() -> pathlib.Path:
  """Where the package is.

  Raises:
    ModuleNotFoundError: it is not installed.
  """
  spec = importlib.util.find_spec("alfworld")
  if spec is None or not spec.submodule_search_locations:
    raise ModuleNotFoundError("No module named 'alfworld'", name="alfworld")
  return pathlib.Path(spec.submodule_search_locations[0])


@functools.cache
def constants() -> Mapping[str, Any]:
  """The tables of ALFRED, by their names there."""
  return runpy.run_path(str(folder() / "gen" / "constants.py"))


@functools.cache
def goals() -> Mapping[str, Mapping[str, Any]]:
  """Type of task -> its goal as PDDL ("pddl") and in words ("templates"), both with names in braces to fill in."""
  return runpy.run_path(str(folder() / "gen" / "goal_library.py"))["gdict"]


@functools.cache
def rules() -> tuple[str, str]:
  """The domain as PDDL, and the grammar of commands and observations."""
  data = folder() / "data"
  return (data / "alfred.pddl").read_text(encoding="utf-8"), (data / "alfred.twl2").read_text(encoding="utf-8")


@functools.cache
def room(number: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
  """Kinds of things in a room, each once, and the kind of each place in it where things may lie."""
  layouts = folder() / "gen" / "layouts"
  kinds = json.loads((layouts / f"FloorPlan{number}-objects.json").read_bytes())
  places = json.loads((layouts / f"FloorPlan{number}-openable.json").read_bytes())
  return tuple(sorted(set(kinds))), tuple(sorted(name.split("|")[0] for name in places))
