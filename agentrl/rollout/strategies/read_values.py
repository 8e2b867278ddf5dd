"""The value head at the end of given prefixes, read by the slots as any other rollout."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

from agentrl.rollout import engine as slot_engine
from agentrl.rollout.engine import Commands, EngineConfig, Events
from agentrl.rollout.slots import Job, SlotAllocator
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
    self._engine, self._slots = engine, SlotAllocator(engine)
    self.values: list[float] = []
    self.failures: list[EnvironmentFailed] = []
    self.trajectories: list[Trajectory] = []
    for n, (shared, rest) in enumerate(prefixes):
      prefix = self._slots.extended(self._slots.prompt(shared), rest)
      self.values.append(float("nan"))
      self._slots.submit(Job(prefix, 0, prefix.end + 1, 1.0, lambda tokens, start: 1, functools.partial(self._read, n)))

  def step(self, events: Events | None) -> Commands:
    """See `Strategy`."""
    if events is not None:
      self._slots.absorb(events)
    return self._slots.commands() if self._slots.busy else slot_engine.end_of_rollout(self._engine)

  def _read(self, n: int, job: Job) -> None:
    self.values[n] = job.value
    self._slots.close(job.after)
