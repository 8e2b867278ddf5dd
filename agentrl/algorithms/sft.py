"""Supervised fine-tuning on authored or filtered trajectories: the cold start before RL, and behaviour cloning."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import optax
from ml_collections import ConfigDict, config_dict

from agentrl.algorithms import gradients, learner, terms
from agentrl.algorithms.contract import Algorithm, HeadSpec, LearnerState, Policy
from agentrl.algorithms.objective import Term, heads_of
from agentrl.batching.filters import keep, without_failures
from agentrl.ops import reduce
from agentrl.settings import FINITE, between
from agentrl.types import Trajectory


def default_config() -> ConfigDict:
  """Negative log-likelihood of every action token, averaged over tokens."""
  return ConfigDict({
    "reduction": "token_mean",  # name in ops.reduce.REDUCTIONS
    "reduction_options": {},  # keyword arguments of the reduction: {"constant": 512.0}
    "terms": {},  # further terms of the objective, see terms.py
    "epochs": 1,  # times that an update goes through its batch
    "minibatches": 1,  # optimiser steps per epoch, of about as many action tokens each
    "min_reward": config_dict.placeholder(float),  # least reward of what is cloned; authored traces have none
    "top_share": 1.0,  # and of those only this share with the highest rewards: filtered behaviour cloning
  })  # fmt: skip


RANGES = {
  **{f"reduction_options.{name}": allowed for name, allowed in reduce.RANGES.items()},
  **gradients.RANGES,
  "min_reward": FINITE,
  "top_share": between(0, 1, above_low=True),
}
optimizer_steps = gradients.minibatch_steps


def heads(cfg: ConfigDict) -> dict[str, HeadSpec]:
  """Those of further terms."""
  return heads_of(_terms(cfg))


def make(policy: Policy, optimizer: optax.GradientTransformation, cfg: ConfigDict) -> Algorithm:
  """See `contract.Algorithm`."""
  learns = learner.make_learner(
    policy,
    optimizer,
    _terms(cfg),
    reduce=learner.reduction(cfg),
    epochs=cfg.epochs,
    minibatches=cfg.minibatches,
  )

  def prepare(state: LearnerState, trajectories: Sequence[Trajectory]):
    del state
    kept = _best(without_failures(trajectories), cfg.min_reward, cfg.top_share)
    return learns.pack(kept, {}), {"sft/kept": np.float32(len(kept) / len(trajectories))}

  imitates = cfg.min_reward is None and cfg.top_share == 1.0
  rewards = cfg.top_share != 1.0
  return Algorithm(learns.init, prepare, learns.update, heads=learns.heads, rewards=rewards, imitates=imitates)


def _terms(cfg: ConfigDict) -> list[Term]:
  return [terms.likelihood(), *terms.from_config(cfg.terms)]


def _best(trajectories: Sequence[Trajectory], least: float | None, share: float) -> list[Trajectory]:
  """Those worth cloning, in the order given; of equal rewards the earlier ones."""
  good = keep(trajectories, lambda t: least is None or t.reward is None or t.reward >= least)
  if share == 1.0:
    return good
  without = [t.uid for t in good if t.reward is None]
  if without:
    raise ValueError(f"algo.top_share={share} compares rewards; trajectory {without[0]} has none")
  best = {t.uid for t in sorted(good, key=lambda t: -t.reward)[: math.ceil(share * len(good))]}
  return keep(good, lambda t: t.uid in best)
