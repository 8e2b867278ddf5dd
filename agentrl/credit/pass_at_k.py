"""The advantage of one sample where k are drawn and the best of them counts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from agentrl.credit.contract import Credit, Learner, declares
from agentrl.credit.group_baselines import groups_of, of_trajectories
from agentrl.types import Trajectory


@declares(compares=True)
def pass_at_k(learner: Learner, trajectories: Sequence[Trajectory], *, k: int = 4) -> Credit:
  """The mean of `(best - mean best) / std of the best` over the sets of k samples of a prompt that hold the sample.

  With rewards 0 and 1, n samples and f failures this is `(1 - p) / s` of a success and `(1 - p - q) / s` of a failure:
  `p = 1 - C(f, k) / C(n, k)` is pass@k, `s = sqrt(p (1 - p))`, and `q = C(f - 1, k - 1) / C(n - 1, k - 1)` the share of
  the sets with a given failure that hold no success. Where all sets have the same best nothing is learned: a prompt
  that most samples solve is left as it is, and the policy keeps searching.

  Chen et al., 2025, "Pass@k training for adaptively balancing exploration and exploitation"
  (https://arxiv.org/abs/2508.10751), the analytic form. Unlike the paper it takes any rewards, as Walder and Karkhanis,
  2025 (https://arxiv.org/abs/2505.15201), do.

  Args:
    learner: not asked.
    trajectories: with rewards.
    k: samples of a set.

  Raises:
    ValueError: a prompt has fewer than k samples.
  """
  del learner
  group, count = groups_of(trajectories)
  rewards, gained = np.asarray([t.reward for t in trajectories], np.float64), np.zeros(len(trajectories))
  for members in (np.flatnonzero(group == g) for g in range(count)):
    if len(members) < k:
      raise ValueError(
        f"algo.credit_options.k={k} takes sets of {k} samples, and task {trajectories[members[0]].task_id} has "
        f"{len(members)}: lower it, or raise rollout.group_size"
      )
    gained[members] = _gained(rewards[members], k)
  return of_trajectories(trajectories, gained.astype(np.float32))


def _gained(rewards: np.ndarray, k: int) -> np.ndarray:
  """f64 [n]: the advantage of each sample of a prompt."""
  order = np.argsort(rewards, kind="stable")
  best, n = rewards[order], len(rewards)
  share = np.asarray([math.comb(j, k - 1) for j in range(n)]) / math.comb(n, k)  # of the sets whose best is the j-th
  mean = share @ best
  spread = math.sqrt(share @ np.square(best - mean))
  if best[k - 1] == best[-1]:
    return np.zeros(n)
  # Of the sets that hold the i-th: those in which it is the best, and those whose best is a later j-th.
  sets = math.comb(n - 1, k - 1)
  own = np.asarray([math.comb(i, k - 1) for i in range(n)]) / sets
  later = np.asarray([math.comb(j - 1, k - 2) if k > 1 and j > 0 else 0 for j in range(n)]) / sets
  above = np.append(np.cumsum((later * (best - mean))[::-1])[::-1][1:], 0.0)
  gained = np.zeros(n)
  gained[order] = (own * (best - mean) + above) / spread
  return gained
