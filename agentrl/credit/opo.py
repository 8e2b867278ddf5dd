"""OPO: the baseline of a group is its mean reward by token, so that long answers weigh more."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agentrl.credit.contract import Credit, Learner, declares
from agentrl.credit.group_baselines import compared
from agentrl.ops import advantages
from agentrl.types import Trajectory


@declares(compares=True)
def opo(learner: Learner, trajectories: Sequence[Trajectory]) -> Credit:
  """`r_i - sum_j l_j r_j / sum_j l_j` over the group, with l the number of sampled tokens.

  It is the baseline of least variance where the squared gradient of an answer grows with its length, for updates that
  are exactly on-policy. Hao et al., 2025 (https://arxiv.org/abs/2505.23585), eq. 8 and 9.
  """
  del learner
  lengths = np.asarray([np.sum(t.action_mask) for t in trajectories], np.float32)
  return compared(trajectories, lambda *arrays, **sizes: advantages.opo(*arrays, lengths=lengths, **sizes))
