"""Generalised advantage estimation over turns: a turn is one decision, however many tokens it has."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from agentrl.credit.columns import Rows, padded, rows_of, unpadded
from agentrl.credit.contract import Credit, Learner, declares
from agentrl.credit.gae import explained_variance
from agentrl.credit.turns import at_starts, at_tokens, turns_of
from agentrl.ops import advantages, returns
from agentrl.types import Trajectory


@declares(heads=("value",), chains=True)
def turn_gae(
  learner: Learner,
  trajectories: Sequence[Trajectory],
  *,
  discount: float = 1.0,
  per_token: bool = False,
  gae_lambda: float = 0.95,
  whiten: bool = True,
) -> Credit:
  """`A_u = delta_u + d_u lambda A_{u+1}` with `delta_u = r_u + d_u V_{u+1} - V_u`; all tokens of a turn get its A.

  GAE (https://arxiv.org/abs/1506.02438) on the semi-Markov process of turns (Sutton, Precup and Singh, 1999,
  https://doi.org/10.1016/S0004-3702(99)00052-1). V_u is what the value head says in front of the first token of turn
  u; its target, the return from the turn on, stands at all tokens of the turn.

  Args:
    learner: asked for the values.
    trajectories: without branches.
    discount: gamma per turn, so that d_u = gamma.
    per_token: gamma is per sampled token instead: d_u = gamma^k behind a turn of k tokens.
    gae_lambda: per turn.
    whiten: advantages to mean 0 and variance 1 over the batch's tokens.
  """
  (rows, turns), values = rows_of(trajectories), padded(trajectories, learner.values())
  chosen = {"discount": discount, "per_token": per_token, "gae_lambda": gae_lambda, "whiten": whiten}
  gained, targets, explained = _estimated(rows, values, turns=turns, **chosen)
  metrics = {"value/explained_variance": explained}
  return Credit(unpadded(trajectories, gained), unpadded(trajectories, targets), metrics)


@functools.partial(jax.jit, static_argnames=("turns", "discount", "per_token", "gae_lambda", "whiten"))
def _estimated(
  rows: Rows,
  token_values: jax.Array,
  *,
  turns: int,
  discount: float,
  per_token: bool,
  gae_lambda: float,
  whiten: bool,
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Advantages and value targets [N, A], and the share of the targets' variance that the values explain."""
  found, values = turns_of(rows, turns, discount=discount, per_token=per_token), at_starts(token_values, rows, turns)
  nothing = jnp.zeros(values.shape[0], jnp.float32)
  gained = returns.gae(found.rewards, values, found.discounts, nothing, gae_lambda=gae_lambda, mask=found.mask)
  targets = at_tokens(jnp.where(found.mask, gained + values, 0.0), rows)
  at_each = at_tokens(gained, rows)
  explained = explained_variance(token_values, targets, rows.mask)
  return (advantages.whiten(at_each, rows.mask) if whiten else at_each), targets, explained
