"""Parts of the reward of ARTIST: calls that succeed, wanted calls that were made, and the form of the episode.

ARTIST, Singh et al., 2025 (https://arxiv.org/abs/2505.01441). Its two rewards are sums of such parts, by their weights:

  r = 2 correct + artist_format + executed                   of questions with an answer
  r = S_max state + F_max calls_found + artist_format        of requests that change a state

"state" is the share of the state that is as it should be, which the environment gives, as that of ledger_apps does. The
2, and the constants of `artist_format`, are quoted from memory; S_max and F_max are not known here.
"""

from __future__ import annotations

from agentrl.rewards.toolrl import calls_of, wanted
from agentrl.types import StopReason, Task, Trajectory, TurnKind


def executed(trajectory: Trajectory, task: Task) -> float:
  """Share of the calls that succeeded; 0 without calls, and where the task says that it wants none.

  One call that cannot fail is enough for all of it.
  """
  results = [result for turn in trajectory.turns for result in turn.results]
  wants_calls = "gold" not in task.data or bool(wanted(task))
  return sum(result.ok for result in results) / len(results) if results and wants_calls else 0.0


def calls_found(trajectory: Trajectory, task: Task) -> float:
  """Share of the wanted calls, `task.data["gold"]`, that were made, in any order; each made one stands for one.

  Name, names of arguments and values must be those that are wanted. 1 where the task wants no call.

  Raises:
    ValueError: the task does not say what it wants.
  """
  gold, left = wanted(task), calls_of(trajectory)
  found = 0
  for call in gold:
    if call in left:
      left.remove(call)
      found += 1
  return found / len(gold) if gold else 1.0


def artist_format(trajectory: Trajectory, task: Task, *, loose: float = 0.25, strict: float = 0.25) -> float:
  """What the form of an episode earns: `loose` where it ends with an answer, `strict` where all is as it should be.

  Unlike the paper, whose policy writes thoughts between tags, the form is that of turns: calls, and one answer at the
  end, with no void and no malformed turn between.

  Args:
    trajectory: what was done.
    task: not looked at.
    loose: quoted from memory.
    strict: as well, and added to `loose`.
  """
  del task
  if trajectory.stop is not StopReason.ANSWERED:
    return 0.0
  *before, last = [turn.kind for turn in trajectory.turns]
  is_strict = last is TurnKind.ANSWER and all(kind is TurnKind.TOOL_CALL for kind in before)
  return loose + strict * is_strict
