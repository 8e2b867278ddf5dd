"""A run: its stages, one step after another, resumable at any of them.

All randomness is a function of (seed, stage, step), trajectories are sorted by uid before they are packed, and what
cannot be derived is in the checkpoint. So a run that is killed and started again continues to the same numbers.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from agentrl.algorithms.contract import Algorithm, LearnerState
from agentrl.batching.pack import NothingToPack, PackConfig, layout_tokens
from agentrl.metrics_file import joined
from agentrl.training import guards, sharding
from agentrl.training.build.experiment import Experiment, build_experiment
from agentrl.training.build.rollout import RolloutSettings
from agentrl.training.build.sizes import check_sizes
from agentrl.training.checkpoint import Checkpointer
from agentrl.training.cold_start import check_demonstrated
from agentrl.training.evaluation import EnvironmentsFailed, check_failures, evaluate, failures_told, tree_records
from agentrl.training.left_out import lines_of
from agentrl.training.progress import Progress
from agentrl.training.run_folder import RunFolder
from agentrl.training.saved import saved_steps, taken_over
from agentrl.training.sources import Samples, Source, kind_of
from agentrl.training.stages import Stage, stages_of
from agentrl.types import Batch, Trajectory

# What the progress of a run shows, where it was measured.
_SHOWN = ("train/success", "eval/success", "eval_search/success", "reward/return", "eval/reward/return")


class NothingToTrainOn(RuntimeError):
  """No step of a run had anything to train on: the policy is what it was."""


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
    EnvironmentsFailed: too many trajectories have no reward; names the first cause. The last checkpoint is kept.
    TasksLeftOut: nearly all tasks cannot be made, or have prompts that do not fit.
    NothingToTrainOn: all steps were taken, and none of them changed the policy.
    NonFinite: a number is NaN or infinite; names step and number. Nothing that came of it is saved.
    ValueError: the config contradicts itself; a run that begins has trajectories that no row of the update could hold;
      or the cold start that is to be taken over was another one.
    FileNotFoundError: the cold start that is to be taken over is not there.
  """
  if not saved_steps(config, folder.path):
    # A run that goes on keeps its rows: so far its trajectories fitted.
    check_sizes(RolloutSettings(**config.rollout), PackConfig(**config.pack, sequences=1))
  experiment = build_experiment(config)
  at = Handed(experiment.params, None, 0)
  with contextlib.closing(experiment.tasks), Progress(metrics=_SHOWN) as progress:
    if folder.changed_modules:
      names = " and ".join(folder.changed_modules)
      progress.note(
        f"{names} changed since this run was started: it goes on with what the code says now, see run.json."
      )
    if not config.task.mixture and not saved_steps(config, folder.path):
      seconds = config.rollout.environment_seconds
      check_demonstrated(experiment.collector.reward, experiment.tasks, experiment.chat, seconds=seconds)
    trainer = Trainer(config, folder, experiment, progress)
    for stage in stages_of(config):
      if not stage.run:
        before, at = trainer.train(stage, at)
      elif not saved_steps(config, folder.path):
        params, next_task = taken_over(stage, config, experiment)
        at = Handed(params, None, next_task)
        progress.note(f"The {stage.title} is that of {stage.run}.")
  return Result(before, at.evaluation)


class Handed(NamedTuple):
  """What a stage begins with, and hands to the next one. A stage that goes on has its own in its checkpoint.

  Attributes:
    params: of the policy.
    evaluation: of these params; None: nobody has made it.
    next_task: first number that no earlier stage has used, of tasks of the train split and of groups.
  """

  params: Any
  evaluation: Mapping[str, float] | None
  next_task: int


