"""Task families, one module each, found by module name.

A family is a module with three functions:

  generate(index, *, split, difficulty=1, seed=0, ...) -> Task    pure; train and held-out disjoint by construction
  check(task, answer) -> bool                                     never raises, whatever the answer
  oracle(task, tool) -> list[Action]                              tool calls that solve it, then the answer

The families in `CONVERSATIONS` have no tool and nothing to check at the end: the environment answers every turn. In
place of `check` they bring it along:

  environment(*, system=None, examples=()) -> Environment         a fresh one, for one trajectory
  oracle(task, tool) -> list[Action]                              utterances of a demonstration; the tool is ""

A game over a closed table asks for the same items in both splits, in other orders, unless its option `held_out_items`
keeps an eighth of them for the held-out split.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from agentrl.envs.named import by_name

_WITH_TOOLS = ("arithmetic", "countdown", "key_lookup", "word_problems")
CONVERSATIONS = ("guess_city", "twenty_questions")
FAMILIES = {name: f"{__name__}.{name}" for name in (*_WITH_TOOLS, *CONVERSATIONS)}


def load(family: str) -> ModuleType:
  """The module of a family.

  Raises:
    ValueError: no such family; names the nearest.
  """
  return importlib.import_module(by_name(FAMILIES, family, kind="task family"))
