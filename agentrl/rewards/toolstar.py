"""The reward of Tool-Star: form before the answer, and a bonus for right answers that took more than one tool."""

from __future__ import annotations

from agentrl.rewards.parts import correct, well_formed
from agentrl.types import StopReason, Task, ToolFailure, Trajectory

_REFUSED = (ToolFailure.MALFORMED, ToolFailure.ARGUMENTS)


def toolstar(
  trajectory: Trajectory,
  task: Task,
  *,
  bonus: float = 0.1,
  kinds: int = 2,
  malformed: float = -1.0,
  until: int = 0,
) -> float:
  """`-1` of a malformed episode, else 0 where wrong, else the verdict, plus `r_M` for calls of several tools.

    R = max(acc + r_M, acc) if acc > 0,  0 if acc = 0,  r_M = 0.1 if both tools were called, else 0

  Tool-Star, Dong et al., 2025 (https://arxiv.org/abs/2505.16410), and its code for questions. An episode is malformed
  that has a turn which is neither a call nor an answer, or no answer. The bonus is for the calls alone, whether or not
  the answer needed them. It says itself whether the answer is right, so that it takes the place of the part `correct`.

  Args:
    trajectory: what was done.
    task: for the error of a missing verdict.
    bonus: r_M.
    kinds: tools that have to be called for it; a call that was refused because of its arguments is none.
    malformed: what a malformed episode is worth, whatever it answered.
    until: updates after which the bonus is no longer paid; 0: it always is. Unlike the paper, which never drops it.

  Raises:
    ValueError: fewer than 2 kinds, or a number of updates below 0.
  """
  if kinds < 2:
    raise ValueError(f"kinds must be at least 2, got {kinds}")
  if until < 0:
    raise ValueError(f"until must be at least 0, got {until}")
  if trajectory.stop is not StopReason.ANSWERED or well_formed(trajectory, task) < 1:
    return malformed
  verdict = correct(trajectory, task)
  paid = not until or int(trajectory.policy_version.max(initial=0)) < until
  return verdict + bonus if verdict > 0 and paid and len(_called(trajectory)) >= kinds else verdict


def _called(trajectory: Trajectory) -> set[str]:
  """Names of the tools that were called, other than by a call that was refused."""
  results = [result for turn in trajectory.turns for result in turn.results]
  return {result.call.name for result in results if result.failure not in _REFUSED}
