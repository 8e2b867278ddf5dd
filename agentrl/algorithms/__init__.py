"""Algorithms, one file each, found by module name.

A file exposes `default_config() -> ConfigDict`, `RANGES` of the numbers in it (by dotted key, see `settings.py`),
`heads(cfg)`, the heads that it trains beside the policy, by name, `make(policy, optimizer, cfg) -> Algorithm` and
`optimizer_steps(cfg, updates)`, the optimiser steps it takes in so many updates, by which learning-rate schedules
count. Most are a list of terms over one skeleton: `objective.py`, `terms.py`, `learner.py`. To add one, add a file and
its name below; one of yours may stand anywhere, and is named by its import path.
"""

from __future__ import annotations

from types import ModuleType

from agentrl.named import module_by_name

ALGORITHMS = ("archer", "grpo", "ppo", "sft", "tree_distill")


def load(name: str) -> ModuleType:
  """The module of an algorithm: one of `ALGORITHMS`, or the import path of one of yours.

  Raises:
    ValueError: there is none of that name; names the nearest. Or the module lacks one of these functions.
    ModuleNotFoundError: there is no module at the import path.
  """
  needs = ("default_config", "RANGES", "optimizer_steps", "heads", "make")
  return module_by_name(ALGORITHMS, name, kind="algorithm", package=__name__, needs=needs)
