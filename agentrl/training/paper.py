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

from agentrl.named import type_told
from agentrl.report.claims import Claim
from agentrl.training import config as config_lib
from agentrl.training.config_keys import entry
from agentrl.training.defaults import run_config


def arm_config(base: Mapping[str, Any], arm: Mapping[str, Any], smoke: Mapping[str, Any], *, where: str) -> ConfigDict:
  """The config of an arm: the defaults, the base over them, the arm over it, and over all what makes it small.

  Args:
    base: settings that the arms share.
    arm: settings of this one. An arm with another algorithm than the base's begins with that algorithm's defaults.
    smoke: settings of the variant of two steps; empty: the full run. What it says of an algorithm or a strategy is for
      the base's: where the arm has another one, it is left out.
    where: the file that says so, for errors.
  """
  start = run_config(base, where=where)
  config = run_config(arm, where=where, base=start)
  for key, section in config_lib.SECTIONS_OF_MODULES.items():
    if entry(config, key) != entry(start, key):
      smoke = _without(smoke, section.name)
  return run_config(smoke, where=where, base=config)


def _without(settings: Mapping[str, Any], key: str) -> Mapping[str, Any]:
  """Settings without the section at a dotted key."""
  name, _, rest = key.partition(".")
  inner = {name: _without(settings[name], rest)} if rest and name in settings else {}
  return {**{other: value for other, value in settings.items() if other != name}, **inner}


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
    ConfigError: it does not exist, its `CLAIMS` are no claims, or one names an arm that it does not have.
  """
  module = config_lib.read_file(file)
  claims = vars(module).get("CLAIMS", ())
  if not isinstance(claims, tuple | list) or not all(isinstance(claim, Claim) for claim in claims):
    raise config_lib.ConfigError(
      f"{file}: CLAIMS is {type_told(claims)}; a tuple of Claim(...) was due. Of one claim it ends with a comma: "
      "CLAIMS = (Claim(...),)"
    )
  if claims and "ARMS" not in vars(module):
    raise config_lib.ConfigError(f"{file} has CLAIMS and no ARMS that they could be about")
  for claim in claims:
    if unknown := [arm for arm in claim.arms if arm not in module.ARMS]:
      raise config_lib.ConfigError(f"{file}: the claim {claim.says!r} names an arm {unknown[0]!r} that is not in ARMS")
  return claims


def all_claims(configs: pathlib.Path) -> dict[str, Sequence[Claim]]:
  """The claims of all papers in a folder, by the name of the file without its ending."""
  found = {file.stem: claims_of(file) for file in sorted(configs.glob("*.py"))}
  return {name: claims for name, claims in found.items() if claims}
