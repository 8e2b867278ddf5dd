"""Generalised advantage estimation over sampled tokens: PPO's credit."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from agentrl.credit.columns import padded, rows_of, unpadded
from agentrl.credit.contract import Credit, Learner, declares
from agentrl.ops import advantages, kl, reduce, returns
from agentrl.types import Trajectory


def _penalised(settings: Mapping[str, Any]) -> bool:
  return settings["kl_coef"] > 0


@declares(heads=("value",), reference=_penalised, chains=True)
def gae(
  learner: Learner,
  trajectories: Sequence[Trajectory],
  *,
  discount: float = 1.0,
  gae_lambda: float = 0.95,
  target_lambda: float | None = None,
  whiten: bool = True,
  kl_coef: float = 0.0,
) -> Credit:
  """`A_t = delta_t + gamma lambda A_{t+1}` with `delta_t = r_t + gamma V_{t+1} - V_t`, see `ops.returns.gae`.

  Schulman et al., 2015 (https://arxiv.org/abs/1506.02438), over sampled tokens alone: an observation between two of
  them passes value and advantage through unchanged.

  Args:
    learner: asked for the values and, for a penalty, log-probs.
    trajectories: without branches; what a turn earned is the reward of its last token.
    discount: gamma per sampled token.
    gae_lambda: of the advantages.
    target_lambda: of the returns that the value head learns, which may be less biased than the advantages are noisy
      (Yuan et al., 2025, https://arxiv.org/abs/2503.01491); None: `gae_lambda`.
    whiten: advantages to mean 0 and variance 1 over the batch's tokens.
    kl_coef: weight of a penalty `-kl_coef k1` on every token's reward, against the frozen reference.
  """
  rows, _ = rows_of(trajectories)
  values = padded(trajectories, learner.values())
  rewards, metrics = rows.rewards, {}
  if kl_coef:
    logp, ref_logp = padded(trajectories, learner.logp()), padded(trajectories, learner.ref_logp())
    penalty, metrics["policy/kl_ref"] = _penalty(logp, ref_logp, rows.mask)
    rewards = rewards - kl_coef * penalty
  target_lambda = gae_lambda if target_lambda is None else target_lambda
  gained, targets, explained = _estimated(
    rewards, values, rows.mask, discount=discount, gae_lambda=gae_lambda, target_lambda=target_lambda, whiten=whiten
  )
  metrics["value/explained_variance"] = explained
  return Credit(unpadded(trajectories, gained), unpadded(trajectories, targets), metrics)


@jax.jit
def _penalty(logp: jax.Array, ref_logp: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
  """k1 of every token, [N, A], and the mean of k3 by token, the KL that is reported."""
  mean = reduce.token_mean(kl.k3(logp, ref_logp, mask), mask, jnp.sum(mask, dtype=jnp.float32))
  return kl.k1(logp, ref_logp, mask), mean


@functools.partial(jax.jit, static_argnames=("discount", "gae_lambda", "target_lambda", "whiten"))
def _estimated(
  rewards: jax.Array,
  values: jax.Array,
  mask: jax.Array,
  *,
  discount: float,
  gae_lambda: float,
  target_lambda: float,
  whiten: bool,
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Advantages and value targets [N, A], and the share of the targets' variance that the values explain."""
  known = rewards, values, jnp.full(rewards.shape, discount, jnp.float32), jnp.zeros(rewards.shape[0], jnp.float32)
  gained = returns.gae(*known, gae_lambda=gae_lambda, mask=mask)
  targets = returns.lambda_returns(*known, return_lambda=target_lambda, mask=mask)
  explained = explained_variance(values, targets, mask)
  return (advantages.whiten(gained, mask) if whiten else gained), targets, explained


def explained_variance(values: jax.Array, targets: jax.Array, mask: jax.Array) -> jax.Array:
  """`1 - Var(targets - values) / Var(targets)` over the unmasked elements `[N, A]`: 1 for a critic that is right."""
  return 1.0 - _variance(targets - values, mask) / jnp.maximum(_variance(targets, mask), 1e-8)


def _variance(values: jax.Array, mask: jax.Array) -> jax.Array:
  count = jnp.sum(mask, dtype=jnp.float32)
  mean = reduce.token_mean(values, mask, count)
  return reduce.token_mean(jnp.square(values - mean), mask, count)
