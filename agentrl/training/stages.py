"""The stages of a run, in their order: stretches of training, each with a source of trajectories and an algorithm.

A stage is a section of the config: `cold_start`, `tuning`, then `train`. One of 0 steps is left out, but for the last,
which is the one that a run is about. Another kind of stage is another section, and an entry of the loop in `stages_of`.

Imports no JAX.
"""

from __future__ import annotations

import dataclasses
import pathlib

from ml_collections import ConfigDict

from agentrl.training.resume import ENDLESS_SCHEDULES

COLD_START = "cold_start"  # the stage that the arms of a paper share


@dataclasses.dataclass(frozen=True)
class Stage:
  """A stretch of training with one algorithm.

  Attributes:
    name: of its section in the config, and of the folder of its checkpoints.
    first: global step before its first update.
    steps: number of updates.
    source: where its trajectories come from; name in `sources.SOURCES`, or an import path.
    algorithm: that learns from them; see `algorithms.load`.
    algorithm_key: of the config, that names the algorithm.
    schedule: of its learning rate.
    scheduled_by: the section of the config that gives the schedule.
    run: folder of a run whose stage of this name is taken over in place of these updates; empty: none.
    final: the last one. Its algorithm is the run's, whose heads acting reads; a finished run may be given more of it.
  """

  name: str
  first: int
  steps: int
  source: str
  algorithm: str
  algorithm_key: str
  schedule: str
  scheduled_by: str
  run: str = ""
  final: bool = False

  @property
  def title(self) -> str:
    """Its name for people."""
    return self.name.replace("_", " ")

  @property
  def last(self) -> int:
    """Global step after its last update."""
    return self.first + self.steps

  @property
  def endless(self) -> bool:
    """Whether more steps leave the rates of those that are done as they were."""
    return self.schedule in ENDLESS_SCHEDULES

  def checkpoints(self, run: pathlib.Path) -> pathlib.Path:
    """The folder of its checkpoints in the folder of a run; each has the number of its step in the stage."""
    return run / "checkpoints" / self.name

  def saved(self, run: pathlib.Path) -> list[int]:
    """Steps of the stage that have a folder of a checkpoint in the folder of a run, whole or not."""
    return sorted(int(f.name) for f in self.checkpoints(run).glob("*") if f.name.isdecimal())


def stages_of(config: ConfigDict) -> tuple[Stage, ...]:
  """The stages of a run; the last one is always there."""
  earlier: list[Stage] = []
  for name, run in ((COLD_START, config.cold_start.run), ("tuning", "")):
    stage = _earlier(config, name, first=earlier[-1].last if earlier else 0, run=run)
    earlier += [stage] if stage.steps or stage.run else []
  last = Stage(
    name="train",
    first=earlier[-1].last if earlier else 0,
    steps=config.train.steps,
    source=config.train.source,
    algorithm=config.algorithm,
    algorithm_key="algorithm",
    schedule=config.optimizer.schedule,
    scheduled_by="optimizer",
    final=True,
  )
  return (*earlier, last)


def _earlier(config: ConfigDict, name: str, *, first: int, run: str) -> Stage:
  """A stage before the last, of the section `name`."""
  section = config[name]
  scheduled_by = name if section.schedule else "optimizer"
  return Stage(
    name=name,
    first=first,
    steps=section.steps,
    source=section.source,
    algorithm=section.algorithm,
    algorithm_key=f"{name}.algorithm",
    schedule=config[scheduled_by].schedule,
    scheduled_by=scheduled_by,
    run=run,
  )
