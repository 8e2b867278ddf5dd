"""Measuring a policy on the held-out split."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from agentrl.training import summary
from agentrl.training.assembly import Assembly, assemble
from agentrl.training.checkpoint import Checkpointer
from agentrl.training.run_folder import RunFolder
from agentrl.types import EnvironmentFailed, Trajectory


class EnvironmentsFailed(RuntimeError):
  """Too many environments failed for the run to mean anything; names the first cause."""


def evaluate(config, parts: Assembly, params: Any, folder: RunFolder | None, *, step: int) -> dict[str, float]:
  """Success on the held-out split, always on the same tasks with the same random numbers.

  Args:
    params: of a learner state: "policy" and, with a critic, "value".
    folder: where the trajectories are written; None: nowhere.
  """
  got = parts.collector.collect(
    parts.driver_params(params),
    parts.keys["evaluation"],
    range(config.eval.tasks),
    split="held_out",
    samples=config.eval.samples,
    temperature=config.eval.temperature,
    version=step,
    independent=True,
  )
  check_failures(config.rollout.max_failed_share, got.trajectories, got.failures)
  if folder is not None:
    folder.save_trajectories(step, got.trajectories, got.tasks, parts.tokenizer, evaluation=True)
  metrics = summary.evaluation_metrics(got.trajectories, config.eval.samples)
  return metrics | {"time/evaluation_s": got.stats.seconds}


def check_failures(limit: float, trajectories: Sequence[Trajectory], failures: Sequence[EnvironmentFailed]) -> None:
  """Raises EnvironmentsFailed where more than `limit` of the trajectories lost their environment."""
  failed = sum(t.failed for t in trajectories)
  if failed > limit * len(trajectories):
    raise EnvironmentsFailed(
      f"{failed} of {len(trajectories)} environments failed in one step, more than rollout.max_failed_share={limit}; "
      f"the first said: {failures[0]}"
    )


def evaluate_policy(config: ConfigDict, *, run: pathlib.Path | None, step: int | None) -> dict[str, float]:
  """Evaluates the config's own model, or a checkpoint of a run.

  Args:
    config: `eval` says how. run: the run's folder; None: the model as the config gives it.
    step: global step of the checkpoint; None: the latest.
  """
  parts = assemble(config)
  if run is None:
    if step is not None:
      raise ValueError("--step needs --run: only runs have checkpoints")
    return evaluate(config, parts, {"policy": parts.params}, None, step=0)
  params, found = restore_policy(config, parts, run, step)
  return {"step": float(found)} | evaluate(config, parts, {"policy": params}, None, step=found)


def restore_policy(config: ConfigDict, parts: Assembly, run: pathlib.Path, step: int | None) -> tuple[Any, int]:
  """The policy's params of a checkpoint, and its global step.

  Args:
    config, parts: of the run. run: its folder.
    step: global step (the stages of a run count on from each other); None: the latest.

  Raises:
    FileNotFoundError: there is no such checkpoint; names those that there are.
  """
  first = {"cold_start": 0, "train": config.cold_start.steps}
  saved = {
    first[stage] + local: (stage, local)
    for stage in first
    if (run / "checkpoints" / stage).is_dir()
    for local in Checkpointer(run / "checkpoints" / stage).steps
  }
  if not saved or (step is not None and step not in saved):
    wanted = "no checkpoint" if step is None else f"no checkpoint of step {step}"
    raise FileNotFoundError(f"{run} has {wanted}; there are those of steps {sorted(saved)}")
  step = max(saved) if step is None else step
  stage, local = saved[step]
  restored = Checkpointer(run / "checkpoints" / stage).restore(local, parts.params, prefix="params/policy")
  return restored.state, step
