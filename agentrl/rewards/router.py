"""The reward of Router-R1: right answers, cheaply, among answerers that have prices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from agentrl.rewards.contract import Part, across_tasks, each
from agentrl.rewards.parts import correct, well_formed
from agentrl.types import EnvironmentFailed, StopReason, Task, ToolFailure, Trajectory

_REFUSED = (ToolFailure.MALFORMED, ToolFailure.ARGUMENTS)
_SAME = 1e-9  # a smaller distance of the percentiles is none


@across_tasks
def router(
  episodes: Sequence[Trajectory],
  task: Task,
  memory: dict[str, Any],
  *,
  alpha: float = 0.0,
  pay_wrong: bool = False,
  window: int = 1000,
  low: float = 5.0,
  high: float = 95.0,
) -> list[Part]:
  """`(1 - alpha) outcome + alpha R_cost` of a right answer, 0 of a wrong one, -1 of a broken episode.

    R_cost = 1 - clip((s - lo) / (hi - lo), 0, 1),  s = sqrt(cost of the episode's calls)

  lo and hi are percentiles of the last `window` values of s, those of this group included; R_cost is 1/2 where they are
  the same. An episode is broken that has a turn which is neither a call nor an answer, a call that was refused because
  of its arguments, such as an unknown answerer, or no answer.

  Router-R1, Zhang et al., 2025 (https://arxiv.org/abs/2506.09033); constants as in its code. Unlike the paper's
  equation, and like its code, a wrong answer earns nothing by being cheap, unless `pay_wrong` says so.

  Args:
    episodes: the task's group.
    task: for the error of a missing verdict.
    memory: of all tasks; holds the last values of s under "roots", the oldest first.
    alpha: weight of the cost, in [0, 1]; 0: only answers count.
    pay_wrong: a wrong answer earns `alpha R_cost`.
    window: values of s that count.
    low: percentile that is lo, in percent.
    high: percentile that is hi, in percent.

  Raises:
    ValueError: a number out of its range.
  """
  _check(alpha, window, low, high)
  roots = [math.sqrt(sum(turn.cost for turn in episode.turns)) for episode in episodes]
  memory["roots"] = [*memory.get("roots", []), *roots][-window:]
  lo, hi = np.percentile(memory["roots"], (low, high))
  worth = []
  for episode, root, verdict in zip(episodes, roots, each(correct)(episodes, task, {}), strict=True):
    if isinstance(verdict, EnvironmentFailed):
      worth.append(verdict)
    elif not _is_whole(episode, task):
      worth.append(-1.0)
    else:
      cheap = 0.5 if hi - lo < _SAME else 1 - min(max((root - lo) / (hi - lo), 0.0), 1.0)
      worth.append((1 - alpha) * verdict + alpha * float(cheap) * (pay_wrong or verdict > 0))
  return worth


def _is_whole(episode: Trajectory, task: Task) -> bool:
  refused = any(result.failure in _REFUSED for turn in episode.turns for result in turn.results)
  return episode.stop is StopReason.ANSWERED and well_formed(episode, task) == 1 and not refused


def _check(alpha: float, window: int, low: float, high: float) -> None:
  if not 0 <= alpha <= 1:
    raise ValueError(f"alpha must be between 0 and 1, got {alpha}")
  if window < 1:
    raise ValueError(f"window must be at least 1, got {window}")
  if not 0 <= low < high <= 100:
    raise ValueError(f"low and high must be percentiles in order, from 0 to 100, got {low} and {high}")
