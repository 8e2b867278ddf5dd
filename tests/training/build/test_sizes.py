"""Rows hold the longest trajectory that a run may sample."""

import pytest

from agentrl.batching.pack import PackConfig
from agentrl.training.build.rollout import RolloutSettings
from agentrl.training.build.sizes import check_sizes


@pytest.mark.parametrize(
  ("turns", "turn_tokens", "actions"),
  [(3, 0, 63), (3, 12, 36), (5, 12, 60), (6, 12, 63)],  # 6 turns of 12 would be 72: more than fits behind a prompt
)
def test_the_most_actions_of_a_trajectory(turns, turn_tokens, actions):
  rollout = {"max_tokens": 64, "max_turns": turns, "turn_tokens": turn_tokens}

  def sized(row_actions):
    return RolloutSettings(**rollout), PackConfig(row_actions=row_actions, sequences=1)

  check_sizes(*sized(actions))
  with pytest.raises(ValueError, match=f"pack.row_actions={actions - 1} .*to {actions}, or bound"):
    check_sizes(*sized(actions - 1))