class Position(NamedTuple):
  """Where a stage stands.

  Attributes:
    state: of the learner.
    step: updates of the stage that are done.
    host: what the host counts, and the evaluations before and so far; JSON.
  """

  state: LearnerState
  step: int
  host: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Trainer:
  """Runs the stages of one run.

  Attributes:
    config: of the run.
    folder: where it writes.
    experiment: what the config was built into.
    progress: what people are shown.
  """

  config: ConfigDict
  folder: RunFolder
  experiment: Experiment
  progress: Progress

  def train(self, stage: Stage, given: Handed) -> tuple[Mapping[str, float], Handed]:
    """Runs what is left of a stage; returns the evaluation before the stage, and what is handed to the next one.

    Args:
      stage: of `stages_of`.
      given: what an earlier stage has handed on.
    """
    algorithm = self.experiment.algorithm_of(stage)
    make_source = kind_of(self.config, stage).make
    source = make_source(self.config, self.experiment.in_stage(stage), stage, given.next_task)
    checkpoints = Checkpointer(stage.checkpoints(self.folder.path))
    key = jax.random.fold_in(self.experiment.keys["update"], stage.first)
    with guards.ending_the_run(stage.first, self._saved):
      at = self._begin(stage, algorithm.init(key, given.params), checkpoints, source, given.evaluation)
    while at.step < stage.steps:
      with guards.ending_the_run(stage.first + at.step + 1, self._saved):
        at = self._step(stage, algorithm, source, at, jax.random.fold_in(key, at.step + 1), checkpoints)
    self._end(stage, at)
    return at.host["before"], Handed(at.state.params["policy"], at.host["evaluation"], at.host["next_task"])

  def _saved(self) -> Mapping[int, Any]:
    return saved_steps(self.config, self.folder.path)

  def _begin(
    self,
    stage: Stage,
    state: LearnerState,
    checkpoints: Checkpointer,
    source: Source,
    before: Mapping[str, float] | None,
  ) -> Position:
    """Where a stage goes on, or begins with an evaluation; tells people."""
    state = self.experiment.place(state)
    counters = {**source.counters, "failed": 0, "nothing": ""}
    at = Position(state, 0, counters)
    restored = checkpoints.restore_latest(state)
    if restored is not None:
      at = Position(restored.state, restored.step, counters | restored.host)
    repeated = self._forget_behind(stage, at.step)
    if at.step == 0:
      if before is None:
        policy = {"policy": at.state.params["policy"]}  # evaluates without untrained critics
        before = self._evaluate(stage, policy, self._pool(source, at), step=stage.first)
        self.folder.write_metrics(stage.first, before)
      at = at._replace(host={**at.host, "before": before, "evaluation": before})
    self.progress.start(stage.title, stage.first + at.step, stage.last, at.host["evaluation"])
    if repeated:
      first = stage.first + at.step + 1
      self.progress.note(f"Steps {first} to {repeated} were not in a checkpoint yet, and are repeated.")
    if stage.final and at.step == stage.steps:
      self.progress.note(_finished(stage))
    return at

  def _forget_behind(self, stage: Stage, step: int) -> int:
    """Forgets what was measured behind a step of a stage that goes on there.

    Returns:
      The last global step that had been measured and is forgotten now, as no checkpoint has it; 0 where there is none.
    """
    if step == stage.steps and not stage.final:
      return 0
    measured = self.folder.last_measured_step
    began = next(other.first for other in stages_of(self.config) if not other.run)
    self.folder.truncate_metrics(stage.first + step, first=began)
    return measured if measured > stage.first + step else 0

  def _pool(self, source: Source, at: Position) -> Sequence[int]:
    """Numbers of the tasks that an evaluation measures beside the held-out ones."""
    return source.pool(at.host)[: self.config.eval.pool]

  def _evaluate(self, stage: Stage, params: Any, pool: Sequence[int], *, step: int) -> dict[str, float]:
    """An evaluation whose numbers are finite: they go into the checkpoint, which holds no others."""
    metrics = evaluate(self.config, self.experiment.in_stage(stage), params, self.folder, step=step, pool=pool)
    guards.require_finite_metrics(metrics)
    return metrics

  def _step(
    self, stage: Stage, algorithm: Algorithm, source: Source, at: Position, key: jax.Array, checkpoints: Checkpointer
  ) -> Position:
    """One update, with what is measured, written and saved behind it."""
    at, metrics, notes = self._update(stage, algorithm, source, at, key)
    step, train = stage.first + at.step, self.config.train
    for note in notes:
      self.progress.note(f"Step {step}: {note}")
    save = _due(at.step, train.checkpoint_every, stage.steps)
    if save:
      guards.require_finite_state(at.state)
    if _due(at.step, train.eval_every, stage.steps):
      measured = self._evaluate(stage, at.state.params, self._pool(source, at), step=step)
      at = at._replace(host={**at.host, "evaluation": measured})
      metrics |= at.host["evaluation"]
    self.folder.write_metrics(step, metrics)
    self.progress.advance(step, {**at.host["evaluation"], **metrics})
    if metrics.get("hosting/lost"):
      lost = metrics["hosting/lost"]
      self.progress.note(f"Worker processes lost, and replaced: {lost:.0f}; {self.experiment.tasks.last_loss}")
    if save:
      checkpoints.save(at.step, at.state, at.host)
    return at

  def _update(
    self, stage: Stage, algorithm: Algorithm, source: Source, at: Position, key: jax.Array
  ) -> tuple[Position, dict[str, Any], list[str]]:
    """One update; returns where the stage stands, the metrics of the step, and what is to be said of it."""
    started = time.monotonic()
    step, folder = stage.first + at.step, self.folder
    samples = source.draw(at.state, at.host)
    drawn = (step, samples.trajectories, samples.tasks, self.experiment.tokenizer)
    save_all = functools.partial(folder.save_trajectories, *drawn, limit=len(samples.trajectories))
    with guards.keeping_samples(save_all, of=EnvironmentsFailed):
      check_failures(self.config.rollout.max_failed_share, samples.trajectories)
    with guards.keeping_samples(save_all):
      if step % self.config.train.trajectories_every == 0:
        folder.save_trajectories(*drawn)
        folder.save_trees(step, tree_records(self.config, samples.trees))
      state, update, why = _learn(self.experiment, algorithm, at.state, key, samples.kept)
    metrics = dict(samples.metrics)
    trained = len(samples.kept) if update else 0
    metrics |= {"update/trajectories": trained, "update/empty": not update, **update}
    metrics |= {"time/step_s": time.monotonic() - started}
    failed = at.host["failed"] + sum(t.failed for t in samples.trajectories)
    nothing = "" if update else _nothing(samples, why)
    notes = _notes(samples, nothing, failed=(at.host["failed"], failed))
    host = {**at.host, **samples.counters, "failed": failed, "nothing": at.host["nothing"] or nothing}
    return Position(state, at.step + 1, host), metrics, notes

  def _end(self, stage: Stage, at: Position) -> None:
    """Tells people what a stage went without.

    Raises:
      NothingToTrainOn: all steps were taken, and none of them changed the policy.
    """
    if at.host["failed"]:
      self.progress.note(
        f"{at.host['failed']} trajectories of the stage {stage.title!r} have no reward, since their environment or "
        "their reward failed; they were left out. "
        "metrics.jsonl counts them by kind (rollout/failed_*), and trajectories/ says why"
      )
    if stage.steps and not int(at.state.updates):
      raise NothingToTrainOn(
        f"none of the {stage.steps} steps of the stage {stage.title!r} had anything to train on, so the policy is what "
        f"it was; metrics.jsonl in {self.folder.path} says how many trajectories failed, and how many the filters kept"
        f". Of the first step: {at.host['nothing']}"
      )


