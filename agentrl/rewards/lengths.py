"""Penalties of length, linear in a group: its shortest episode has the most and its longest the least."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from agentrl.rewards.contract import Part, each
from agentrl.rewards.parts import correct
from agentrl.types import EnvironmentFailed, Task, Trajectory


def shortest_in_group(episodes: Sequence[Trajectory], task: Task, memory: dict[str, Any]) -> list[Part]:
  """`1/2 - (L - L_min) / (L_max - L_min)` of a correct episode, at most 0 of a wrong one; L counts sampled tokens.

  From 1/2 for the shortest of the group to -1/2 for the longest; 0 where all are as long. That a short wrong answer
  gains nothing keeps the policy from answering fast in place of well. Kimi team, 2025, "Kimi k1.5"
  (https://arxiv.org/abs/2501.12599), section 2.3.3.

  Args:
    episodes: the task's group. task: for the error of a missing verdict. memory: not used.
  """
  del memory
  return _linear(episodes, task, lambda episode: float(episode.action_mask.sum()))


def fewest_turns_in_group(episodes: Sequence[Trajectory], task: Task, memory: dict[str, Any]) -> list[Part]:
  """`shortest_in_group` with turns in place of tokens: what an agent's steps cost, be they long or short."""
  del memory
  return _linear(episodes, task, lambda episode: float(len(episode.turns)))


def _linear(episodes: Sequence[Trajectory], task: Task, length_of: Callable[[Trajectory], float]) -> list[Part]:
  lengths = [length_of(episode) for episode in episodes]
  span = max(lengths, default=0.0) - min(lengths, default=0.0)
  verdicts = each(correct)(episodes, task, {})
  parts: list[Part] = []
  for verdict, length in zip(verdicts, lengths, strict=True):
    share = 0.5 - (length - min(lengths)) / span if span else 0.0
    worth = verdict if isinstance(verdict, EnvironmentFailed) else share if verdict >= 1 else min(0.0, share)
    parts.append(worth)
  return parts
