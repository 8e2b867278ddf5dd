"""The reward of the whole at every token, as it is or less what the value head says."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from agentrl.batching.forest import Forest
from agentrl.credit.columns import everywhere
from agentrl.credit.contract import Credit, Learner, declares
from agentrl.types import Trajectory


@declares(heads=("value",))
def value_baseline(learner: Learner, trajectories: Sequence[Trajectory]) -> Credit:
  """`A_t = R - V(s_t)`, without discount; the value head learns R."""
  return _against(learner, trajectories, lambda reward, value: reward - value)


@declares(heads=("value",))
def reward(learner: Learner, trajectories: Sequence[Trajectory]) -> Credit:
  """`A_t = R`; the value head learns R all the same."""
  return _against(learner, trajectories, lambda reward, value: reward)


def _against(
  learner: Learner, trajectories: Sequence[Trajectory], gain: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> Credit:
  rewards = everywhere(trajectories, np.asarray([t.reward for t in trajectories], np.float32))
  values = learner.values()
  gained = [gain(r, v) for r, v in zip(rewards, values, strict=True)]
  return Credit(gained, rewards, metrics_of(trajectories, gained, values))


def metrics_of(
  trajectories: Sequence[Trajectory], gained: Sequence[np.ndarray], values: Sequence[np.ndarray]
) -> dict[str, np.ndarray]:
  """The mean advantage, and the mean squared error of the values as predictions of the reward, by sampled token.

  A token that several trajectories hold counts once, with their mean.
  """
  errors = [np.square(t.reward - v) for t, v in zip(trajectories, values, strict=True)]
  forest = Forest(trajectories)
  own = [np.arange(len(t.tokens)) >= forest.own_start(n) for n, t in enumerate(trajectories)]
  sampled = [t.action_mask & mine for t, mine in zip(trajectories, own, strict=True)]
  advantage, error = (
    np.mean(np.concatenate([column[mask] for column, mask in zip(forest.means(columns), sampled, strict=True)]))
    for columns in (gained, errors)
  )
  return {"advantage/mean": advantage, "value/error": error}
