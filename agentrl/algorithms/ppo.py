"""Proximal policy optimisation with a token-level critic on the policy's own trunk.

Schulman et al., 2017 (https://arxiv.org/abs/1707.06347); generalised advantage estimation, Schulman et al., 2015
(https://arxiv.org/abs/1506.02438), over action tokens alone: an observation between two of them passes value and
advantage through unchanged. The value head reads the hidden state that predicts a token.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from agentrl.algorithms import gradients, learner, terms
from agentrl.algorithms.contract import Algorithm, HeadSpec, LearnerState, Policy
from agentrl.algorithms.objective import Term, heads_of
from agentrl.batching.filters import with_reward
from agentrl.batching.pack import Column
from agentrl.named import by_name
from agentrl.ops import advantages, kl, reduce, returns
from agentrl.settings import above, at_least, between
from agentrl.types import Batch, Trajectory


def default_config() -> ConfigDict:
  """The usual settings for language models: no discount, whitened advantages, clipped values."""
  return ConfigDict({
    "policy_loss": "ppo",  # name in ops.losses.POLICY_LOSSES
    "loss": {},  # keyword arguments of the policy loss: {"clip_low": 0.2, "clip_high": 0.28}
    "correction": "none",  # of a sampler that is not the policy: name in ops.corrections.CORRECTIONS
    "correction_options": {},  # keyword arguments of the correction: {"cap": 2.0}
    "reduction": "token_mean",  # name in ops.reduce.REDUCTIONS
    "reduction_options": {},  # keyword arguments of the reduction: {"constant": 512.0}
    "discount": 1.0,  # gamma per action token
    "gae_lambda": 0.95,
    "whiten": True,  # advantages to mean 0 and variance 1 over the batch's action tokens
    "value_coef": 0.5,
    "value_clip": 0.2,  # how far a value may move from the old one before its loss is clipped
    "value_hidden": 0,  # width of the value head's hidden layer; 0: the head is linear
    "value_detach": False,  # stop the critic's gradient at the trunk
    "kl_coef": 0.0,  # weight of the KL to the frozen reference; 0: no reference is kept
    "kl": "k3",  # name in ops.kl.KL_ESTIMATORS, of the loss where kl_in is "loss", and of what is reported
    "kl_in": "reward",  # "reward": -kl_coef * k1 on every token's reward; "loss": added to the loss
    "entropy_coef": 0.0,
    "terms": {},  # further terms of the objective, see terms.py
    "epochs": 1,
    "minibatches": 4,  # optimiser steps per epoch, of about as many action tokens each
  })  # fmt: skip


RANGES = {
  **learner.RANGES,
  "discount": between(0, 1),
  "gae_lambda": between(0, 1),
  "value_coef": at_least(0),
  "value_clip": above(0, "values further than that from the old ones are not pulled; a large number clips nothing"),
  "value_hidden": at_least(0),
  "kl_coef": at_least(0),
  "entropy_coef": at_least(0),
}
optimizer_steps = gradients.minibatch_steps


class KlPlace(NamedTuple):
  """How much of `kl_coef` lowers the rewards, and how much of it weighs a term of the loss."""

  reward: float
  loss: float


KL_PLACES = {"reward": KlPlace(1.0, 0.0), "loss": KlPlace(0.0, 1.0)}


def heads(cfg: ConfigDict) -> dict[str, HeadSpec]:
  """The critic, and what further terms declare."""
  return heads_of(_terms(cfg))


def make(policy: Policy, optimizer: optax.GradientTransformation, cfg: ConfigDict) -> Algorithm:
  """See `contract.Algorithm`."""
  reward_coef = cfg.kl_coef * _kl_place(cfg).reward
  learns = learner.make_learner(
    policy,
    optimizer,
    _terms(cfg),
    reduce=learner.reduction(cfg),
    epochs=cfg.epochs,
    minibatches=cfg.minibatches,
    reads=["ref_logp"] if reward_coef else [],
  )
  credit = jax.jit(functools.partial(_credit, cfg.discount, cfg.gae_lambda, cfg.whiten))
  estimate_kl = by_name(kl.KL_ESTIMATORS, cfg.kl, kind="KL estimator")

  def less_kl(state: LearnerState, batch: Batch):
    """The batch with rewards from which the KL to the reference is taken, and the KL."""
    old_logp, ref_logp = batch.columns["old_logp"], learns.ref_logp(state, batch)
    divergence = estimate_kl(old_logp, ref_logp, batch.action_mask)
    rewards = batch.columns["rewards"] - reward_coef * kl.k1(old_logp, ref_logp, batch.action_mask)
    mean = reduce.token_mean(divergence, batch.action_mask, jnp.sum(batch.sequence_length))
    return batch.with_columns(rewards=rewards, ref_logp=ref_logp), {"policy/kl_ref": mean}

  def prepare(state: LearnerState, trajectories: Sequence[Trajectory]):
    kept = with_reward(trajectories)
    if any(t.parent is not None for t in kept):
      raise ValueError("token-level PPO needs trajectories in one piece; branches have no single token chain")
    batch = learns.pack(kept, {"rewards": Column([t.token_rewards for t in kept])})
    said = learns.evaluate(state.params, batch, ["logp", "value"])
    batch = batch.with_columns(old_logp=said["logp"], old_values=said["value"])
    batch, metrics = less_kl(state, batch) if reward_coef else (batch, {})
    gained, targets, explained = credit(batch.columns["rewards"], batch.columns["old_values"], batch)
    batch = batch.with_columns(advantages=gained, returns=targets)
    return batch, {"value/explained_variance": explained, **metrics}

  return Algorithm(learns.init, prepare, learns.update, heads=learns.heads)


def _kl_place(cfg: ConfigDict) -> KlPlace:
  return by_name(KL_PLACES, cfg.kl_in, kind="place of the KL (algo.kl_in)")


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
    *terms.weighed(terms.kl(estimator=cfg.kl), cfg.kl_coef * _kl_place(cfg).loss),
    *terms.from_config(cfg.terms),
  ]


# ---- credit ---------------------------------------------------------------------------------------------------------


def _credit(discount, gae_lambda, whiten, rewards, values, batch):
  """Advantages and value targets [M, B, A], and the share of the targets' variance that the values explain."""
  mask = batch.action_mask
  gained = returns.gae(
    rewards,
    values,
    jnp.full(rewards.shape, discount, jnp.float32),
    jnp.zeros_like(batch.sequence_length),
    gae_lambda=gae_lambda,
    mask=mask,
    sequence=batch.action_sequence,
  )
  targets = jnp.where(mask, gained + values, 0.0)
  explained = 1.0 - _variance(targets - values, mask) / jnp.maximum(_variance(targets, mask), 1e-8)
  return (advantages.whiten(gained, mask) if whiten else gained), targets, explained


def _variance(values, mask):
  count = jnp.sum(mask, dtype=jnp.float32)
  mean = reduce.token_mean(values, mask, count)
  return reduce.token_mean(jnp.square(values - mean), mask, count)
