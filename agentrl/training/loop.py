"""A run: stages of (source of trajectories, algorithm), one step after another, resumable at any of them.

All randomness is a function of (seed, stage, step), trajectories are sorted by uid before they are packed, and what
cannot be derived is in the checkpoint. So a run that is killed and started again continues to the same numbers.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import pathlib
import time
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from agentrl.algorithms.contract import Algorithm, LearnerState
from agentrl.batching.pack import NothingToPack, layout_tokens
from agentrl.rollout.driver import total
from agentrl.training import guards, sharding, summary
from agentrl.training.assembly import Assembly, assemble, check_sizes
from agentrl.training.checkpoint import Checkpointer
from agentrl.training.cold_start import authored_traces
from agentrl.training.curriculum import (
  Curriculum,
  CurriculumSettings,
  begin_visits,
  make_curriculum,
  next_visits,
  with_outcomes,
)
from agentrl.training.evaluation import (
  EnvironmentsFailed,
  check_failures,
  cold_started_by,
  evaluate,
  saved_steps,
  tree_records,
)
from agentrl.training.left_out import ENOUGH_TASKS, LeftOut, check_left_out, lines_of
from agentrl.training.progress import Progress
from agentrl.training.resume import ENDLESS_SCHEDULES
from agentrl.training.run_folder import RunFolder
from agentrl.types import Batch, Task, Trajectory

# What the progress of a run shows, where it was measured.
_SHOWN = ("train/success", "eval/success", "eval_search/success", "reward/return", "eval/reward/return")


class Source(NamedTuple):
  """What a step learns from: the trajectories kept, all of them, their metrics, and what the host knows after it.

  `trees` are the searches that they came from, where there were any; `left_out` says which tasks there are no
  trajectories of.
  """

  kept: list[Trajectory]
  trajectories: list[Trajectory]
  tasks: Mapping[int, Task]
  metrics: Mapping[str, float]
  host: dict[str, Any]
  trees: Mapping[int, Callable[[], dict[str, Any]]] = types.MappingProxyType({})
  left_out: Sequence[LeftOut] = ()


class NothingToTrainOn(RuntimeError):
  """No step of a run had anything to train on: the policy is what it was."""


@dataclasses.dataclass(frozen=True)
class Stage:
  """A stretch of training with one algorithm.

  Attributes:
    name: names its checkpoints. first: global step before its first update. steps: number of updates.
    counters: the host's counters before its first step.
    source: `(state, step, host counters) -> Source`.
  """

  name: str
  first: int
  steps: int
  counters: Mapping[str, Any]
  algorithm: Algorithm
  source: Callable[[LearnerState, int, Mapping[str, Any]], Source]

  @property
  def last(self) -> int:
    """Global step after its last update."""
    return self.first + self.steps


@dataclasses.dataclass(frozen=True)
class Result:
  """Evaluations before RL (after a cold start, if there is one) and at the end; metrics by name."""

  before: Mapping[str, float]
  after: Mapping[str, float]

  def sentence(self) -> str:
    """The two numbers that matter, in words."""
    before, after = self.before["eval/success"], self.after["eval/success"]
    text = f"Held-out success: {before:.1%} before RL, {after:.1%} after"
    for metric, name in (("eval/reward/return", "return"), ("eval/tool_calls", "tool calls per task")):
      if self.before.get(metric) or self.after.get(metric):
        text += f"; {name} {self.before[metric]:.2f} -> {self.after[metric]:.2f}"
    return text


def run(config: ConfigDict, folder: RunFolder) -> Result:
  """Trains as the config says.

  Raises:
    EnvironmentsFailed: too many environments failed; names the first cause. The last checkpoint is kept.
    TasksLeftOut: nearly all tasks cannot be made, or have prompts that do not fit.
    NothingToTrainOn: all steps were taken, and none of them changed the policy.
    NonFinite: a number is NaN or infinite; names step and number. Nothing that came of it is saved.
    ValueError: the config contradicts itself; a run that begins has trajectories that no row of the update could hold;
      or the cold start that is to be taken over was another one.
    FileNotFoundError: the cold start that is to be taken over is not there.
  """
  if not saved_steps(config, folder.path):
    check_sizes(config)  # a run that goes on keeps its rows: so far its trajectories fitted
  parts = assemble(config)
  params, after = parts.params, None
  stages = _stages(config, parts)
  with contextlib.closing(parts.tasks), Progress(metrics=_SHOWN) as progress:
    if config.cold_start.run and not Checkpointer(folder.checkpoints / "train").steps:
      params = cold_started_by(config, parts, pathlib.Path(config.cold_start.run))
      progress.note(f"The cold start is that of {config.cold_start.run}.")
    for stage in stages:
      params, before, after = _run_stage(config, folder, parts, stage, params, after, progress)
  return Result(before, after)


def _stages(config, parts: Assembly) -> list[Stage]:
  """Cold start and RL. They share no tasks, as long as the curriculum asks none before the first that it is given."""
  cold, shown = config.cold_start.steps, config.cold_start.steps * config.cold_start.batch
  curriculum = make_curriculum(CurriculumSettings(**config.curriculum.to_dict()))
  counters = {"tool_calls": 0, "memory": {}, "visits": begin_visits(curriculum, first=shown, seed=config.seed)}
  source = _rollout_source(config, parts, curriculum)
  stages = [Stage("train", cold, config.train.steps, counters, parts.algorithm, source)]
  if cold and not config.cold_start.run:
    source = _cold_start_source(config, parts)
    stages.insert(0, Stage("cold_start", 0, cold, {"next_task": 0}, parts.cold_start, source))
  return stages


def _run_stage(config, folder: RunFolder, parts: Assembly, stage: Stage, params, before, progress):
  """Runs what is left of a stage; returns the policy's params and the evaluations before and after the stage.

  Args:
    before: the evaluation of `params`, where an earlier stage made it.
  """
  key = jax.random.fold_in(parts.keys["update"], stage.first)
  checkpoints = Checkpointer(folder.checkpoints / stage.name)
  saved = functools.partial(saved_steps, config, folder.path)
  with guards.ending_the_run(stage.first, saved):
    state, step, host, repeated = _begin(config, folder, parts, stage, checkpoints, key, params, before)
  label = stage.name.replace("_", " ")
  progress.start(label, stage.first + step, stage.last, host["evaluation"])
  if repeated:
    progress.note(f"Steps {stage.first + step + 1} to {repeated} were not in a checkpoint yet, and are repeated.")
  if step == stage.steps and stage.name == "train":
    more = f"It goes on with more of them where --config.train.steps is larger than {stage.steps}; a"
    more = more if config.optimizer.schedule in ENDLESS_SCHEDULES else "A"
    progress.note(f"This run is finished: all {stage.last} steps are done. {more} new --workdir starts another one.")
  while step < stage.steps:
    with guards.ending_the_run(stage.first + step + 1, saved):
      state, host, metrics, notes = _step(
        config, folder, parts, stage, state, step, host, jax.random.fold_in(key, step + 1)
      )
      step += 1
      for note in notes:
        progress.note(f"Step {stage.first + step}: {note}")
      save = _due(step, config.train.checkpoint_every, stage.steps)
      if save:
        guards.require_finite_state(state)
      if _due(step, config.train.eval_every, stage.steps):
        host["evaluation"] = _evaluate(config, parts, state.params, folder, step=stage.first + step)
        metrics |= host["evaluation"]
    folder.write_metrics(stage.first + step, metrics)
    progress.advance(stage.first + step, {**host["evaluation"], **metrics})
    if metrics.get("hosting/lost"):
      progress.note(f"Worker processes lost, and replaced: {metrics['hosting/lost']:.0f}; {parts.tasks.last_loss}")
    if save:
      checkpoints.save(step, state, host)
  if host["failed"]:
    progress.note(
      f"{host['failed']} environments failed in the stage {label!r}; their trajectories were left out. metrics.jsonl "
      "counts them by kind (rollout/failed_*), and trajectories/ says why"
    )
  if stage.steps and not int(state.updates):
    raise NothingToTrainOn(
      f"none of the {stage.steps} steps of the stage {label!r} had anything to train on, so the policy is what it was; "
      f"metrics.jsonl in {folder.path} says how many trajectories failed, and how many the filters kept"
    )
  return state.params["policy"], host["before"], host["evaluation"]


def _begin(config, folder: RunFolder, parts: Assembly, stage: Stage, checkpoints: Checkpointer, key, params, before):
  """Where a stage goes on, or begins with an evaluation.

  Returns:
    The state, the steps done, the host's counters, and the last global step that had been measured and is forgotten
    now, as no checkpoint has it; 0 where there is none.
  """
  state = parts.place(stage.algorithm.init(key, params))
  restored = checkpoints.restore_latest(state)
  step, repeated = 0, 0
  host: dict[str, Any] = {**stage.counters, "failed": 0}
  if restored is not None:
    step, host, state = restored.step, host | restored.host, restored.state
  if step < stage.steps or stage.name == "train":
    measured = folder.last_measured_step
    folder.truncate_metrics(stage.first + step, first=config.cold_start.steps if config.cold_start.run else 0)
    repeated = measured if measured > stage.first + step else 0
  if step == 0:
    if before is None:
      policy = {"policy": state.params["policy"]}  # evaluates without untrained critics
      before = _evaluate(config, parts, policy, folder, step=stage.first)
      folder.write_metrics(stage.first, before)
    host["before"] = host["evaluation"] = before
  return state, step, host, repeated


def _evaluate(config, parts: Assembly, params, folder: RunFolder, *, step: int) -> dict[str, float]:
  """An evaluation whose numbers are finite: they go into the checkpoint, which holds no others."""
  metrics = evaluate(config, parts, params, folder, step=step)
  guards.require_finite_metrics(metrics)
  return metrics


def _due(step: int, every: int, last: int) -> bool:
  return step % every == 0 or step == last


def _step(config, folder, parts: Assembly, stage: Stage, state, step, host, key):
  """One update; returns the new state, the host's counters, the metrics of the step, and what is to be said of it."""
  started = time.monotonic()
  source = stage.source(state, step, host)
  samples = (stage.first + step, source.trajectories, source.tasks, parts.tokenizer)
  save_all = functools.partial(folder.save_trajectories, *samples, limit=len(source.trajectories))
  with guards.keeping_samples(save_all, of=EnvironmentsFailed):
    check_failures(config.rollout.max_failed_share, source.trajectories)
  with guards.keeping_samples(save_all):
    if (stage.first + step) % config.train.trajectories_every == 0:
      folder.save_trajectories(*samples)
      folder.save_trees(stage.first + step, tree_records(config, source.trees))
    state, update = _learn(parts, stage.algorithm, state, key, source.kept)
  metrics = dict(source.metrics)
  trained = len(source.kept) if update else 0
  metrics |= {**update, "update/trajectories": trained, "update/empty": not update}
  metrics |= {"time/step_s": time.monotonic() - started}
  failed = host["failed"] + sum(t.failed for t in source.trajectories)
  notes = _notes(source, nothing=not update, failed=(host["failed"], failed))
  return state, {**host, **source.host, "failed": failed}, metrics, notes


