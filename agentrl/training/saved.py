"""The checkpoints of a run, by global step: its stages count on from each other, each has a folder of its own."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from agentrl.training import resume
from agentrl.training.build.experiment import Experiment
from agentrl.training.checkpoint import Checkpointer, Restored
from agentrl.training.config_values import Difference
from agentrl.training.redacted import differences_shown
from agentrl.training.run_folder import read_config
from agentrl.training.sources import kind_of
from agentrl.training.stages import Stage, stages_of


def saved_steps(config: ConfigDict, run: pathlib.Path) -> dict[int, tuple[Stage, int]]:
  """The checkpoints of a run by global step: the stage that made each, and its step in the stage."""
  return {
    stage.first + step: (stage, step)
    for stage in stages_of(config)
    if stage.checkpoints(run).is_dir()
    for step in Checkpointer(stage.checkpoints(run), read_only=True).steps
  }


def restore_policy(config: ConfigDict, like: Any, run: pathlib.Path, step: int | None) -> tuple[Any, int]:
  """The policy's params of a checkpoint, in the structure of `like`, and its global step; see `restore_params`."""
  stage, step = _found(config, run, step)
  return _restored(stage, run, step, "policy", like).state, step


def restore_params(config: ConfigDict, experiment: Experiment, run: pathlib.Path, step: int | None) -> tuple[Any, int]:
  """What is evaluated of a checkpoint, and its global step: "policy", and what `Experiment.acts_by`.

  A checkpoint of a stage before the run's algorithm has no critic, and gives none.

  Args:
    config: of the run.
    experiment: of the run.
    run: its folder.
    step: global step; None: the latest.

  Raises:
    FileNotFoundError: there is no such checkpoint; names those that there are.
  """
  stage, step = _found(config, run, step)
  policy = _restored(stage, run, step, "policy", experiment.params).state
  acting = experiment.acts_by if stage.final else ()
  return {
    "policy": policy,
    **{name: _restored(stage, run, step, name, experiment.zeros_of(name)).state for name in acting},
  }, step


def taken_over(stage: Stage, config: ConfigDict, experiment: Experiment) -> tuple[Any, int]:
  """What is behind a stage of another run: the arms of an experiment begin with the same policy.

  Returns:
    The policy's params, and the first number of a task that the stage has not used, see `sources.Source`.

  Raises:
    FileNotFoundError: the other run has not finished the stage, or is no run.
    ValueError: its stage had other settings; names them.
  """
  run, key = pathlib.Path(stage.run), f"{stage.name}.run"
  try:
    theirs = read_config(run)
  except FileNotFoundError as error:
    raise FileNotFoundError(f"{key}: {error}") from error
  if first := theirs[stage.name].run:
    raise ValueError(f"{key}={str(run)!r} took over its {stage.title} itself, from {first!r}: name that")
  lines = [f"{d.key}: there {d.old!r}, here {d.new!r}" for d in stage_differences(stage, theirs, config)]
  if not stage.steps:
    lines.append(f"{stage.name}.steps: 0, so there is none")
  if lines:
    raise ValueError(f"{key}={str(run)!r} is no {stage.title} of this config:\n  " + "\n  ".join(lines))
  saved, step = _found(theirs, run, stage.last)
  restored = _restored(saved, run, step, "policy", experiment.params)
  return restored.state, restored.host["next_task"]


def stage_differences(stage: Stage, old: ConfigDict, new: ConfigDict) -> list[Difference]:
  """What differs between two configs of what a stage before the last one reads; empty: both make the same policy.

  Args:
    stage: of `new`.
  """
  sections = (*READ, *kind_of(new, stage).sections, stage.name)
  return [d for d in differences_shown(old, new) if _moves(d.key, sections, stage)]


# Sections that the params behind such a stage depend on; `pack` says which traces fit into a row, and how sums round.
READ = ("seed", "model", "chat", "task", "pack", "optimizer")
_OF_THE_LAST = ("optimizer.learning_rate", "optimizer.value_rate", "optimizer.value_warmup")  # it has rates of its own


def _moves(key: str, sections: Sequence[str], stage: Stage) -> bool:
  """Whether another value of a key gives other params behind a stage that reads these sections."""
  own_schedule = ("optimizer.schedule",) if stage.scheduled_by == stage.name else ()
  ignored = (f"{stage.name}.run", *_OF_THE_LAST, *own_schedule, *resume.FREE)
  return key.split(".")[0] in sections and not any(resume.covers(entry, key) for entry in ignored)


def _found(config: ConfigDict, run: pathlib.Path, step: int | None) -> tuple[Stage, int]:
  """The stage that made the checkpoint of a global step, and the step; the latest where it is None."""
  saved = saved_steps(config, run)
  if not saved or (step is not None and step not in saved):
    wanted = "no checkpoint" if step is None else f"no checkpoint of step {step}"
    raise FileNotFoundError(f"{run} has {wanted}; there are those of steps {sorted(saved)}")
  step = max(saved) if step is None else step
  return saved[step][0], step


def _restored(stage: Stage, run: pathlib.Path, step: int, name: str, like: Any) -> Restored:
  """An entry of the params that a checkpoint has, in the structure of `like`, and what the host counted."""
  checkpoints = Checkpointer(stage.checkpoints(run), read_only=True)
  return checkpoints.restore(step - stage.first, like, prefix=f"params/{name}")
