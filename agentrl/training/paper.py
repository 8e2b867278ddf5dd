"""A paper as one config file: a common base, arms over it, and the claims that are judged by their recorded runs.

A file under configs/ is either one run, and has

  def get_config(smoke=False)

or a paper, and has `ARMS`, settings by name over a common base, the first of which is the default, and

  def get_config(arm, smoke):
    return arm_config(BASE, ARMS[arm], SMOKE if smoke else {}, where=__file__)

and may have `CLAIMS`, see `agentrl/report/claims.py`, which name its arms.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from agentrl.report.claims import Claim
from agentrl.training import config as config_lib
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


def arms_of(file: pathlib.Path) -> list[str]:
  """Names of the arms of a config file, the default first.

  Raises:
    ConfigError: it has none, or does not exist.
  """
  arms = vars(config_lib.read_file(file)).get("ARMS")
  if not arms:
    raise config_lib.ConfigError(f"{file} has no ARMS: it is one run, for experiments/train.py")
  return list(arms)


def claims_of(file: pathlib.Path) -> Sequence[Claim]:
  """The claims of a config file; none where it has none.

  Raises:
    ConfigError: it does not exist, or a claim names an arm that it does not have.
  """
  module = config_lib.read_file(file)
  claims = vars(module).get("CLAIMS", ())
  for claim in claims:
    if unknown := [arm for arm in claim.arms if arm not in module.ARMS]:
      raise config_lib.ConfigError(f"{file}: the claim {claim.says!r} names an arm {unknown[0]!r} that is not in ARMS")
  return claims


def all_claims(configs: pathlib.Path) -> dict[str, Sequence[Claim]]:
  """The claims of all papers in a folder, by the name of the file without its ending."""
  found = {file.stem: claims_of(file) for file in sorted(configs.glob("*.py"))}
  return {name: claims for name, claims in found.items() if claims}