def _prepare(algorithm: Algorithm, state: LearnerState, kept: Sequence[Trajectory]) -> tuple[Any, Mapping[str, Any]]:
  """The batch and the metrics of its credit; no batch where there is nothing to train on."""
  try:
    return algorithm.prepare(state, kept) if kept else (None, {})
  except NothingToPack:
    return None, {}


def _notes(source: Source, *, nothing: bool, failed: tuple[int, int]) -> list[str]:
  """What a user should hear of a step beside its numbers.

  Args:
    nothing: the step trained on nothing.
    failed: environments that failed in the stage, before the step and after it; told whenever their number has doubled.
  """
  notes = lines_of(source.left_out)
  reasons = [t.failure.reason for t in source.trajectories if t.failure is not None]
  told = f"of {len(source.trajectories)} trajectories {len(reasons)} environments failed"
  told += f" (the first said: {reasons[0]})" if reasons else ""
  before, after = failed
  if nothing:
    notes.append(f"there was nothing to train on: {told}, and {len(source.kept)} passed the filters")
  elif after.bit_length() > before.bit_length():
    notes.append(f"{told}, {after} in all so far; they are left out of the update")
  return notes


def _learn(parts: Assembly, algorithm: Algorithm, state, key, kept: Sequence[Trajectory]):
  """Credit and update; returns the new state and metrics, all finite, or none where nothing is to be trained on."""
  guards.require_finite_samples(kept)
  batch, credit = _prepare(algorithm, state, kept)
  if batch is None:
    return state, {}
  if isinstance(batch, Batch):
    batch = sharding.place_batch(batch, parts.mesh)
  updating = time.monotonic()
  state, update = algorithm.update(state, key, batch)
  update = {name: float(value) for name, value in jax.device_get({**credit, **update}).items()}
  guards.require_finite_metrics(update)
  seconds = time.monotonic() - updating
  metrics = {**update, "time/update_s": seconds}
  if isinstance(batch, Batch):
    tokens = layout_tokens(batch)
    metrics |= {"update/tokens": tokens, "update/tokens_per_second": tokens / seconds}
  return state, metrics