def _finished(stage: Stage) -> str:
  more = f"It goes on with more of them where --config.{stage.name}.steps is larger than {stage.steps}; a"
  more = more if stage.endless else "A"
  return f"This run is finished: all {stage.last} steps are done. {more} new --workdir starts another one."


def _due(step: int, every: int, last: int) -> bool:
  return step % every == 0 or step == last


def _prepare(
  algorithm: Algorithm, state: LearnerState, kept: Sequence[Trajectory]
) -> tuple[Any, Mapping[str, Any], str]:
  """The batch and the metrics of its credit; no batch where there is nothing to train on, and what was said of that."""
  try:
    return (*algorithm.prepare(state, kept), "") if kept else (None, {}, "")
  except NothingToPack as nothing:
    return None, {}, str(nothing)


def _notes(samples: Samples, nothing: str, *, failed: tuple[int, int]) -> list[str]:
  """What a user should hear of a step beside its numbers.

  Args:
    nothing: of a step that trained on nothing, why; else empty.
    failed: trajectories of the stage without a reward, before the step and after it; told whenever there are twice as
      many.
  """
  notes = lines_of(samples.left_out)
  before, after = failed
  if nothing:
    notes.append(f"there was nothing to train on: {nothing}")
  elif after.bit_length() > before.bit_length():
    told = failures_told(samples.trajectories)
    notes.append(f"{told}, {after} in all so far; they are left out of the update")
  return notes


def _nothing(samples: Samples, why: str) -> str:
  """Why a step had nothing to train on; `why`: what the algorithm said of that, which may be empty."""
  told = f"{failures_told(samples.trajectories)}, and {len(samples.kept)} passed the filters"
  if samples.left_out:
    told = f"{len(samples.left_out)} tasks were left out (the first: {samples.left_out[0].reason}); {told}"
  return f"{told}; {why}" if why else told


def _learn(
  experiment: Experiment, algorithm: Algorithm, state: LearnerState, key: jax.Array, kept: Sequence[Trajectory]
) -> tuple[LearnerState, dict[str, float], str]:
  """Credit and update; returns the new state and metrics, all finite, or none where nothing is to be trained on.

  The text is what the algorithm said of that; empty where it said nothing, or trained.
  """
  guards.require_finite_samples(kept)
  batch, credit, why = _prepare(algorithm, state, kept)
  if batch is None:
    return state, {}, why
  if isinstance(batch, Batch):
    batch = sharding.place_batch(batch, experiment.mesh)
  updating = time.monotonic()
  state, update = algorithm.update(state, key, batch)
  update = {name: float(value) for name, value in jax.device_get(joined(credit, update)).items()}
  guards.require_finite_metrics(update)
  seconds = time.monotonic() - updating
  metrics = {**update, "time/update_s": seconds}
  if isinstance(batch, Batch):
    tokens = layout_tokens(batch)
    metrics |= {"update/tokens": tokens, "update/tokens_per_second": tokens / seconds}
  return state, metrics, ""
