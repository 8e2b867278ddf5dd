"""Reward functions, most of them of a single episode: `(trajectory, task, *, settings)` to a number, or one per turn.

None of them is asked about a trajectory whose environment failed. The table `REWARDS` makes functions of groups of
those of one episode, see `contract.each`; `combine.py` weighs and adds the parts. One that measures a cost takes a
negative weight there.
"""

from __future__ import annotations

from agentrl.types import EnvironmentFailed, FailureKind, StopReason, Task, Trajectory, TurnKind


def correct(trajectory: Trajectory, task: Task) -> float:
  """The environment's own verdict on the answer; 0 where the trajectory ended without one.

  Raises:
    EnvironmentFailed: the environment took an answer and gave no verdict.
  """
  if trajectory.stop is not StopReason.ANSWERED:
    return 0.0
  known = trajectory.reward_parts or {}
  if "correct" not in known:
    told = f"task {task.id}: the environment ended the episode without the part 'correct'; it gave {[*known]}"
    raise EnvironmentFailed(told, FailureKind.REWARD)
  return float(known["correct"])


def well_formed(trajectory: Trajectory, task: Task) -> float:
  """Share of turns, in [0, 1], that are a tool call or an answer; 0 without turns."""
  del task
  good = sum(turn.kind in (TurnKind.TOOL_CALL, TurnKind.ANSWER) for turn in trajectory.turns)
  return good / max(len(trajectory.turns), 1)


def void_turns(trajectory: Trajectory, task: Task) -> float:
  """Number of turns with neither a call nor an answer."""
  del task
  return float(sum(turn.kind is TurnKind.VOID for turn in trajectory.turns))


def tool_calls(trajectory: Trajectory, task: Task) -> float:
  """Number of tool calls, failed ones included."""
  del task
  return float(sum(len(turn.results) for turn in trajectory.turns))


def cost(trajectory: Trajectory, task: Task) -> list[float]:
  """What the tools charge for the calls of each turn, in their unit; see `ToolResult.cost`."""
  del task
  return [turn.cost for turn in trajectory.turns]


def calls_with(trajectory: Trajectory, task: Task, *, text: str) -> float:
  """Number of tool calls with an argument that begins with a text, such as the name of one of two tables.

  Args:
    trajectory: what was done.
    task: not looked at.
    text: that an argument begins with.
  """
  del task
  calls = [result.call for turn in trajectory.turns for result in turn.results]
  return float(sum(any(str(value).startswith(text) for value in call.arguments.values()) for call in calls))


def used_tool(trajectory: Trajectory, task: Task) -> float:
  """1 where some tool call succeeded, else 0."""
  del task
  return float(any(result.ok for turn in trajectory.turns for result in turn.results))


def soft_overlong(trajectory: Trajectory, task: Task, *, max_tokens: int, buffer: int) -> float:
  """`clip(-(L - (L_max - L_buffer)) / L_buffer, -1, 0)`: from 0 down to -1 over the last tokens before the limit.

  DAPO, Yu et al., 2025 (https://arxiv.org/abs/2503.14476), eq. 13. L counts sampled tokens; tool output costs nothing.

  Args:
    trajectory: whose action tokens are counted.
    task: not looked at.
    max_tokens: L_max, in sampled tokens.
    buffer: L_buffer, in sampled tokens.
  """
  del task
  if not 0 < buffer <= max_tokens:
    raise ValueError(f"buffer must be between 1 and max_tokens ({max_tokens}), got {buffer}")
  length = int(trajectory.action_mask.sum())
  return min(0.0, max(-1.0, -(length - (max_tokens - buffer)) / buffer))


def turn_rewards(trajectory: Trajectory, task: Task) -> list[float]:
  """What the environment itself gave for each turn, turn by turn."""
  del task
  return [turn.reward for turn in trajectory.turns]
