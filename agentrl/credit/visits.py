"""The visits of a search: a token's step counts as much as the search went there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agentrl.credit.columns import everywhere
from agentrl.credit.contract import Credit, Learner, declares
from agentrl.credit.value_baseline import metrics_of
from agentrl.types import Trajectory


@declares(heads=("value",), siblings=True)
def visits(learner: Learner, trajectories: Sequence[Trajectory]) -> Credit:
  """`A_t = N(s, a) / N(s)`, the share of the visits that the step of the token had; the value head learns R.

  With the log-prob of a step, which is the sum of its tokens', it fits the policy to the visit distribution, as in
  AlphaZero (Silver et al., 2017, https://doi.org/10.1038/nature24270).

  Args:
    learner: asked for the values, for their metrics.
    trajectories: visited paths, and their visited siblings as branches (`rollout/search/record.py`), whose R is the
      mean value of their visits.

  Raises:
    ValueError: a branch is no such sibling, or its path is missing.
  """
  rewards = everywhere(trajectories, np.asarray([t.reward for t in trajectories], np.float32))
  shares = _shares(trajectories)
  return Credit(shares, rewards, metrics_of(trajectories, shares, learner.values()))


def _shares(trajectories: Sequence[Trajectory]) -> list[np.ndarray]:
  """The share of the visits that the step of each token had, f32 `[T]` per trajectory.

  A branch says its own share and that of the path's step beside it; a step of the path without branches had all visits.
  Before its fork a branch repeats its path's shares, since a token that several hold gets the mean of theirs.
  """
  shares = {t.uid: np.ones(len(t.tokens), np.float32) for t in trajectories if t.parent is None}
  branches = [t for t in trajectories if t.parent is not None]
  for t in branches:
    if t.visits is None or t.parent not in shares:
      raise ValueError(
        f"trajectory {t.uid} is no sibling step of a visited path in this batch: the credit 'visits' needs "
        "rollout.strategy='tree_search', and no filter that drops paths alone"
      )
    shares[t.parent][t.fork_at : t.fork_at + t.visits.path_tokens] = t.visits.path
  for t in branches:
    own = np.full(len(t.tokens) - t.fork_at, t.visits.branch, np.float32)
    shares[t.uid] = np.append(shares[t.parent][: t.fork_at], own)
  return [shares[t.uid] for t in trajectories]
