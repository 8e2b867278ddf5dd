"""What an episode is worth: named reward functions over the samples of a task, and what weighs and adds their parts."""

from __future__ import annotations

from collections.abc import Mapping

from agentrl.rewards import lengths, parts, tool_economy
from agentrl.rewards.contract import RewardFunction, each
from agentrl.rewards.router import router

REWARDS: Mapping[str, RewardFunction] = {
  "correct": each(parts.correct),
  "turn_rewards": each(parts.turn_rewards),
  "well_formed": each(parts.well_formed),
  "void_turns": each(parts.void_turns),
  "tool_calls": each(parts.tool_calls),
  "cost": each(parts.cost),
  "used_tool": each(parts.used_tool),
  "tool_economy": each(tool_economy.tool_economy),
  "fewest_tool_calls": tool_economy.fewest_tool_calls,
  "knowledge_boundary": each(tool_economy.knowledge_boundary),
  "soft_overlong": each(parts.soft_overlong),
  "router": router,
  "shortest_in_group": lengths.shortest_in_group,
  "fewest_turns_in_group": lengths.fewest_turns_in_group,
}
