"""Algorithms, one file each, found by module name.

A file exposes `default_config() -> ConfigDict`, `RANGES` of the numbers in it (by dotted key, see `ops/ranges.py`),
`make(policy, optimizer, cfg) -> Algorithm` and `optimizer_steps(cfg, updates)`, the optimiser steps it takes in so many
updates, by which learning-rate schedules count. To add one, add a file.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from agentrl.ops.named import check_name


def names() -> list[str]:
  """Names of the algorithms that can be loaded."""
  found = (module.name for module in pkgutil.iter_modules(__path__))
  return sorted(name for name in found if name not in ("contract", "gradients"))


def load(name: str) -> ModuleType:
  """The module of an algorithm.

  Raises:
    ValueError: there is none of that name; names the nearest.
  """
  check_name(names(), name, kind="algorithm")
  return importlib.import_module(f"{__name__}.{name}")
