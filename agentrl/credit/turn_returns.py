"""What a turn earned from then on: REINFORCE over turns."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from agentrl.credit.columns import Rows, rows_of, unpadded
from agentrl.credit.contract import Credit, Learner
from agentrl.credit.turns import at_tokens, earned_from, turns_of
from agentrl.ops import advantages, reduce
from agentrl.types import Trajectory


def turn_returns(
  learner: Learner,
  trajectories: Sequence[Trajectory],
  *,
  discount: float = 1.0,
  per_token: bool = False,
  whiten: bool = True,
) -> Credit:
  """`A_u = G_u = r_u + d_u G_{u+1}`, whitened over the batch; all tokens of a turn get its A.

  Whitened it is REINFORCE++ (Hu et al., 2025, https://arxiv.org/abs/2501.03262) with turns in place of tokens.

  Args:
    learner: not asked.
    trajectories: with what their turns earned.
    discount: gamma per turn, so that d_u = gamma.
    per_token: gamma is per sampled token instead: d_u = gamma^k behind a turn of k tokens.
    whiten: advantages to mean 0 and variance 1 over the batch's tokens.
  """
  del learner
  rows, turns = rows_of(trajectories)
  gained, mean = _estimated(rows, turns=turns, discount=discount, per_token=per_token, whiten=whiten)
  return Credit(unpadded(trajectories, gained), metrics={"return/mean": mean})


@functools.partial(jax.jit, static_argnames=("turns", "discount", "per_token", "whiten"))
def _estimated(
  rows: Rows, *, turns: int, discount: float, per_token: bool, whiten: bool
) -> tuple[jax.Array, jax.Array]:
  """Advantages [N, A], and the mean return by token."""
  found = turns_of(rows, turns, discount=discount, per_token=per_token)
  earned = at_tokens(earned_from(found), rows)
  mean = reduce.token_mean(earned, rows.mask, jnp.sum(rows.mask, dtype=jnp.float32))
  return (advantages.whiten(earned, rows.mask) if whiten else earned), mean