# ---- where trajectories come from -----------------------------------------------------------------------------------


def _cold_start_source(config, parts: Assembly):
  """Authored traces of the train split; a `direct_share` of them answers without the tool.

  Demonstrations that cannot be played are left out; steps are judged together until they had `ENOUGH_TASKS`.
  """
  asked, missing = 0, []

  def source(state, step, host):
    nonlocal asked, missing
    del state, step
    first = host["next_task"]
    indices = range(first, first + config.cold_start.batch)
    traces, tasks, left_out = authored_traces(
      parts.tasks,
      parts.chat,
      indices,
      direct_share=config.cold_start.direct_share,
      seed=config.seed,
      max_tokens=config.pack.row_tokens,
      max_actions=config.pack.row_actions,
    )
    asked, missing = asked + len(indices), [*missing, *left_out]
    check_left_out(missing, asked)
    if asked >= ENOUGH_TASKS:
      asked, missing = 0, []
    metrics = {"cold_start/left_out": len(left_out)}
    return Source(traces, traces, tasks, metrics, {"next_task": first + config.cold_start.batch}, left_out=left_out)

  return source


def _rollout_source(config, parts: Assembly, curriculum: Curriculum):
  """Groups of samples; groups that the filters emptied are resampled up to `rounds` times.

  A task that cannot be made, or whose prompt does not fit, is left out, and the step goes on with the others; where
  there are none, with the next tasks.

  Args:
    curriculum: says which tasks.
  """
  wanted, rounds = config.rollout.groups, config.rollout.rounds
  counted = parts.tasks.worker_counts()

  def source(state, step, host):
    nonlocal counted
    kept, everything, tasks, failures, stats, trees, left_out = [], [], {}, [], [], {}, []
    record, asked, left, memory = host["visits"], 0, rounds, host["memory"]
    while left and (missing := wanted - len({t.group_id for t in kept})):
      record, visits = next_visits(curriculum, record, missing)
      got = parts.collector.collect(
        parts.driver_params(state.params),
        parts.keys["rollout"],
        visits,
        split="train",
        samples=config.rollout.group_size,
        temperature=config.rollout.temperature,
        version=int(state.updates),
        memory=memory,
      )
      memory = got.memory
      record = with_outcomes(record, visits, got.trajectories, got.left_out)
      asked += missing
      if len(got.left_out) < missing:
        left -= 1
      kept += parts.filter(got.trajectories)
      everything += got.trajectories
      failures += got.failures
      stats.append(got.stats)
      trees |= got.trees
      tasks |= got.tasks
      left_out += got.left_out
      check_left_out(left_out, asked)
    metrics = summary.rollout_metrics(everything, total(stats))
    metrics |= summary.entry_metrics(everything, tasks)
    metrics |= summary.tool_metrics(everything, window=config.rollout.entropy_window)
    metrics["rollout/kept_share"] = len(kept) / max(1, len(everything))
    metrics |= {"rollout/failed_calls": len(failures), "rollout/left_out": len(left_out)}
    metrics |= {f"curriculum/{name}": value for name, value in curriculum.metrics(record["state"]).items()}
    before, counted = counted, parts.tasks.worker_counts()
    metrics |= {f"hosting/{name}": value - before[name] for name, value in counted.items()}
    calls = host["tool_calls"] + summary.calls_made(everything)
    metrics["rollout/tool_calls_total"] = calls
    after = {"visits": record, "tool_calls": calls, "memory": memory}
    return Source(kept, everything, tasks, metrics, after, trees, left_out)

  return source
