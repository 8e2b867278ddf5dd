"""How well the calls of an episode are those that a task wants: names, names of arguments, values.

ToolRL, Qian et al., 2025 (https://arxiv.org/abs/2504.13958), and its code. A task says which calls it wants in
`task.data["gold"]`: `[{"name": "pay", "arguments": {"who": "ana"}}, ...]`. Those of an episode are all that its turns
made, in order; the paper's episodes have one turn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from agentrl.named import by_name
from agentrl.types import Task, Trajectory, TurnKind

Pairs = Sequence[tuple["Call", "Call | None"]]


class Call(NamedTuple):
  """A call: the tool's name, and JSON values by argument."""

  name: str
  arguments: Mapping[str, Any]


class Ranges(NamedTuple):
  """What the least and the most are that a part of the reward gives.

  Attributes:
    format: of whether the turns are of the kinds that they should be.
    correct: of the calls.
  """

  format: tuple[float, float]
  correct: tuple[float, float]


def toolrl_format(
  trajectory: Trajectory, task: Task, *, schedule: str = "constant", schedule_options: Mapping[str, Any] | None = None
) -> float:
  """Whether the turns are of the kinds that they should be: 1 or 0 under a constant schedule.

  They are where none is void or malformed, and the first one calls tools exactly where the task wants calls.

  Args:
    trajectory: what was done.
    task: holds the calls that it wants.
    schedule: key of `SCHEDULES`, or the import path of a function `(step, *, settings) -> Ranges`.
    schedule_options: its settings.
  """
  gold, kinds = wanted(task), [turn.kind for turn in trajectory.turns]
  well_formed = bool(kinds) and not {TurnKind.VOID, TurnKind.MALFORMED} & set(kinds)
  right = well_formed and (kinds[0] is TurnKind.TOOL_CALL) == bool(gold)
  low, high = _ranges(trajectory, schedule, schedule_options).format
  return high if right else low


def toolrl_correct(
  trajectory: Trajectory,
  task: Task,
  *,
  granularity: str = "fine",
  pairing: str = "greedy",
  schedule: str = "constant",
  schedule_options: Mapping[str, Any] | None = None,
) -> float:
  """`low + (high - low) S / S_max`, from -3 to 3 under a constant schedule; 0 where the task wants no call.

  S is what `granularity` says. A turn that cannot be read makes no call, so that S is 0.

  Args:
    trajectory: what was done.
    task: holds the calls that it wants.
    granularity: key of `GRANULARITIES`, or the import path of a function `(gold, made, pairs) -> S / S_max`.
    pairing: key of `PAIRINGS`: which call that was made stands for which one that was wanted. "greedy" is the code's,
      "best" the paper's.
    schedule: see `toolrl_format`.
    schedule_options: its settings.
  """
  gold, made = wanted(task), calls_of(trajectory)
  if not gold:
    return 0.0
  pairs = by_name(PAIRINGS, pairing, kind="pairing of calls")(gold, made)
  share = by_name(GRANULARITIES, granularity, kind="granularity of toolrl")(gold, made, pairs)
  low, high = _ranges(trajectory, schedule, schedule_options).correct
  return low + (high - low) * share


def thought_length(
  trajectory: Trajectory, task: Task, *, target: float = 512.0, growth: float = 0.0, steps: int = 105
) -> float:
  """`min(1, words / target)` of the words that the first turn says before its call: the paper's length reward.

  Args:
    trajectory: what was done.
    task: not looked at.
    target: words that earn 1 at the first update.
    growth: words that are added to the target, evenly, until update `steps`. The paper's variant goes from 384 to 640.
    steps: updates.
  """
  del task
  if not trajectory.turns:
    return 0.0
  words = len(trajectory.turns[0].text.partition("<")[0].split())
  return min(1.0, words / (target + growth * min(1.0, _step(trajectory) / steps)))


def call_names(trajectory: Trajectory, task: Task) -> float:
  """Multiset Jaccard index of the tools that were called and those that the task wants."""
  return names_alike(wanted(task), calls_of(trajectory))


def call_keys(trajectory: Trajectory, task: Task) -> float:
  """Mean over the wanted calls of the Jaccard index of argument names; 0 for one whose tool was not called."""
  pairs = greedy(wanted(task), calls_of(trajectory))
  return float(np.mean([made is not None and keys_alike(gold, made) for gold, made in pairs])) if pairs else 1.0


def call_values(trajectory: Trajectory, task: Task) -> float:
  """Mean over the wanted calls of the share of arguments that are right; 0 for one whose tool was not called."""
  pairs = greedy(wanted(task), calls_of(trajectory))
  shares = [made is not None and values_alike(gold, made) / max(1, len(gold.arguments)) for gold, made in pairs]
  without = [made is not None and not gold.arguments for gold, made in pairs]
  return float(np.mean(np.maximum(shares, without))) if pairs else 1.0


def wanted(task: Task) -> list[Call]:
  """The calls that a task wants.

  Raises:
    ValueError: it does not say.
  """
  if "gold" not in task.data:
    raise ValueError(f"toolrl needs a task that says which calls it wants in data['gold']; task {task.id} does not")
  return [Call(call["name"], call["arguments"]) for call in task.data["gold"]]


def calls_of(trajectory: Trajectory) -> list[Call]:
  """The calls that an episode made, in order."""
  return [Call(result.call.name, result.call.arguments) for turn in trajectory.turns for result in turn.results]


# ---- what is alike ----------------------------------------------------------------------------------------------


