"""Which trajectories and groups reach the update; what a filter drops leaves loss and baseline alike."""

from __future__ import annotations

import collections
from collections.abc import Sequence

from agentrl.types import StopReason, Trajectory, TurnKind


def without_failures(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
  """Drops trajectories whose environment failed: they leave loss and baseline."""
  return [t for t in trajectories if not t.failed]


def without_void_turns(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
  """Drops trajectories with a turn that neither calls a tool nor answers.

  Unlike the paper (SimpleTIR, Xue et al., 2025, https://arxiv.org/abs/2509.02479), which filters them from the loss,
  they leave the baseline too: filters run before the advantages.
  """
  return [t for t in trajectories if all(turn.kind is not TurnKind.VOID for turn in t.turns)]


def without_overlong(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
  """Drops trajectories that ran into the length limit (DAPO's overlong filtering, https://arxiv.org/abs/2503.14476)."""
  return [t for t in trajectories if t.stop is not StopReason.LENGTH_LIMIT]


def without_flat_groups(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
  """Drops groups whose rewards are all equal: no baseline can tell their members apart (DAPO's dynamic sampling)."""
  rewards = collections.defaultdict(set)
  for t in trajectories:
    rewards[t.group_id].add(t.reward)
  return [t for t in trajectories if len(rewards[t.group_id]) > 1]


FILTERS = {
  "void_turns": without_void_turns,
  "overlong": without_overlong,
  "flat_groups": without_flat_groups,
}
