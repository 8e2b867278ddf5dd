"""GDPO: every part of the reward is compared in its group by itself."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from agentrl.credit.contract import Credit, Learner, declares
from agentrl.credit.group_baselines import groups_of, of_trajectories
from agentrl.ops import advantages
from agentrl.ops.advantages import STD_EPSILON
from agentrl.types import Trajectory


@declares(compares=True)
def gdpo(learner: Learner, trajectories: Sequence[Trajectory], *, epsilon: float = STD_EPSILON) -> Credit:
  """`whiten(sum_k w_k (r_k - mean_g r_k) / (std_g r_k + epsilon))` over the parts k of the reward.

  Two answers whose parts differ are told apart where their sums are equal, and a part of large numbers does not drown
  the others. Liu et al., 2026 (https://arxiv.org/abs/2601.05242). Trajectories weigh the same in the whitening.
  """
  group, count = groups_of(trajectories)
  valid = np.ones(len(trajectories), bool)
  total = jnp.zeros(len(trajectories), jnp.float32)
  for name, weight in learner.reward_weights.items():
    part = np.asarray([t.reward_parts[name] for t in trajectories], np.float32)
    total = total + jnp.float32(weight) * advantages.grpo(part, group, valid, num_groups=count, epsilon=epsilon)
  return of_trajectories(trajectories, advantages.whiten(total, jnp.asarray(valid), epsilon=epsilon))
