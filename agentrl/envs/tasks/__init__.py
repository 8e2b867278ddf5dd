"""Task families, one module each, found by module name.

A family is a module with three functions:

  generate(index, *, split, difficulty=1, seed=0, ...) -> Task    pure; train and held-out disjoint by construction
  check(task, answer) -> bool                                     never raises, whatever the answer
  oracle(task, tool) -> list[Action]                              tool calls that solve it, then the answer

The families in `WORLDS` bring an environment of their own, with tools of its own or none, in place of `check`:

  environment(setting) -> Environment                             a fresh one, for one trajectory
  oracle(task, tool) -> list[Action]                              a demonstration; the tool is ""

Some of those, in `envs/adapters/`, are of other people's making, and need an extra of the package. A family with a
list of tasks starts over behind its end.

A game over a closed table asks for the same items in both splits, in other orders, unless its option `held_out_items`
keeps an eighth of them for the held-out split.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from agentrl.envs.named import by_name

QUESTIONS = {name: f"{__name__}.{name}" for name in ("arithmetic", "countdown", "key_lookup", "word_problems")}
WORLDS = {name: f"{__name__}.{name}" for name in ("guess_city", "twenty_questions")}
FAMILIES = QUESTIONS | WORLDS


def load(family: str) -> ModuleType:
  """The module of a family.

  Raises:
    ValueError: no such family; names the nearest.
  """
  return importlib.import_module(by_name(FAMILIES, family, kind="task family"))
