"""What a turn obtains of the outputs that a task still needs.

FTRL, Ye et al., 2025 (https://arxiv.org/abs/2508.08791), and its code. A task says which calls it needs in
`task.data["gold"]`, `[{"name": "look", "arguments": {...}}, ...]`, and what each gives in `task.data["outputs"]`. A
call obtains an output where it is of that tool and gave that text, whatever its arguments; each output counts once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from agentrl.named import by_name
from agentrl.types import Task, Trajectory, Turn, TurnKind


class Step(NamedTuple):
  """What one turn did.

  Attributes:
    calls: q, how many it made.
    obtained: p, how many outputs that were needed still it obtained.
    pending: u, how many were needed still before it.
  """

  calls: int
  obtained: int
  pending: int


def ftrl(
  trajectory: Trajectory, task: Task, *, measure: str = "f1", empty: float = -0.5, stray: float = -0.3
) -> list[float]:
  """What each turn earned: with q calls that obtain p outputs `2 p / (q + 1)`, or what `measure` says.

  A turn without a call earns `1 / (1 + u)` where it says the answer, with u outputs pending; 1/2 where it does not and
  nothing is pending; else 0. Three right calls in one turn earn 1.5, more than one.

  Args:
    trajectory: what was done.
    task: holds the calls that it needs, and what they give.
    measure: key of `MEASURES`, or the import path of a function `(p, q) -> reward`.
    empty: what a void turn earns.
    stray: what a malformed turn earns.
  """
  worth = by_name(MEASURES, measure, kind="measure of ftrl")
  return [
    worth(step.obtained, step.calls) if step.calls else _without_call(turn, step, task, empty, stray)
    for turn, step in zip(trajectory.turns, steps(trajectory, task), strict=True)
  ]


def solve_precision(trajectory: Trajectory, task: Task) -> float:
  """Share of the calls that obtained an output that was needed still: Solve-P; 0 without calls."""
  calls, obtained, _ = _total(trajectory, task)
  return obtained / max(1, calls)


def solve_recall(trajectory: Trajectory, task: Task) -> float:
  """Share of the outputs needed that were obtained: Solve-R; 1 where none is needed."""
  _, obtained, needed = _total(trajectory, task)
  return obtained / needed if needed else 1.0


def solve_f1(trajectory: Trajectory, task: Task) -> float:
  """`2 obtained / (calls + needed)`: Solve-F1; 1 where there is neither."""
  calls, obtained, needed = _total(trajectory, task)
  return 2 * obtained / (calls + needed) if calls + needed else 1.0


def steps(trajectory: Trajectory, task: Task) -> list[Step]:
  """What each turn did; what a prefix has obtained is needed no more.

  Raises:
    ValueError: the task does not say what it needs.
  """
  pending, done = _needed(task), []
  for turn in (*trajectory.prefix, *trajectory.turns):
    before, obtained = len(pending), 0
    for result in turn.results:
      if result.ok and (result.call.name, result.text) in pending:
        pending.remove((result.call.name, result.text))
        obtained += 1
    done.append(Step(len(turn.results), obtained, before))
  return done[len(trajectory.prefix) :]


def _needed(task: Task) -> list[tuple[str, str]]:
  """Outputs that are needed, each with its tool."""
  if not {"gold", "outputs"} <= task.data.keys():
    raise ValueError(f"ftrl needs a task with data['gold'] and data['outputs']; task {task.id} lacks them")
  return [(call["name"], output) for call, output in zip(task.data["gold"], task.data["outputs"], strict=True)]


def _total(trajectory: Trajectory, task: Task) -> tuple[int, int, int]:
  """Calls made, outputs obtained, outputs needed."""
  done = steps(trajectory, task)
  return sum(step.calls for step in done), sum(step.obtained for step in done), len(_needed(task))


def _without_call(turn: Turn, step: Step, task: Task, empty: float, stray: float) -> float:
  if turn.kind is TurnKind.VOID:
    return empty
  if turn.kind is TurnKind.MALFORMED:
    return stray
  if task.answer is not None and task.answer in str(turn.answer):
    return 1 / (1 + step.pending)
  return 0.0 if step.pending else 0.5


# (p, q) -> what a turn with q > 0 calls earned that obtained p outputs.
MEASURES: Mapping[str, Callable[[int, int], float]] = {
  "f1": lambda obtained, calls: 2 * obtained / (calls + 1),
  "rate": lambda obtained, calls: float(obtained),
  "precision": lambda obtained, calls: obtained / calls,
  "rate_precision": lambda obtained, calls: obtained**2 / calls,
}
