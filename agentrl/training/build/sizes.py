"""Whether the longest trajectory of a run fits into a row of its updates."""

from __future__ import annotations

from agentrl.batching.pack import PackConfig
from agentrl.training.build.rollout import RolloutSettings


def check_sizes(rollout: RolloutSettings, pack: PackConfig) -> None:
  """Raises ValueError where a trajectory could be longer, or hold more actions, than a row of the update."""
  if rollout.max_tokens > pack.row_tokens:
    raise ValueError(
      f"rollout.max_tokens={rollout.max_tokens} exceeds pack.row_tokens={pack.row_tokens}: "
      "a trajectory must fit into a row of the update"
    )
  actions = most_actions(rollout)
  if actions > pack.row_actions:
    raise ValueError(
      f"pack.row_actions={pack.row_actions} is too small for a trajectory of {actions} sampled tokens, which "
      f"rollout.max_tokens={rollout.max_tokens}, rollout.max_turns={rollout.max_turns} and "
      f"rollout.turn_tokens={rollout.turn_tokens} allow: raise pack.row_actions to {actions}, or bound the turns by "
      f"rollout.turn_tokens={max(1, pack.row_actions // rollout.max_turns)}"
    )


def most_actions(rollout: RolloutSettings) -> int:
  """The most tokens that a trajectory may sample: all but one token of the prompt, or as many as its turns may hold."""
  room = rollout.max_tokens - 1
  return min(room, rollout.max_turns * rollout.turn_tokens) if rollout.turn_tokens else room