def names_alike(gold: Sequence[Call], made: Sequence[Call]) -> float:
  """`|names(G) & names(P)| / |names(G) | names(P)|`, of multisets."""
  first, second = (Counter(call.name for call in calls) for calls in (gold, made))
  return (first & second).total() / max(1, (first | second).total())


def keys_alike(gold: Call, made: Call) -> float:
  """Jaccard index of the names of arguments; 1 where neither has any."""
  first, second = set(gold.arguments), set(made.arguments)
  return len(first & second) / len(first | second) if first | second else 1.0


def values_alike(gold: Call, made: Call) -> int:
  """How many arguments of `gold` have the same value in `made`; a number is not the text that spells it."""
  return sum(key in made.arguments and _same(value, made.arguments[key]) for key, value in gold.arguments.items())


def _same(first: Any, second: Any) -> bool:
  return type(first) is type(second) and first == second


def _is_whole(gold: Call, made: Call) -> bool:
  return (
    gold.name == made.name
    and set(gold.arguments) == set(made.arguments)
    and (values_alike(gold, made) == len(gold.arguments))
  )


# ---- which call stands for which -------------------------------------------------------------------------------


def greedy(gold: Sequence[Call], made: Sequence[Call]) -> Pairs:
  """For each wanted call in turn the most alike one of its tool that is left; None where none is."""
  left, pairs = list(made), []
  for call in gold:
    of_tool = [n for n, other in enumerate(left) if other.name == call.name]
    best = max(of_tool, key=lambda n: _pair_score(call, left[n]), default=None)
    pairs.append((call, None if best is None else left.pop(best)))
  return pairs


def best(gold: Sequence[Call], made: Sequence[Call]) -> Pairs:
  """The assignment of calls of the same tool whose likeness is largest in sum."""
  if not made:
    return [(call, None) for call in gold]
  scores = np.array([[_pair_score(g, m) if g.name == m.name else -1e6 for m in made] for g in gold])
  chosen = dict(zip(*linear_sum_assignment(scores, maximize=True), strict=True))
  partners = [chosen.get(n) for n in range(len(gold))]
  return [
    (call, made[m] if m is not None and made[m].name == call.name else None)
    for call, m in zip(gold, partners, strict=True)
  ]


def _pair_score(gold: Call, made: Call) -> float:
  return keys_alike(gold, made) + values_alike(gold, made)


PAIRINGS: Mapping[str, Callable[[Sequence[Call], Sequence[Call]], Pairs]] = {"greedy": greedy, "best": best}


# ---- how finely it is told -------------------------------------------------------------------------------------


def _fine(gold: Sequence[Call], made: Sequence[Call], pairs: Pairs) -> float:
  """S = names alike + per pair keys alike + values right; S_max = 1 + sum over G of (1 + |keys|)."""
  found = sum(_pair_score(call, other) for call, other in pairs if other is not None)
  return (names_alike(gold, made) + found) / (1 + sum(1 + len(call.arguments) for call in gold))


def _refined(gold: Sequence[Call], made: Sequence[Call], pairs: Pairs) -> float:
  """As fine, but names and keys count where they are all the same, and else not at all."""
  same_names = float(Counter(call.name for call in gold) == Counter(call.name for call in made))
  found = sum(
    (set(call.arguments) == set(other.arguments)) + values_alike(call, other)
    for call, other in pairs
    if other is not None
  )
  return (same_names + found) / (1 + sum(1 + len(call.arguments) for call in gold))


def _intermediate(gold: Sequence[Call], made: Sequence[Call], pairs: Pairs) -> float:
  """S = names alike + pairs that are right as a whole; S_max = 1 + |G|."""
  whole = sum(other is not None and _is_whole(call, other) for call, other in pairs)
  return (names_alike(gold, made) + whole) / (1 + len(gold))


def _coarse(gold: Sequence[Call], made: Sequence[Call], pairs: Pairs) -> float:
  """1 where all calls are right and there is no other, else 0."""
  whole = all(other is not None and _is_whole(call, other) for call, other in pairs)
  return float(whole and len(gold) == len(made))


GRANULARITIES: Mapping[str, Callable[[Sequence[Call], Sequence[Call], Pairs], float]] = {
  "fine": _fine,
  "refined": _refined,
  "intermediate": _intermediate,
  "coarse": _coarse,
}


# ---- by update -------------------------------------------------------------------------------------------------


def constant(step: int, *, most: float = 3.0) -> Ranges:
  """0 to 1 for the format, and -most to most for the calls.

  Args:
    step: not looked at.
    most: 3 in the paper, 1 in an ablation of its code.
  """
  del step
  return Ranges((0.0, 1.0), (-most, most))


def smooth(step: int, *, steps: int = 150) -> Ranges:
  """Format from +-2 to +-1, calls from +-2 to +-3, evenly over `steps` updates."""
  done = min(1.0, step / steps)
  return Ranges((-2.0 + done, 2.0 - done), (-2.0 - done, 2.0 + done))


def two_stages(step: int, *, first: int = 30) -> Ranges:
  """Calls count a third for the first updates, and the format half afterwards."""
  return Ranges((0.0, 1.0), (-1.0, 1.0)) if step < first else Ranges((0.0, 0.5), (-3.0, 3.0))


SCHEDULES: Mapping[str, Callable[..., Ranges]] = {"constant": constant, "smooth": smooth, "two_stages": two_stages}


def _ranges(trajectory: Trajectory, schedule: str, options: Mapping[str, Any] | None) -> Ranges:
  return by_name(SCHEDULES, schedule, kind="schedule of toolrl")(_step(trajectory), **(options or {}))


def _step(trajectory: Trajectory) -> int:
  """Updates before the episode was sampled."""
  return max(0, int(trajectory.policy_version.max(initial=0)))
