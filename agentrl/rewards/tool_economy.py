"""Reward functions that pay for right answers with few tool calls; see `contract.py` for what one is.

The plainest price needs none of them: the part `tool_calls` with a weight below 0 is linear in the calls, and is added
whether the answer is right or wrong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from agentrl.rewards.contract import Part, each
from agentrl.rewards.parts import correct, tool_calls
from agentrl.types import EnvironmentFailed, Task, Trajectory, TurnKind


def tool_economy(trajectory: Trajectory, task: Task, *, smoothing: float) -> float:
  """`correct cos(pi m / (2 m + c))` for m tool calls: 1 without any, towards 0 with many, and 0 where wrong.

  OTC, Wang et al., 2025 (https://arxiv.org/abs/2504.14870), the form for PPO, which needs no other sample of the group.

  Args:
    trajectory: what was done.
    task: for the error of a missing verdict.
    smoothing: c, in calls; the larger, the gentler.
  """
  return correct(trajectory, task) * _economy(tool_calls(trajectory, task), 0.0, smoothing)


def fewest_tool_calls(
  episodes: Sequence[Trajectory], task: Task, memory: dict[str, Any], *, smoothing: float, confirmed: int = 1
) -> list[Part]:
  """`correct sin(pi m / (m + n))` for m tool calls where n suffice: 1 at m = n, less with more and with fewer.

  n is the least number of calls of a correct answer to the task so far. Where n is 0 it is `tool_economy`.

  OTC, Wang et al., 2025 (https://arxiv.org/abs/2504.14870), the form for GRPO. Unlike the paper, n may wait until
  several answers confirm it, as one lucky guess without a call sets it to 0 for good.

  Args:
    episodes: the task's group. task: for the error of a missing verdict.
    memory: holds the calls of the correct answers so far under "calls", the `confirmed` smallest, sorted.
    smoothing: c of `tool_economy`, in calls; read where n is 0.
    confirmed: n is the calls of the correct answer that comes in this place by its calls, 1 the paper's; where there
      were fewer, of the last of them.
  """
  if confirmed < 1:
    raise ValueError(f"confirmed must be at least 1, got {confirmed}")
  verdicts = each(correct)(episodes, task, {})
  judged = {n: verdict for n, verdict in enumerate(verdicts) if not isinstance(verdict, EnvironmentFailed)}
  calls = [tool_calls(episode, task) for episode in episodes]
  enough = sorted([*memory.get("calls", ()), *(calls[n] for n, verdict in judged.items() if verdict >= 1)])[:confirmed]
  if not enough:
    return [0.0 if n in judged else verdict for n, verdict in enumerate(verdicts)]
  memory["calls"], least = enough, enough[-1]
  return [
    verdict * _economy(calls[n], least, smoothing) if n in judged else verdict for n, verdict in enumerate(verdicts)
  ]


def _economy(calls: float, least: float, smoothing: float) -> float:
  """OTC's coefficient of `calls` tool calls where `least` suffice."""
  if smoothing <= 0:
    raise ValueError(f"smoothing must be positive, got {smoothing}")
  if least:
    return math.sin(math.pi * calls / (calls + least))
  return math.cos(math.pi * calls / (2 * calls + smoothing))


def knowledge_boundary(
  trajectory: Trajectory,
  task: Task,
  *,
  bonus: float = 0.6,
  most: int = 3,
  crumb: float = 0.05,
  malformed: float = -1.0,
) -> float:
  """`1 + bonus max(0, 1 - k / most)` where right after k tool calls; where wrong `crumb` if k > 0, else 0.

  IKEA, Huang et al., 2025 (https://arxiv.org/abs/2505.07596), with the constants of its code: few calls pay where the
  answer is known, and a wrong answer without a call pays least. It says itself whether the answer is right, so that it
  takes the place of the part `correct`.

  Args:
    trajectory: what was done.
    task: for the error of a missing verdict.
    bonus: of a right answer without a call.
    most: calls, from which on a right answer has no bonus.
    crumb: of a wrong answer after a call.
    malformed: what an episode with a void or malformed turn is worth, whatever it answered.
  """
  if most < 1:
    raise ValueError(f"most must be at least 1, got {most}")
  if any(turn.kind in (TurnKind.VOID, TurnKind.MALFORMED) for turn in trajectory.turns):
    return malformed
  calls = tool_calls(trajectory, task)
  if correct(trajectory, task) >= 1:
    return 1.0 + bonus * max(0.0, 1.0 - calls / most)
  return crumb if calls else 0.0
