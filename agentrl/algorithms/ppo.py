"""Proximal policy optimisation with a token-level critic on the policy's own trunk.

Schulman et al., 2017 (https://arxiv.org/abs/1707.06347); generalised advantage estimation, Schulman et al., 2015
(https://arxiv.org/abs/1506.02438), over action tokens alone: an observation between two of them passes value and
advantage through unchanged. The value head reads the hidden state that predicts a token.
"""

from __future__ import annotations

import optax
from ml_collections import ConfigDict

from agentrl.algorithms import gradients, learner, terms
from agentrl.algorithms.contract import Algorithm, HeadSpec, Policy
from agentrl.algorithms.credited import make_credited
from agentrl.algorithms.objective import Term, heads_of
from agentrl.settings import above, at_least


def default_config() -> ConfigDict:
  """The usual settings for language models: no discount, whitened advantages, clipped values."""
  return ConfigDict({
    "policy_loss": "ppo",  # name in ops.losses.POLICY_LOSSES
    "loss": {},  # keyword arguments of the policy loss: {"clip_low": 0.2, "clip_high": 0.28}
    "correction": "none",  # of a sampler that is not the policy: name in ops.corrections.CORRECTIONS
    "correction_options": {},  # keyword arguments of the correction: {"cap": 2.0}
    "reduction": "token_mean",  # name in ops.reduce.REDUCTIONS
    "reduction_options": {},  # keyword arguments of the reduction: {"constant": 512.0}
    "credit": "gae",  # name in credit.CREDIT, or the import path of yours; it says which values are learned too
    "credit_options": {},  # its settings: {"gae_lambda": 1.0, "kl_coef": 0.01}, the latter for a KL in the rewards
    "value_coef": 0.5,
    "value_clip": 0.2,  # how far a value may move from the old one before its loss is clipped
    "value_hidden": 0,  # width of the value head's hidden layer; 0: the head is linear
    "value_detach": False,  # stop the critic's gradient at the trunk
    "kl_coef": 0.0,  # weight of the KL to the frozen reference in the loss
    "kl": "k3",  # name in ops.kl.KL_ESTIMATORS
    "entropy_coef": 0.0,
    "terms": {},  # further terms of the objective, see terms.py
    "masked": (),  # which trajectories leave the loss, not the baseline: names in batching.masks.RULES, or import paths
    "masked_options": {},  # settings of these rules, by name
    "masked_denominator": "trained",  # what the policy loss is divided by: name in batching.masks.DENOMINATORS
    "epochs": 1,  # times that an update goes through its batch
    "minibatches": 4,  # optimiser steps per epoch, of about as many action tokens each
  })  # fmt: skip


RANGES = {
  **learner.RANGES,
  "value_coef": at_least(0),
  "value_clip": above(0, "values further than that from the old ones are not pulled; a large number clips nothing"),
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
  return make_credited(policy, optimizer, cfg, _terms(cfg), computed=("logp", "value"))


def _terms(cfg: ConfigDict) -> list[Term]:
  surrogate = terms.policy_gradient(
    policy_loss=cfg.policy_loss,
    loss=cfg.loss,
    correction=cfg.correction,
    correction_options=cfg.correction_options,
  )
  value = terms.value(hidden=cfg.value_hidden, detach=cfg.value_detach, clip=cfg.value_clip)
  return [
    surrogate,
    value._replace(weight=cfg.value_coef),
    *terms.weighed(terms.entropy(), cfg.entropy_coef),
    *terms.weighed(terms.kl(estimator=cfg.kl), cfg.kl_coef),
    *terms.from_config(cfg.terms),
  ]
