"""A progress head: its term trains it to forecast the reward, and a credit function pays turns beyond the forecast."""

import jax
import jax.numpy as jnp
import numpy as np

from agentrl.algorithms.contract import HeadSpec
from agentrl.algorithms.objective import Term
from agentrl.batching.pack import Column
from agentrl.credit.contract import Credit, declares
from agentrl.models import heads


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
def beyond_forecast(learner, trajectories):
  """Each turn's credit: how far the reward came out above what was forecast in front of it.

  Only the end is known. What a forecast rose during a turn would say more, where the head could read it in the tokens.
  """
  credit = []
  for t, values in zip(trajectories, learner.values("progress"), strict=True):
    own = np.zeros(len(t.tokens), np.float32)
    for turn in np.unique(t.turn[t.action_mask]):
      tokens = np.flatnonzero(t.action_mask & (t.turn == turn))
      own[tokens] = t.reward - values[tokens[0]]
    credit.append(own)
  return Credit(credit)
