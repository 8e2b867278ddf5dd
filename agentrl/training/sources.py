"""Where the trajectories of a stage come from, found by name.

A `SourceKind` makes one for a stage: what it counts, and what draws the samples of a step.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import pathlib
import types
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
from ml_collections import ConfigDict

from agentrl.algorithms.contract import LearnerState
from agentrl.envs import TaskSource
from agentrl.named import by_name, by_path, naming, with_settings
from agentrl.rollout.driver import total
from agentrl.settings import at_least, check_ranges
from agentrl.training import summary
from agentrl.training.cold_start import Authored, authored_traces, shown_traces
from agentrl.training.collect import Collected, Collector
from agentrl.training.curriculum import (
  Curriculum,
  CurriculumSettings,
  begin_visits,
  make_curriculum,
  next_visits,
  with_outcomes,
)
from agentrl.training.left_out import ENOUGH_TASKS, LeftOut, check_left_out
from agentrl.training.prefixes import Begin, after_authored, after_stored, from_the_task, read_stored
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
    pool: `(counters) -> indices`, numbers of the tasks of the train split that are asked again and again.
  """

  counters: Mapping[str, Any]
  draw: Callable[[LearnerState, Mapping[str, Any]], Samples]
  pool: Callable[[Mapping[str, Any]], Sequence[int]] = lambda counters: ()


class SourceKind(NamedTuple):
  """A way to come by trajectories, which stages name.

  Attributes:
    make: `(config, experiment, stage, first_task) -> Source`; `first_task` is "next_task" of the stage before. Its
      keyword-only arguments are its settings, which stand in `source_options` of the section of the stage.
    most: `(config, stage, per_sample) -> int`, trajectories of a step at most, where a sample of the strategy gives as
      many as `per_sample`.
    reads: keys that it reads of the section of the stage.
    sections: of the config, that its trajectories depend on beside that section and `saved.READ`.
    sampled: the strategy samples them, in groups: what learns from them has to fit both.
    rewarded: they have rewards.
  """

  make: Callable[..., Source]
  most: Callable[[ConfigDict, Stage, int], int]
  reads: tuple[str, ...] = ()
  sections: tuple[str, ...] = (
    "curriculum", "rollout", "strategy", "search", "engine", "reward", "reward_options", "filters", "filter_options",
  )  # fmt: skip
  sampled: bool = True
  rewarded: bool = True


def kind_of(config: ConfigDict, stage: Stage) -> SourceKind:
  """The kind of source that a stage names, with the settings of its section.

  Raises:
    ValueError: there is none of that name, and names the nearest; or the section of the stage lacks a key of it, or has
      a setting that it does not take.
  """
  kind = by_name(SOURCES, stage.source, kind=f"{stage.name}.source")
  if lacking := [key for key in kind.reads if key not in config[stage.name]]:
    raise ValueError(
      f"{stage.name}.source={stage.source!r} reads {', '.join(lacking)}, which the section {stage.name!r} does not "
      "have: choose another source"
    )
  options = by_path(config[stage.name].source_options) if "source_options" in config[stage.name] else {}
  section = f"{stage.name}.source_options"
  return kind._replace(make=with_settings(kind.make, options, section=section, called=stage.source))


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
  return _rollouts(config, experiment, first_task, from_the_task)


def authored_prefixes(
  config: ConfigDict,
  experiment: Experiment,
  stage: Stage,
  first_task: int,
  *,
  turns: int = 1,
  mix: Mapping[str, float] = types.MappingProxyType({}),
) -> Source:
  """As `rollouts`, but each group goes on from a beginning of the demonstration of its task; see `prefixes.py`.

  Args:
    config: of the run.
    experiment: of the run.
    stage: whose source it is.
    first_task: see `SourceKind`.
    turns: of the policy behind the beginning; 0: as many as `rollout.max_turns`.
    mix: share of the demonstrations that show each habit; empty: all show what the task needs.
  """
  del stage
  check_ranges({"turns": turns}, {"turns": at_least(0)}, section="train.source_options")
  begin = after_authored(experiment.tasks, experiment.chat, mix=by_path(mix), seed=config.seed)
  return _rollouts(config, experiment, first_task, begin, turns=turns)


