"""Algorithms, one file each, found by module name.

A file exposes `default_config() -> ConfigDict`, `RANGES` of the numbers in it (by dotted key, see `settings.py`),
`make(policy, optimizer, cfg) -> Algorithm` and `optimizer_steps(cfg, updates)`, the optimiser steps it takes in so many
updates, by which learning-rate schedules count. To add one, add a file; one of yours may stand anywhere,
and is named by its import path.
"""

from __future__ import annotations

import pkgutil
from types import ModuleType

from agentrl.named import module_by_name


def names() -> list[str]:
  """Names of the algorithms that can be loaded."""
  found = (module.name for module in pkgutil.iter_modules(__path__))
  return sorted(name for name in found if name not in ("contract", "gradients"))


def load(name: str) -> ModuleType:
  """The module of an algorithm: one of `names`, or the import path of one of yours.

  Raises:
    ValueError: there is none of that name; names the nearest. Or the module lacks one of these functions.
    ModuleNotFoundError: there is no module at the import path.
  """
  needs = ("default_config", "RANGES", "optimizer_steps", "make")
  return module_by_name(names(), name, kind="algorithm", package=__name__, needs=needs)
