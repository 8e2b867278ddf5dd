"""A progress head: its term trains it to forecast the reward, and a credit function gives turns what they moved it."""

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
