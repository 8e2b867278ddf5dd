"""Tasks of which there is nothing to sample: a run goes on without them, as long as they are the exception."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

MOST_LEFT_OUT = 0.9  # of the tasks asked for
ENOUGH_TASKS = 10  # asked for, so that their share says something of all the others
SHOWN = 3  # of a step or an evaluation, with their reasons


@dataclasses.dataclass(frozen=True)
class LeftOut:
  """A task that was left out: its group, and in words, which name the task, why."""

  group: int
  reason: str


def lines_of(left_out: Sequence[LeftOut]) -> list[str]:
  """Lines for a user, none for no task: the reasons of the first `SHOWN`, and how many more there are."""
  lines = [f"left out: {task.reason}" for task in left_out[:SHOWN]]
  more = len(left_out) - SHOWN
  return [*lines, f"left out: {more} more tasks"] if more > 0 else lines


class TasksLeftOut(RuntimeError):
  """Nearly all tasks had to be left out; says why the first one was, and what to do."""


def check_left_out(left_out: Sequence[LeftOut], asked: int, *, enough: int = ENOUGH_TASKS) -> None:
  """Raises TasksLeftOut where nearly all of the tasks asked for were left out.

  Args:
    left_out: those that were.
    asked: how many were asked for.
    enough: of fewer than these nothing is said; 1 where there are no others to go on with.
  """
  if asked >= enough and len(left_out) > MOST_LEFT_OUT * asked:
    raise TasksLeftOut(f"{len(left_out)} of {asked} tasks had to be left out; the first: {left_out[0].reason}")