def stored_prefixes(
  config: ConfigDict,
  experiment: Experiment,
  stage: Stage,
  first_task: int,
  *,
  run: str,
  turns: int = 1,
  least_reward: float = 0.0,
) -> Source:
  """As `rollouts`, but each group goes on from a beginning of a trajectory of another run; see `prefixes.py`.

  Args:
    config: of the run.
    experiment: of the run.
    stage: whose source it is.
    first_task: see `SourceKind`.
    run: folder of the other run, of the same `task` and `chat`.
    turns: of the policy behind the beginning; 0: as many as `rollout.max_turns`.
    least_reward: of the trajectories that are gone on from.

  Raises:
    FileNotFoundError: that run has no such trajectory.
    ValueError: while it draws, where the trajectories are others than when the stage began.
  """
  del stage
  check_ranges({"turns": turns}, {"turns": at_least(0)}, section="train.source_options")
  stored = read_stored(pathlib.Path(run), least_reward=least_reward)
  begin = after_stored(stored, experiment.tasks, seed=config.seed)
  source = _rollouts(config, experiment, first_task, begin, turns=turns)

  def draw(state: LearnerState, counters: Mapping[str, Any]) -> Samples:
    if counters["stored"] != stored.digest:
      raise ValueError(
        f"train.source_options.run: the trajectories of {run} are others than when this stage began, and it would "
        "not go on to the same numbers: put them back, or start a new run"
      )
    return source.draw(state, counters)

  return source._replace(counters={**source.counters, "stored": stored.digest}, draw=draw)


def _rollouts(config: ConfigDict, experiment: Experiment, first_task: int, begin: Begin, *, turns: int = 0) -> Source:
  """Groups of samples that begin as `begin` says.

  Args:
    turns: of the policy; 0: as many as `rollout.max_turns`.
  """
  curriculum = make_curriculum(CurriculumSettings(**config.curriculum.to_dict()))
  visits = begin_visits(curriculum, first=first_task, seed=config.seed, look=functools.partial(_look, experiment.tasks))
  counted = experiment.tasks.worker_counts()
  collector = experiment.collector
  collector = dataclasses.replace(collector, max_turns=turns) if turns else collector

  def draw(state: LearnerState, counters: Mapping[str, Any]) -> Samples:
    nonlocal counted
    kept, collected, left_out, asked = _collected(config, experiment, collector, curriculum, begin, state, counters)
    everything = [t for got in collected for t in got.trajectories]
    tasks = dict(item for got in collected for item in got.tasks.items())
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

  def asked_again(counters: Mapping[str, Any]) -> Sequence[int]:
    return curriculum.pool(counters["visits"]["state"])

  return Source({"visits": visits, "memory": {}, "next_task": first_task, "tool_calls": 0}, draw, asked_again)


def _look(tasks: TaskSource, index: int) -> Task | None:
  """The task of the train split; None where the family's code does not make it."""
  try:
    return tasks.task(index, "train")
  except (Exception, SystemExit):  # the generator may be anybody's; it is told when the task is asked
    return None


def _collected(
  config: ConfigDict,
  experiment: Experiment,
  collector: Collector,
  curriculum: Curriculum,
  begin: Begin,
  state: LearnerState,
  counters: Mapping[str, Any],
) -> tuple[list[Trajectory], list[Collected], list[LeftOut], Mapping[str, Any]]:
  """Collections until there are enough groups that the filters keep, or `rounds` are over.

  Returns:
    The trajectories that the filters keep, of as many groups as are wanted; all collections; the tasks left out; and
    the counters afterwards: the record of the visits, what the reward functions remember, and "next_task".
  """
  wanted, left = config.rollout.groups, config.rollout.rounds
  kept, collected, left_out, asked = [], [], [], 0
  record, memory, next_task = (counters[name] for name in ("visits", "memory", "next_task"))
  while left and (missing := wanted - len({t.group_id for t in kept})) > 0:
    count = math.ceil(config.rollout.oversample * missing)
    record, visits = next_visits(curriculum, record, count)
    next_task = max(next_task, 1 + max(max(visit) for visit in visits))
    begun = begin(visits)
    got = collector.collect(
      experiment.driver_params(state.params),
      experiment.keys["rollout"],
      begun.visits,
      split="train",
      samples=config.rollout.group_size,
      temperature=config.rollout.temperature,
      version=int(state.updates),
      memory=memory,
      starts=begun.starts,
    )
    lost = [*begun.left_out, *got.left_out]
    record, memory = with_outcomes(record, visits, got.trajectories, lost), got.memory
    asked += count
    if len(lost) < count:
      left -= 1
    kept += experiment.filter(got.trajectories)
    collected.append(got)
    left_out += lost
    check_left_out(left_out, asked)
  chosen = list(dict.fromkeys(t.group_id for t in kept))[:wanted]
  kept = [t for t in kept if t.group_id in chosen]
  return kept, collected, left_out, {"visits": record, "memory": memory, "next_task": next_task}


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
  "authored_prefixes": SourceKind(authored_prefixes, _samples, reads=("source_options",)),
  "stored_prefixes": SourceKind(stored_prefixes, _samples, reads=("source_options",)),
}
