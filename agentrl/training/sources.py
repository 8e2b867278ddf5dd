"""Where the trajectories of a stage come from, found by name.

A `SourceKind` makes one for a stage: what it counts, and what draws the samples of a step.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
from ml_collections import ConfigDict

from agentrl.algorithms.contract import LearnerState
from agentrl.named import by_name, by_path, naming
from agentrl.rollout.driver import total
from agentrl.training import summary
from agentrl.training.cold_start import Authored, authored_traces, shown_traces
from agentrl.training.collect import Collected
from agentrl.training.curriculum import (
  Curriculum,
  CurriculumSettings,
  begin_visits,
  make_curriculum,
  next_visits,
  with_outcomes,
)
from agentrl.training.left_out import ENOUGH_TASKS, LeftOut, check_left_out
from agentrl.training.probing import ProbeSettings, probe, probe_metrics
from agentrl.training.stages import Stage
from agentrl.types import Task, Trajectory

if TYPE_CHECKING:
  from agentrl.training.build.experiment import Experiment


class Samples(NamedTuple):
  """What a step learns from.

  Attributes:
    kept: trajectories that are learned from.
    trajectories: all of them.
    tasks: by group.
    metrics: of the samples.
    counters: of the source, after the step, see `Source`; they are in the checkpoints.
    trees: what tells of each search that the trajectories came from, by uid; see `Collected`.
    left_out: tasks that there are no trajectories of.
  """

  kept: Sequence[Trajectory]
  trajectories: Sequence[Trajectory]
  tasks: Mapping[int, Task]
  metrics: Mapping[str, float]
  counters: Mapping[str, Any]
  trees: Mapping[int, Callable[[], dict[str, Any]]] = types.MappingProxyType({})
  left_out: Sequence[LeftOut] = ()


class Source(NamedTuple):
  """What gives the trajectories of a stage.

  Attributes:
    counters: before its first step; JSON. Among them is "next_task", the first number that neither this stage nor an
      earlier one has used, of tasks of the train split and of groups: the next stage begins there.
    draw: `(state, counters) -> Samples` of a step.
  """

  counters: Mapping[str, Any]
  draw: Callable[[LearnerState, Mapping[str, Any]], Samples]


class SourceKind(NamedTuple):
  """A way to come by trajectories, which stages name.

  Attributes:
    make: `(config, experiment, stage, first_task) -> Source`; `first_task` is "next_task" of the stage before.
    most: `(config, stage, per_sample) -> int`, trajectories of a step at most, where a sample of the strategy gives as
      many as `per_sample`.
    reads: keys that it reads of the section of the stage.
    sections: of the config, that its trajectories depend on beside that section and `saved.READ`.
    sampled: the strategy samples them, in groups: what learns from them has to fit both.
    rewarded: they have rewards.
  """

  make: Callable[[ConfigDict, Experiment, Stage, int], Source]
  most: Callable[[ConfigDict, Stage, int], int]
  reads: tuple[str, ...] = ()
  sections: tuple[str, ...] = (
    "curriculum", "rollout", "strategy", "search", "engine", "reward", "reward_options", "filters", "filter_options",
  )  # fmt: skip
  sampled: bool = True
  rewarded: bool = True


def kind_of(config: ConfigDict, stage: Stage) -> SourceKind:
  """The kind of source that a stage names.

  Raises:
    ValueError: there is none of that name, and names the nearest; or the section of the stage lacks a key of it.
  """
  kind = by_name(SOURCES, stage.source, kind=f"{stage.name}.source")
  if lacking := [key for key in kind.reads if key not in config[stage.name]]:
    raise ValueError(
      f"{stage.name}.source={stage.source!r} reads {', '.join(lacking)}, which the section {stage.name!r} does not "
      "have: choose another source"
    )
  return kind


def authored(config: ConfigDict, experiment: Experiment, stage: Stage, first_task: int) -> Source:
  """Authored traces of the train split, which show the habits of `mix`; see `_demonstrated`."""
  settings = config[stage.name]

  def demonstrate(state: LearnerState, indices: range) -> tuple[Authored, Mapping[str, float]]:
    del state
    shares = {"mix": by_path(settings.mix), "seed": config.seed}
    return authored_traces(experiment.tasks, experiment.chat, indices, **shares, **_room(config)), {}

  return _demonstrated(config, stage, first_task, demonstrate)


def probed(config: ConfigDict, experiment: Experiment, stage: Stage, first_task: int) -> Source:
  """Authored traces of the train split, whose habit depends on whether the policy knows the answer by itself.

  The policy of each step is asked anew, so that no label is older than the step; see `probing.probe`.
  """
  settings = ProbeSettings(**config[stage.name].probe)
  with naming(f"{stage.name}.probe"):
    for habit in (settings.known, settings.unknown):
      experiment.tasks.check_habit(habit)
  key = jax.random.fold_in(experiment.keys["rollout"], stage.first)

  def demonstrate(state: LearnerState, indices: range) -> tuple[Authored, Mapping[str, float]]:
    params = experiment.driver_params({"policy": state.params["policy"]})
    probes, lost = probe(experiment, params, key, indices, samples=settings.samples, version=int(state.updates))
    known = {index: found.is_known(settings.least) for index, found in probes.items()}
    habits = {index: settings.known if is_known else settings.unknown for index, is_known in known.items()}
    metrics = probe_metrics(probes, settings.least)
    shown = shown_traces(experiment.tasks, experiment.chat, habits, **_room(config))
    return shown._replace(left_out=[*lost, *shown.left_out]), metrics

  return _demonstrated(config, stage, first_task, demonstrate)


def _room(config: ConfigDict) -> dict[str, int]:
  """What a demonstration may hold."""
  return {"max_tokens": config.pack.row_tokens, "max_actions": config.pack.row_actions}


def _demonstrated(
  config: ConfigDict,
  stage: Stage,
  first_task: int,
  demonstrate: Callable[[LearnerState, range], tuple[Authored, Mapping[str, float]]],
) -> Source:
  """Demonstrations of `batch` tasks a step, from the first task on.

  Those that cannot be played are left out; steps are judged together until they had `ENOUGH_TASKS`.

  Args:
    demonstrate: `(state, numbers of tasks) -> traces, metrics`.
  """
  batch, asked, missing = config[stage.name].batch, 0, []

  def draw(state: LearnerState, counters: Mapping[str, Any]) -> Samples:
    nonlocal asked, missing
    first = counters["next_task"]
    (traces, tasks, left_out), metrics = demonstrate(state, range(first, first + batch))
    asked, missing = asked + batch, [*missing, *left_out]
    check_left_out(missing, asked)
    if asked >= ENOUGH_TASKS:
      asked, missing = 0, []
    metrics = {f"{stage.name}/left_out": len(left_out), **metrics}
    return Samples(traces, traces, tasks, metrics, {"next_task": first + batch}, left_out=left_out)

  return Source({"next_task": first_task}, draw)


def rollouts(config: ConfigDict, experiment: Experiment, stage: Stage, first_task: int) -> Source:
  """Groups of samples; groups that the filters emptied are resampled up to `rounds` times.

  A task that cannot be made, or whose prompt does not fit, is left out, and the step goes on with the others; where
  there are none, with the next tasks. The curriculum says which tasks; it asks none that an earlier stage has shown, as
  long as it asks none before the first that it is given.
  """
  del stage
  curriculum = make_curriculum(CurriculumSettings(**config.curriculum.to_dict()))
  visits = begin_visits(curriculum, first=first_task, seed=config.seed)
  counted = experiment.tasks.worker_counts()

  def draw(state: LearnerState, counters: Mapping[str, Any]) -> Samples:
    nonlocal counted
    kept, collected, asked = _collected(config, experiment, curriculum, state, counters)
    everything = [t for got in collected for t in got.trajectories]
    tasks = dict(item for got in collected for item in got.tasks.items())
    left_out = [task for got in collected for task in got.left_out]
    metrics = summary.rollout_metrics(everything, total([got.stats for got in collected]))
    metrics |= summary.entry_metrics(everything, tasks)
    metrics |= summary.stratum_metrics(everything, tasks, "train")
    metrics |= summary.tool_metrics(everything, window=config.rollout.entropy_window)
    metrics["rollout/kept_share"] = len(kept) / max(1, len(everything))
    metrics["rollout/failed_calls"] = sum(len(got.failures) for got in collected)
    metrics["rollout/left_out"] = len(left_out)
    metrics |= {f"curriculum/{name}": value for name, value in curriculum.metrics(asked["visits"]["state"]).items()}
    before, counted = counted, experiment.tasks.worker_counts()
    metrics |= {f"hosting/{name}": value - before[name] for name, value in counted.items()}
    calls = counters["tool_calls"] + summary.calls_made(everything)
    metrics["rollout/tool_calls_total"] = calls
    trees = dict(item for got in collected for item in got.trees.items())
    return Samples(kept, everything, tasks, metrics, {**asked, "tool_calls": calls}, trees, left_out)

  return Source({"visits": visits, "memory": {}, "next_task": first_task, "tool_calls": 0}, draw)


def _collected(
  config: ConfigDict,
  experiment: Experiment,
  curriculum: Curriculum,
  state: LearnerState,
  counters: Mapping[str, Any],
) -> tuple[list[Trajectory], list[Collected], Mapping[str, Any]]:
  """Collections until there are enough groups that the filters keep, or `rounds` are over.

  Returns:
    The trajectories that the filters keep, all collections, and the counters afterwards: the record of the visits, what
    the reward functions remember, and "next_task".
  """
  wanted, left = config.rollout.groups, config.rollout.rounds
  kept, collected, left_out, asked = [], [], [], 0
  record, memory, next_task = (counters[name] for name in ("visits", "memory", "next_task"))
  while left and (missing := wanted - len({t.group_id for t in kept})):
    record, visits = next_visits(curriculum, record, missing)
    next_task = max(next_task, 1 + max(max(visit) for visit in visits))
    got = experiment.collector.collect(
      experiment.driver_params(state.params),
      experiment.keys["rollout"],
      visits,
      split="train",
      samples=config.rollout.group_size,
      temperature=config.rollout.temperature,
      version=int(state.updates),
      memory=memory,
    )
    record, memory = with_outcomes(record, visits, got.trajectories, got.left_out), got.memory
    asked += missing
    if len(got.left_out) < missing:
      left -= 1
    kept += experiment.filter(got.trajectories)
    collected.append(got)
    left_out += got.left_out
    check_left_out(left_out, asked)
  return kept, collected, {"visits": record, "memory": memory, "next_task": next_task}


def _traces(config: ConfigDict, stage: Stage, per_sample: int) -> int:
  del per_sample
  return config[stage.name].batch


def _samples(config: ConfigDict, stage: Stage, per_sample: int) -> int:
  del stage
  return config.rollout.groups * config.rollout.group_size * per_sample


SOURCES: Mapping[str, SourceKind] = {
  "authored": SourceKind(authored, _traces, reads=("batch", "mix"), sections=(), sampled=False, rewarded=False),
  "probed": SourceKind(
    probed, _traces, reads=("batch", "probe"), sections=("rollout", "engine"), sampled=False, rewarded=False
  ),
  "rollouts": SourceKind(rollouts, _samples),
}
