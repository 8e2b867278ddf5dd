"""Tasks of which there is nothing to sample: a run goes on without them, as long as they are the exception."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

MOST_LEFT_OUT = 0.9  # of the tasks asked for


@dataclasses.dataclass(frozen=True)
class LeftOut:
  """A task that was left out: its group, and in words, which name the task, why."""

  group: int
  reason: str


class TasksLeftOut(RuntimeError):
  """Nearly all tasks had to be left out; says why the first one was, and what to do."""


def check_left_out(left_out: Sequence[LeftOut], asked: int, *, enough: int = 1) -> None:
  """Raises TasksLeftOut where nearly all of the tasks asked for, which are at least `enough`, were left out."""
  if asked >= enough and len(left_out) > MOST_LEFT_OUT * asked:
    raise TasksLeftOut(f"{len(left_out)} of {asked} tasks had to be left out; the first: {left_out[0].reason}")
