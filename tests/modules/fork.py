"""What a fork writes: a policy loss of its own, and a progress head that redistributes the reward over turns."""

import jax
import jax.numpy as jnp
import numpy as np

from agentrl.algorithms.contract import HeadSpec
from agentrl.algorithms.objective import Term
from agentrl.batching.pack import Column
from agentrl.credit.contract import Credit, declares
from agentrl.models import heads


def sapo(logp, old_logp, advantages, mask, sequence, sequence_length, *, tau_pos=1.0, tau_neg=1.05):
  """`-(4 / tau) sigmoid(tau (r - 1)) A`, a gate in place of clipping, with a tau for each sign of A.

  Gao et al., 2025, "Soft adaptive policy optimization" (https://arxiv.org/abs/2511.20347).
  """
  del sequence, sequence_length  # the gate is per token
  log_ratio = jnp.where(mask, logp - jax.lax.stop_gradient(old_logp), 0.0)
  tau = jnp.where(advantages > 0, tau_pos, tau_neg)
  gate = jax.nn.sigmoid(tau * (jnp.exp(log_ratio) - 1.0)) * 4.0 / tau
  return -gate * jnp.where(mask, advantages, 0.0), {"log_ratio": jax.lax.stop_gradient(log_ratio)}


def outcomes(trajectories):
  """The reward of the whole trajectory, at each of its tokens."""
  return Column([np.full(len(t.tokens), t.reward, np.float32) for t in trajectories], shared="mean")


def progress(*, hidden=0):
  """Trains the head "progress" to say, at each token, what the trajectory is going to earn."""

  def per_token(out, micro):
    error = jnp.square(out.heads["progress"] - micro.columns["outcome"])
    return error, {"progress/error": error}

  head = HeadSpec(
    lambda key, model: heads.init_value_head(key, model, hidden),
    lambda params, states: heads.apply_value_head(params, jax.lax.stop_gradient(states)),
  )
  return Term(1.0, per_token, heads={"progress": head}, columns={"outcome": outcomes})


@declares(heads=("progress",))
def redistributed(learner, trajectories):
  """Each token's credit: how far the forecast of the reward rose during its turn; the last turn ends at the reward."""
  credit = []
  for t, values in zip(trajectories, learner.values("progress"), strict=True):
    sampled = np.flatnonzero(t.action_mask)
    turns = [sampled[t.turn[sampled] == u] for u in np.unique(t.turn[sampled])]
    at = [values[tokens[0]] for tokens in turns] + [t.reward]
    own = np.zeros(len(t.tokens), np.float32)
    for tokens, before, after in zip(turns, at[:-1], at[1:], strict=True):
      own[tokens] = after - before
    credit.append(own)
  return Credit(credit)
