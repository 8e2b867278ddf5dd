"""What an episode is worth: named reward functions over the samples of a task, and what weighs and adds their parts."""

from __future__ import annotations

from collections.abc import Mapping

from agentrl.rewards import artist, ftrl, lengths, parts, tool_economy, toolrl
from agentrl.rewards.contract import RewardFunction, each
from agentrl.rewards.router import router
from agentrl.rewards.toolstar import toolstar

REWARDS: Mapping[str, RewardFunction] = {
  "correct": each(parts.correct),
  "turn_rewards": each(parts.turn_rewards),
  "well_formed": each(parts.well_formed),
  "void_turns": each(parts.void_turns),
  "tool_calls": each(parts.tool_calls),
  "cost": each(parts.cost),
  "calls_with": each(parts.calls_with),
  "used_tool": each(parts.used_tool),
  "tool_economy": each(tool_economy.tool_economy),
  "fewest_tool_calls": tool_economy.fewest_tool_calls,
  "knowledge_boundary": each(tool_economy.knowledge_boundary),
  "soft_overlong": each(parts.soft_overlong),
  "router": router,
  "toolstar": each(toolstar),
  "shortest_in_group": lengths.shortest_in_group,
  "fewest_turns_in_group": lengths.fewest_turns_in_group,
  "toolrl_format": each(toolrl.toolrl_format),
  "toolrl_correct": each(toolrl.toolrl_correct),
  "thought_length": each(toolrl.thought_length),
  "call_names": each(toolrl.call_names),
  "call_keys": each(toolrl.call_keys),
  "call_values": each(toolrl.call_values),
  "ftrl": each(ftrl.ftrl),
  "solve_precision": each(ftrl.solve_precision),
  "solve_recall": each(ftrl.solve_recall),
  "solve_f1": each(ftrl.solve_f1),
  "executed": each(artist.executed),
  "calls_found": each(artist.calls_found),
  "artist_format": each(artist.artist_format),
}
