"""Who gets the credit: (learner, trajectories) -> a number per sampled token. One file per estimator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from agentrl.credit.contract import Assign, Credit, CreditFunction, Declared, Learner, check_credit, declared_by
from agentrl.credit.gae import gae
from agentrl.credit.gdpo import gdpo
from agentrl.credit.gigpo import gigpo
from agentrl.credit.group_baselines import (
  batch_std,
  dr_grpo,
  grpo,
  leave_one_out,
  max_rl,
  reinforce_plus_plus_baseline,
  whitened_reward,
)
from agentrl.credit.opo import opo
from agentrl.credit.pass_at_k import pass_at_k
from agentrl.credit.turn_gae import turn_gae
from agentrl.credit.turn_returns import turn_returns
from agentrl.credit.value_baseline import reward, value_baseline
from agentrl.credit.visits import visits
from agentrl.metrics_file import check_names
from agentrl.named import by_name, naming, noting, settings_of, with_settings
from agentrl.settings import FINITE, Range, above, at_least, between
from agentrl.types import Trajectory

CREDIT: Mapping[str, CreditFunction] = {
  "grpo": grpo,
  "dr_grpo": dr_grpo,
  "leave_one_out": leave_one_out,
  "batch_std": batch_std,
  "reinforce_plus_plus_baseline": reinforce_plus_plus_baseline,
  "whitened_reward": whitened_reward,
  "max_rl": max_rl,
  "pass_at_k": pass_at_k,
  "opo": opo,
  "gdpo": gdpo,
  "gigpo": gigpo,
  "turn_returns": turn_returns,
  "gae": gae,
  "turn_gae": turn_gae,
  "reward": reward,
  "value_baseline": value_baseline,
  "visits": visits,
}

RANGES: Mapping[str, Range] = {
  "discount": between(0, 1),
  "gae_lambda": between(0, 1),
  "target_lambda": between(0, 1),
  "kl_coef": at_least(0),
  "epsilon": above(0),
  "weight": FINITE,
  "k": at_least(1),
}


class ChosenCredit(NamedTuple):
  """The credit function of a run.

  Attributes:
    assign: `(learner, trajectories) -> Credit`.
    declared: what others must know of it.
  """

  assign: Assign
  declared: Declared


def make_credit(name: str, options: Mapping[str, Any]) -> ChosenCredit:
  """The credit function that a config names, with its settings.

  Args:
    name: key of `CREDIT`, or the import path of a function.
    options: its settings, from the section `algo.credit_options`.

  Raises:
    ValueError: there is no such function, or it has no such setting. Called, it raises one where the function gives
      something else than a `Credit` of these trajectories, or metrics that are not named "group/name" or have the name
      of one that the run reports.
  """
  function = by_name(CREDIT, name, kind="credit", takes=("learner", "trajectories"))
  bound = with_settings(function, options, section="algo.credit_options")
  named = f"algo.credit={name!r}"
  with naming(named):
    declared = declared_by(function, {**settings_of(function), **options})

  def assign(learner: Learner, trajectories: Sequence[Trajectory]) -> Credit:
    with noting(f"in {named}"):
      found = bound(learner, trajectories)
    with naming(named):
      check_credit(found, trajectories)
    check_names(found.metrics, named=named)
    return found

  return ChosenCredit(assign, declared)
