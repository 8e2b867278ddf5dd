"""SAPO's loss and OPO's baseline, as somebody would add them who changes nothing of ours: two functions."""

import jax
import jax.numpy as jnp
import numpy as np

from agentrl.credit.contract import Credit, declares


def sapo(logp, old_logp, advantages, mask, sequence, sequence_length, *, tau_pos=1.0, tau_neg=1.05):
  """`-(4 / tau) sigmoid(tau (r - 1)) A`, a gate in place of clipping, with a tau for each sign of A.

  Gao et al., 2025, "Soft adaptive policy optimization" (https://arxiv.org/abs/2511.20347).
  """
  del sequence, sequence_length  # the gate is per token
  log_ratio = jnp.where(mask, logp - jax.lax.stop_gradient(old_logp), 0.0)
  tau = jnp.where(advantages > 0, tau_pos, tau_neg)
  gate = jax.nn.sigmoid(tau * (jnp.exp(log_ratio) - 1.0)) * 4.0 / tau
  return -gate * jnp.where(mask, advantages, 0.0), {"log_ratio": jax.lax.stop_gradient(log_ratio)}


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
