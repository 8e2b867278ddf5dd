"""Distillation of a search into the policy: what the search chose is pushed up, a critic learns what it was worth.

Tambde, 2026, "Tree search distillation for language models using PPO" (the code of at2005/llm-mcts). Per action token

  A_t = R - V_old(s_t), or R                    one reward R per trajectory, no discount, no group baseline
  loss = policy_loss(r_t, A_t) + value_coef (V(s_t) - R)^2 / 2 + kl_coef k3(pi || ref)

with `cispo` as policy loss: `-sg(min(r_t, 5)) A_t log pi`. Tokens are averaged over each trajectory, and these over the
batch. The trajectories are visited paths of `rollout/strategies/tree_search.py`. Best-of-N distillation is the same,
with independent samples and the filter "best_of_group".

Off-policy. The search chose these tokens among several that the policy had sampled, and nothing here corrects for that
choice: that is the point of distillation, and its price is that A_t is no unbiased advantage. Nor does a baseline leave
the gradient's mean alone, as it does where samples are the policy's own: V_old pushes away from whatever was selected
without success, with no bound ("credit": "reward" takes A_t = R). The ratio r_t corrects
for the policy's own movement alone. Its denominator is the policy's log-prob at the start of the update
("correction": "none"; then r = 1 in the first step), or the one recorded when the token was sampled ("sampler"), which
also counts how far the policy is from the weights that searched.

With "credit": "visits" the policy is fitted to the visit distribution instead, as in AlphaZero (Silver et al., 2017,
https://doi.org/10.1038/nature24270), `-sum_a N(s, a) / N(s) log P(a | s)` at the states of the path. The path's visited
siblings come along as branches (`rollout/search/record.py`); A_t is the share of the visits of the token's step, and a
branch's R is its Q. A step's log-prob is the sum of its tokens', so that no mean over a sequence may weigh them.
"""

from __future__ import annotations

import optax
from ml_collections import ConfigDict

from agentrl.algorithms import gradients, learner, terms
from agentrl.algorithms.contract import Algorithm, HeadSpec, Policy
from agentrl.algorithms.credited import make_credited
from agentrl.algorithms.objective import Term, heads_of
from agentrl.settings import at_least


def default_config() -> ConfigDict:
  """The published settings."""
  return ConfigDict({
    # Name in credit.CREDIT, or the import path of yours: "value_baseline", A = R - V_old; "reward", A = R; "visits"
    "credit": "value_baseline",
    "credit_options": {},  # settings of the credit
    "policy_loss": "cispo",  # name in ops.losses.POLICY_LOSSES
    "loss": {},  # keyword arguments of the policy loss: {"clip_high": 4.0}
    "correction": "none",  # of a sampler that is not the policy: name in ops.corrections.CORRECTIONS
    "correction_options": {},  # keyword arguments of the correction: {"cap": 2.0}
    "reduction": "sequence_mean",  # name in ops.reduce.REDUCTIONS
    "reduction_options": {},  # keyword arguments of the reduction: {"constant": 512.0}
    "value_coef": 2.0,  # of (V - R)^2 / 2
    "value_hidden": 0,  # width of the value head's hidden layer; 0: the head is linear
    "value_detach": False,  # stop the critic's gradient at the trunk
    "kl_coef": 0.05,  # weight of the KL to the frozen reference in the loss; 0: no reference is kept
    "kl": "k3",  # name in ops.kl.KL_ESTIMATORS
    "entropy_coef": 0.0,
    "terms": {},  # further terms of the objective, see terms.py
    "masked": (),  # which trajectories leave the loss, not the baseline: names in batching.masks.RULES, or import paths
    "masked_options": {},  # settings of these rules, by name
    "masked_denominator": "trained",  # what the policy loss is divided by: name in batching.masks.DENOMINATORS
    "epochs": 1,  # times that an update goes through its batch
    "minibatches": 1,  # optimiser steps per epoch, of about as many action tokens each
  })  # fmt: skip


RANGES = {
  **learner.RANGES,
  "value_coef": at_least(0),
  "value_hidden": at_least(0),
  "kl_coef": at_least(0),
  "entropy_coef": at_least(0),
}
optimizer_steps = gradients.minibatch_steps


def heads(cfg: ConfigDict) -> dict[str, HeadSpec]:
  """The critic, and what further terms declare."""
  return heads_of(_terms(cfg))


def make(policy: Policy, optimizer: optax.GradientTransformation, cfg: ConfigDict) -> Algorithm:
  """See `contract.Algorithm`."""
  return make_credited(policy, optimizer, cfg, _terms(cfg))


def _terms(cfg: ConfigDict) -> list[Term]:
  surrogate = terms.policy_gradient(
    policy_loss=cfg.policy_loss,
    loss=cfg.loss,
    correction=cfg.correction,
    correction_options=cfg.correction_options,
  )
  return [
    surrogate,
    terms.value(hidden=cfg.value_hidden, detach=cfg.value_detach)._replace(weight=cfg.value_coef),
    *terms.weighed(terms.entropy(), cfg.entropy_coef),
    *terms.weighed(terms.kl(estimator=cfg.kl), cfg.kl_coef),
    *terms.from_config(cfg.terms),
  ]
