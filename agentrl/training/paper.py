"""A paper's arms, and the claims that are judged by their recorded runs.

`config.py` says what the file of a paper defines; `CLAIMS`, see `agentrl/report/claims.py`, name its arms.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from agentrl.named import type_told
from agentrl.report.claims import Claim
from agentrl.training import config as config_lib
from agentrl.training.config_values import ConfigError


def arms_of(file: pathlib.Path) -> list[str]:
  """Names of the arms of a config file, the default first.

  Raises:
    ConfigError: it has none, or does not exist.
  """
  arms = vars(config_lib.read_file(file)).get("ARMS")
  if not arms:
    raise ConfigError(f"{file} has no ARMS: it is one run, for experiments/train.py")
  return list(arms)


def claims_of(file: pathlib.Path) -> Sequence[Claim]:
  """The claims of a config file; none where it has none.

  Raises:
    ConfigError: it does not exist, its `CLAIMS` are no claims, or one names an arm that it does not have.
  """
  module = config_lib.read_file(file)
  claims = vars(module).get("CLAIMS", ())
  if not isinstance(claims, tuple | list) or not all(isinstance(claim, Claim) for claim in claims):
    raise ConfigError(
      f"{file}: CLAIMS is {type_told(claims)}; a tuple of Claim(...) was due. Of one claim it ends with a comma: "
      "CLAIMS = (Claim(...),)"
    )
  if claims and "ARMS" not in vars(module):
    raise ConfigError(f"{file} has CLAIMS and no ARMS that they could be about")
  for claim in claims:
    if unknown := [arm for arm in claim.arms if arm not in module.ARMS]:
      raise ConfigError(f"{file}: the claim {claim.says!r} names an arm {unknown[0]!r} that is not in ARMS")
  return claims


def all_claims(configs: pathlib.Path) -> dict[str, Sequence[Claim]]:
  """The claims of all papers in a folder, by the name of the file without its ending."""
  found = {file.stem: claims_of(file) for file in sorted(configs.glob("*.py"))}
  return {name: claims for name, claims in found.items() if claims}
