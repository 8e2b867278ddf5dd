"""Who decides what each slot does next: one file per way of sampling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from agentrl.rollout.engine import Commands, Events
from agentrl.types import Trajectory


class Strategy(Protocol):
  """Plain host code between two ticks of one device's slots.

  `step` is called with None before the first tick. It may wait, always with a deadline; when it has nothing left to
  do it returns commands with `done` set, and `trajectories` holds what came of it.
  """

  def step(self, events: Events | None) -> Commands:
    """What the slots do next, given what they just did."""

  @property
  def trajectories(self) -> Sequence[Trajectory]:
    """Finished trajectories, in the order of their uid."""
