"""TOPR's loss and OPO's baseline, as somebody would add them who changes nothing of ours: two functions."""

import jax
import jax.numpy as jnp
import numpy as np

from agentrl.credit.contract import Credit, declares


def topr(logp, old_logp, advantages, mask, sequence, sequence_length, *, cap=1.0):
  """`-sg[w] A log pi`, with `w = 1` where A > 0 and `w = min(r, cap)` elsewhere: failures fade as they get unlikely.

  Le Roux et al., 2025, "Tapered off-policy REINFORCE" (https://arxiv.org/abs/2503.14286), with the ratio of a token.
  """
  del sequence, sequence_length  # the ratio is per token
  log_ratio = jax.lax.stop_gradient(jnp.where(mask, logp - old_logp, 0.0))
  weight = jnp.where(advantages > 0, 1.0, jnp.minimum(jnp.exp(log_ratio), cap))
  return -weight * jnp.where(mask, advantages * logp, 0.0), {"log_ratio": log_ratio}


@declares(compares=True)
def opo(learner, trajectories):
  """`A_i = r_i - sum_j l_j r_j / sum_j l_j` over the samples of a prompt, with l the tokens that each sampled.

  Hao et al., 2025, "On-policy RL with optimal reward baseline" (https://arxiv.org/abs/2505.23585).
  """
  del learner  # it asks for nothing
  baseline = {}
  for group in {t.group_id for t in trajectories}:
    pairs = [(t.action_mask.sum(), t.reward) for t in trajectories if t.group_id == group]
    baseline[group] = sum(length * reward for length, reward in pairs) / sum(length for length, _ in pairs)
  return Credit([np.full(len(t.tokens), t.reward - baseline[t.group_id], np.float32) for t in trajectories])
