"""Every token gets the advantage of its trajectory, which is compared with the others of its prompt.

The equations stand in `ops/advantages.py`. Samples that branch from each other are members like others, see
`algorithms/grpo.py` for what that does to a baseline.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import numpy as np

from agentrl.credit.columns import everywhere
from agentrl.credit.contract import Credit, Learner, declares
from agentrl.ops import advantages
from agentrl.ops.advantages import STD_EPSILON
from agentrl.types import Trajectory


def groups_of(trajectories: Sequence[Trajectory]) -> tuple[np.ndarray, int]:
  """Which group each trajectory is in, int32 [N], counted from 0; and how many groups there are."""
  _, group = np.unique([t.group_id for t in trajectories], return_inverse=True)
  return group.astype(np.int32), int(group.max()) + 1


def compared(trajectories: Sequence[Trajectory], estimate: Callable[..., jax.Array]) -> Credit:
  """The credit of `estimate(rewards [N], group [N], valid [N], num_groups=) -> advantages [N]`."""
  rewards = np.asarray([t.reward for t in trajectories], np.float32)
  group, count = groups_of(trajectories)
  return of_trajectories(trajectories, estimate(rewards, group, np.ones(len(rewards), bool), num_groups=count))


def of_trajectories(trajectories: Sequence[Trajectory], per_trajectory: jax.Array) -> Credit:
  """The credit of advantages of whole trajectories, [N]."""
  gained = np.asarray(per_trajectory)
  metrics = {"advantage/mean_abs": np.mean(np.abs(gained)), "advantage/nonzero": np.mean(gained != 0)}
  return Credit(everywhere(trajectories, gained), metrics=metrics)


@declares(compares=True)
def grpo(learner: Learner, trajectories: Sequence[Trajectory], *, epsilon: float = STD_EPSILON) -> Credit:
  """`(r - mean_g) / (std_g + epsilon)`, see `ops.advantages.grpo`."""
  del learner
  return compared(trajectories, lambda *arrays, **sizes: advantages.grpo(*arrays, **sizes, epsilon=epsilon))


@declares(compares=True)
def dr_grpo(learner: Learner, trajectories: Sequence[Trajectory]) -> Credit:
  """`r - mean_g`, see `ops.advantages.dr_grpo`."""
  del learner
  return compared(trajectories, advantages.dr_grpo)


@declares(compares=True)
def leave_one_out(learner: Learner, trajectories: Sequence[Trajectory]) -> Credit:
  """`r_i - mean_{j != i} r_j`, see `ops.advantages.leave_one_out`."""
  del learner
  return compared(trajectories, advantages.leave_one_out)


@declares(compares=True)
def batch_std(learner: Learner, trajectories: Sequence[Trajectory], *, epsilon: float = STD_EPSILON) -> Credit:
  """`(r - mean_g) / (std_batch + epsilon)`, see `ops.advantages.batch_std`."""
  del learner
  return compared(trajectories, lambda *arrays, **sizes: advantages.batch_std(*arrays, **sizes, epsilon=epsilon))


def whitened_reward(learner: Learner, trajectories: Sequence[Trajectory], *, epsilon: float = STD_EPSILON) -> Credit:
  """`(r - mean_batch) / (std_batch + epsilon)`: all of the batch is one group, whatever prompt a sample answers.

  The batch-level normalisation that Lite PPO's authors compare (Liu et al., 2025, https://arxiv.org/abs/2508.08221): an
  easy prompt pays its failures little and a hard one its successes much, so that prompts are told apart, not samples.
  """
  del learner
  rewards = np.asarray([t.reward for t in trajectories], np.float32)
  one = np.zeros(len(rewards), np.int32), np.ones(len(rewards), bool)
  return of_trajectories(trajectories, advantages.grpo(rewards, *one, num_groups=1, epsilon=epsilon))


@declares(compares=True)
def max_rl(learner: Learner, trajectories: Sequence[Trajectory], *, epsilon: float = STD_EPSILON) -> Credit:
  """`(r - mean_g) / (mean_g + epsilon)`, see `ops.advantages.max_rl`.

  Raises:
    ValueError: a reward is negative, so that a mean says nothing about how rare success is.
  """
  del learner
  if negative := [t for t in trajectories if t.reward < 0]:
    raise ValueError(
      f"algo.credit='max_rl' divides by the mean reward of a prompt, and trajectory {negative[0].uid} (task "
      f"{negative[0].task_id}) has the reward {negative[0].reward:g}: give rewards of at least 0"
    )
  return compared(trajectories, lambda *arrays, **sizes: advantages.max_rl(*arrays, **sizes, epsilon=epsilon))


@declares(compares=True)
def reinforce_plus_plus_baseline(learner: Learner, trajectories: Sequence[Trajectory]) -> Credit:
  """`r - mean_g`, whitened over the batch's trajectories, see `ops.advantages.reinforce_plus_plus_baseline`."""
  del learner
  return compared(trajectories, advantages.reinforce_plus_plus_baseline)
