"""The value head at the end of given prefixes, read by the slots as any other rollout."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

from agentrl.rollout import engine as slot_engine
from agentrl.rollout.engine import Commands, EngineConfig, Events
from agentrl.rollout.search.desk import Desk, Job
from agentrl.types import EnvironmentFailed, Trajectory


class ReadValues:
  """Reads V(prefix); each reading samples one token, which is dropped.

  Args:
    prefixes: `(shared, rest)` token ids: what several prefixes begin with, such as a prompt, is computed once.
    engine: sizes, of a driver with a value head.

  Attributes:
    values: one per prefix, in their order, once the rollout is over.
  """

  def __init__(self, prefixes: Iterable[tuple[Sequence[int], Sequence[int]]], *, engine: EngineConfig):
    self._engine, self._desk = engine, Desk(engine)
    self.values: list[float] = []
    self.failures: list[EnvironmentFailed] = []
    self.trajectories: list[Trajectory] = []
    for n, (shared, rest) in enumerate(prefixes):
      link = self._desk.link(self._desk.link(None, shared), rest)
      self.values.append(float("nan"))
      self._desk.submit(Job(link, 0, link.end + 1, 1.0, lambda tokens: 1, functools.partial(self._read, n)))

  def step(self, events: Events | None) -> Commands:
    """See `Strategy`."""
    if events is not None:
      self._desk.absorb(events)
    if self._desk.busy:
      return self._desk.commands()
    commands = slot_engine.no_commands(self._engine)
    commands.done[:] = True
    return commands

  def _read(self, n: int, job: Job) -> None:
    self.values[n] = job.value
