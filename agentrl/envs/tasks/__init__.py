"""Task families, one module each, found by module name.

A family is a module with three functions:

  generate(index, *, split, difficulty=1, seed=0, ...) -> Task    pure; train and held-out disjoint by construction
  check(task, answer) -> bool                                     never raises, whatever the answer
  oracle(task, tool) -> list[Action]                              tool calls that solve it, then the answer
"""

from __future__ import annotations

import importlib
from types import ModuleType

from agentrl.envs.named import by_name

FAMILIES = {name: f"{__name__}.{name}" for name in ("arithmetic", "countdown", "key_lookup", "word_problems")}


def load(family: str) -> ModuleType:
  """The module of a family.

  Raises:
    ValueError: no such family; names the nearest.
  """
  return importlib.import_module(by_name(FAMILIES, family, kind="task family"))
