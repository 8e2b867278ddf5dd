"""Proximal policy optimisation with a token-level critic on the policy's own trunk.

Schulman et al., 2017 (https://arxiv.org/abs/1707.06347); generalised advantage estimation, Schulman et al., 2015
(https://arxiv.org/abs/1506.02438), over action tokens alone: an observation between two of them passes value and
advantage through unchanged. The value head reads the hidden state that predicts a token.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from agentrl.algorithms import gradients
from agentrl.algorithms.contract import Algorithm, LearnerState, Policy
from agentrl.algorithms.gradients import LossOutput
from agentrl.batching.filters import with_reward
from agentrl.batching.pack import Column, pack
from agentrl.models import heads
from agentrl.named import by_name, with_settings
from agentrl.ops import advantages, kl, losses, reduce, returns
from agentrl.settings import above, at_least, between
from agentrl.types import Trajectory


def default_config() -> ConfigDict:
  """The usual settings for language models: no discount, whitened advantages, clipped values."""
  return ConfigDict({
    "loss": {},  # keyword arguments of ops.losses.ppo: {"clip_low": 0.2, "clip_high": 0.28}
    "reduction": "token_mean",  # name in ops.reduce.REDUCTIONS
    "reduction_constant": 1.0,  # divisor of sequence_sum_norm; read by it alone
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
    "epochs": 1,
    "minibatches": 4,  # optimiser steps per epoch, of about as many action tokens each
  })  # fmt: skip


RANGES = {
  **{f"loss.{name}": allowed for name, allowed in losses.RANGES.items()},
  **gradients.RANGES,
  "discount": between(0, 1),
  "gae_lambda": between(0, 1),
  "value_coef": at_least(0),
  "value_clip": above(0, "values further than that from the old ones are not pulled; a large number clips nothing"),
  "value_hidden": at_least(0),
  "kl_coef": at_least(0),
  "entropy_coef": at_least(0),
}
optimizer_steps = gradients.minibatch_steps


def make(policy: Policy, optimizer: optax.GradientTransformation, cfg: ConfigDict) -> Algorithm:
  """See `contract.Algorithm`."""
  if cfg.kl_in not in ("reward", "loss"):
    raise ValueError(f"algo.kl_in={cfg.kl_in!r}; choose 'reward' or 'loss'")
  score = gradients.make_scorer(policy)
  evaluate = jax.jit(functools.partial(_evaluate, policy))
  credit = jax.jit(functools.partial(_credit, cfg.discount, cfg.gae_lambda, cfg.whiten))
  chosen = _resolve(cfg)
  step = gradients.make_step(functools.partial(_loss, policy, chosen), optimizer)

  run = functools.partial(
    gradients.run_minibatches, epochs=cfg.epochs, minibatches=cfg.minibatches, place_batch=policy.place_batch
  )

  def init(key, params):
    trained = {"policy": params, "value": heads.init_value_head(key, policy.model, cfg.value_hidden)}
    reference = jax.tree.map(jnp.copy, params) if cfg.kl_coef else None
    return LearnerState(trained, optimizer.init(trained), reference, jnp.int32(0))

  def prepare(state: LearnerState, trajectories: Sequence[Trajectory]):
    kept = with_reward(trajectories)
    if any(t.parent is not None for t in kept):
      raise ValueError("token-level PPO needs trajectories in one piece; branches have no single token chain")
    columns = {"rewards": Column([t.token_rewards for t in kept])}
    batch = pack(kept, columns, policy.pack, least_trees=cfg.minibatches)
    old_logp, old_values = evaluate(state.params, batch)
    rewards, metrics = jnp.asarray(batch.columns["rewards"]), {}
    if cfg.kl_coef:
      ref_logp = score(state.reference, batch)
      divergence = chosen["kl"](old_logp, ref_logp, batch.action_mask)
      batch = batch.with_columns(ref_logp=ref_logp)
      metrics["policy/kl_ref"] = reduce.token_mean(divergence, batch.action_mask, jnp.sum(batch.sequence_length))
    if cfg.kl_coef and cfg.kl_in == "reward":
      rewards = rewards - cfg.kl_coef * kl.k1(old_logp, ref_logp, batch.action_mask)
    gained, targets, explained = credit(rewards, old_values, batch)
    batch = batch.with_columns(advantages=gained, returns=targets, old_values=old_values, old_logp=old_logp)
    return batch, {"value/explained_variance": explained, **metrics}

  def update(state: LearnerState, key, batch):
    return run(step, state, key, batch)

  return Algorithm(init, prepare, update)


def _resolve(cfg):
  """Names to functions, once."""
  return {
    "surrogate": with_settings(losses.ppo, cfg.loss, section="algo.loss"),
    "reduce": gradients.reduction(cfg),
    "value_coef": cfg.value_coef,
    "value_clip": cfg.value_clip,
    "value_detach": cfg.value_detach,
    "kl": by_name(kl.KL_ESTIMATORS, cfg.kl, kind="KL estimator"),
    "kl_coef": cfg.kl_coef if cfg.kl_in == "loss" else 0.0,
    "entropy_coef": cfg.entropy_coef,
  }


def _evaluate(policy, params, batch):
  """Log-probs and values of the whole batch under the current params, [M, B, A] each."""

  def one(index, out):
    micro = gradients.micro_batch(batch, index)
    actions = gradients.action_outputs(params["policy"], micro, policy)
    values = jnp.where(micro.action_mask, heads.apply_value_head(params["value"], actions.hidden), 0.0)
    return out[0].at[index].set(actions.logp), out[1].at[index].set(values)

  zeros = jnp.zeros(batch.action_mask.shape, jnp.float32)
  return jax.lax.fori_loop(0, batch.micro_batches, one, (zeros, zeros))


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


def _loss(policy, chosen, params, reference, micro) -> LossOutput:
  """Share of the objective that one micro-batch carries."""
  del reference
  out = gradients.action_outputs(params["policy"], micro, policy)
  columns = micro.columns
  per_token, flags = chosen["surrogate"](
    out.logp,
    columns["old_logp"],
    columns["advantages"],
    micro.action_mask,
    micro.action_sequence,
    micro.sequence_length,
  )
  hidden = jax.lax.stop_gradient(out.hidden) if chosen["value_detach"] else out.hidden
  values = heads.apply_value_head(params["value"], hidden)
  value_loss = losses.clipped_value_loss(
    values, columns["old_values"], columns["returns"], micro.action_mask, clip=chosen["value_clip"]
  )
  per_token = per_token + chosen["value_coef"] * value_loss - chosen["entropy_coef"] * out.entropy
  if chosen["kl_coef"]:
    per_token = per_token + chosen["kl_coef"] * chosen["kl"](out.logp, columns["ref_logp"], micro.action_mask)
  loss = chosen["reduce"](per_token, micro.action_mask, micro.action_sequence, micro.sequence_length)
  sums, maxima = gradients.policy_metrics(out, micro, flags)
  tokens = jnp.sum(micro.sequence_length)
  sums["value/loss"] = reduce.token_mean(jax.lax.stop_gradient(value_loss), micro.action_mask, tokens)
  return LossOutput(loss, sums, maxima)
