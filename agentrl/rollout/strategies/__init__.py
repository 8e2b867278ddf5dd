"""Who samples what, and who decides what each slot does next: one module per way of sampling.

A module has `default_config() -> ConfigDict`, `RANGES` of the numbers in it (by dotted key, see `agentrl/settings.py`)
and `make(surroundings, cfg) -> Sampler`, see `contract.py`. The config names it as `rollout.strategy`, and its settings
stand in the section `strategy`. To add one, add a file and its name here; one of yours may stand anywhere, and is named
by its import path.
"""

from __future__ import annotations

from types import ModuleType

from agentrl.named import module_by_name

STRATEGIES = ("branching", "independent", "reranked", "tree_search")


def load(name: str) -> ModuleType:
  """The module of a strategy: one of `STRATEGIES`, or the import path of one of yours.

  Raises:
    ValueError: there is none of that name; names the nearest. Or the module lacks one of these attributes.
    ModuleNotFoundError: there is no module at the import path.
  """
  needs = ("default_config", "RANGES", "make")
  return module_by_name(STRATEGIES, name, kind="rollout.strategy", package=__name__, needs=needs)
