"""Measuring a policy on the held-out split."""

from __future__ import annotations

import contextlib
import itertools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import logging
from ml_collections import ConfigDict

from agentrl.training import guards, summary
from agentrl.training.build.experiment import Experiment, build_experiment
from agentrl.training.collect import Collected, Collector
from agentrl.training.left_out import check_left_out, lines_of
from agentrl.training.run_folder import RunFolder
from agentrl.training.saved import restore_params
from agentrl.types import FailureKind, Trajectory, Visit, first_visits


class EnvironmentsFailed(RuntimeError):
  """Too many trajectories have no reward for the run to mean anything; names the first cause."""


def evaluate(
  config: ConfigDict,
  experiment: Experiment,
  params: Any,
  folder: RunFolder | None,
  *,
  step: int,
  pool: Sequence[int] = (),
) -> dict[str, float]:
  """Success on the held-out split, always on the same tasks with the same random numbers.

  They are sampled as the strategy says, see `Sampler.evaluate_with`. Where `eval.search` is not 0, the tasks are
  searched too; see `summary.searched_metrics` and `search_held_out`.

  Args:
    params: of a learner state: "policy" and, as far as they are there, `Experiment.acts_by`.
    folder: where trajectories and trees are written; None: nowhere.
    pool: numbers of tasks of the train split that are measured too, as `eval_pool/`.
  """

  def save(got: Collected) -> None:
    if folder is not None:
      folder.save_trajectories(step, got.trajectories, got.tasks, experiment.tokenizer, evaluation=True)

  samples = config.eval.samples
  got = collect_held_out(config, experiment, experiment.collector.evaluating, params, samples, step=step, save=save)
  metrics = summary.evaluation_metrics(got.trajectories, config.eval.samples)
  metrics |= {
    f"eval/success/{entry}": success
    for entry, success in summary.by_entry(got.trajectories, got.tasks, summary.succeeded).items()
  }
  metrics |= summary.stratum_metrics(got.trajectories, got.tasks, "eval")
  metrics |= {"eval/left_out": float(len(got.left_out)), "time/evaluation_s": got.stats.seconds}
  if pool:
    seen = [Visit(n, index) for n, index in enumerate(pool)]
    known = _collect(config, experiment, experiment.collector.evaluating, params, samples, seen, "train", step=step)
    of_pool = summary.evaluation_metrics(known.trajectories, samples)
    metrics |= {f"eval_pool/{name.removeprefix('eval/')}": value for name, value in of_pool.items()}
  if config.eval.search:
    found = search_held_out(config, experiment, params, step=step)
    if folder is not None:
      folder.save_trees(step, tree_records(config, found.trees), evaluation=True)
    metrics |= summary.searched_metrics(found.trajectories, config.eval.search, found.stats)
    metrics |= {"time/evaluation_search_s": found.stats.seconds}
  return metrics


def tree_records(config: ConfigDict, trees: Mapping[int, Callable[[], dict[str, Any]]]) -> list[dict[str, Any]]:
  """The searches that are kept for people, the first `train.saved_trees`, as JSON.

  Args:
    trees: see `Collected`.

  Raises:
    NonFinite: a number of one is NaN or infinite; names the search and the number.
  """
  records = [tell() for tell in itertools.islice(trees.values(), config.train.saved_trees)]
  for record in records:
    guards.require_finite_record(record, f"the search {record['uid']} (task {record['task']})")
  return records


def search_held_out(config: ConfigDict, experiment: Experiment, params: Any, *, step: int) -> Collected:
  """`eval.search` searches of each held-out task. They are told the reward of every end that they reach.

  Args:
    params: without the head that the search reads, as after a cold start, it reads one that RL may start with.
  """
  fresh = {name: experiment.fresh_head(name) for name in experiment.searching.needs.heads if name not in params}
  collector = experiment.collector.sampling(experiment.searching)
  return collect_held_out(config, experiment, collector, {**params, **fresh}, config.eval.search, step=step)


def collect_held_out(
  config: ConfigDict,
  experiment: Experiment,
  collector: Collector,
  params: Any,
  samples: int,
  *,
  step: int,
  save: Callable[[Collected], None] = lambda got: None,
) -> Collected:
  """Samples of each held-out task.

  Args:
    save: is given them before they are checked, so that they are there to be looked at where too many failed.

  Raises:
    EnvironmentsFailed: too many trajectories have no reward, or all of them, so that there is nothing to measure.
    TasksLeftOut: nearly all tasks had to be left out.
  """
  visits = first_visits(range(config.eval.tasks))
  return _collect(config, experiment, collector, params, samples, visits, "held_out", step=step, save=save)


def _collect(
  config: ConfigDict,
  experiment: Experiment,
  collector: Collector,
  params: Any,
  samples: int,
  visits: Sequence[Visit],
  split: str,
  *,
  step: int,
  save: Callable[[Collected], None] = lambda got: None,
) -> Collected:
  """Samples of each visited task; see `collect_held_out`."""
  got = collector.collect(
    experiment.driver_params(params),
    experiment.keys["evaluation"],
    visits,
    split=split,
    samples=samples,
    temperature=config.eval.temperature,
    version=step,
    memory=None,
  )
  save(got)
  for line in lines_of(got.left_out):
    logging.warning("evaluation: %s", line)
  check_left_out(got.left_out, len(visits), enough=1)
  check_failures(config.rollout.max_failed_share, got.trajectories)
  failed = [t for t in got.trajectories if t.failure is not None]
  if len(failed) == len(got.trajectories):
    raise EnvironmentsFailed(f"evaluation: {failures_told(got.trajectories)}: there is nothing to measure")
  if failed:
    logging.warning("evaluation: %s; its numbers are about the others", failures_told(got.trajectories))
  return got


def check_failures(limit: float, trajectories: Sequence[Trajectory]) -> None:
  """Raises EnvironmentsFailed where more than `limit` of the trajectories have no reward."""
  if sum(t.failure is not None for t in trajectories) > limit * len(trajectories):
    raise EnvironmentsFailed(
      f"in one step more than rollout.max_failed_share={limit} have no reward: {failures_told(trajectories)}"
    )


def failures_told(trajectories: Sequence[Trajectory]) -> str:
  """Whose failures they are, the environment's or the reward's, how many, and what the first said."""
  failures = [t.failure for t in trajectories if t.failure is not None]
  of_rewards = sum(failure.kind is FailureKind.REWARD for failure in failures)
  counts = {"the environments": len(failures) - of_rewards, "the rewards": of_rewards}
  told = " and ".join(f"{count} of {who}" for who, count in counts.items() if count) or "none"
  said = f" (the first said: {failures[0].reason})" if failures else ""
  return f"of {len(trajectories)} trajectories {told} failed{said}"


def evaluate_policy(config: ConfigDict, *, run: pathlib.Path | None, step: int | None) -> dict[str, float]:
  """Evaluates the config's own model, or a checkpoint of a run.

  Args:
    config: `eval` says how. run: the run's folder; None: the model as the config gives it.
    step: global step of the checkpoint; None: the latest.
  """
  if run is None and step is not None:
    raise ValueError("--step needs --run: only runs have checkpoints")
  experiment = build_experiment(config)
  with contextlib.closing(experiment.tasks):
    if run is None:
      return evaluate(config, experiment, {"policy": experiment.params}, None, step=0)
    params, found = restore_params(config, experiment, run, step)
    return {"step": float(found)} | evaluate(config, experiment, params, None, step=found)
