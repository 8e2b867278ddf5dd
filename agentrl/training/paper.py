"""A paper as one config file: a common base, arms over it, and the claims that are judged by their recorded runs.

A file under configs/ is either one run, and has

  def get_config(smoke=False)

or a paper, and has `ARMS`, settings by name over a common base, the first of which is the default, and

  def get_config(arm, smoke):
    return arm_config(BASE, ARMS[arm], SMOKE if smoke else {}, where=__file__)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from agentrl.training.defaults import run_config


def arm_config(base: Mapping[str, Any], arm: Mapping[str, Any], smoke: Mapping[str, Any], *, where: str) -> ConfigDict:
  """The config of an arm: the defaults, the base over them, the arm over it, and over all what makes it small.

  Args:
    base: settings that the arms share.
    arm: settings of this one. An arm with another algorithm than the base's begins with that algorithm's defaults.
    smoke: settings of the variant of two steps; empty: the full run. Its `algo` is for the base's algorithm.
    where: the file that says so, for errors.
  """
  start = run_config(base, where=where)
  config = run_config(arm, where=where, base=start)
  if config.algorithm != start.algorithm:
    smoke = {section: settings for section, settings in smoke.items() if section != "algo"}
  return run_config(smoke, where=where, base=config)
