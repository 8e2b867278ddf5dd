"""Ways of acting with one policy, held against each other at the tokens that they generate for a task.

Without search: independent samples; the answer that most of N give; the best of N by the value head, or by the true
reward, which is an upper bound for whoever has no checker. With search: value-guided sparse rollouts, and the tree
search of the run's config, which is told the reward of every end that it reaches.

Tokens are sampled ones. Those of N samples are the samples' own; a value head that reads a finished sample costs none.
Those of a search are all that were sampled for it, in its path or not.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from agentrl.rollout.search.value_guided import ValueGuided
from agentrl.rollout.strategies.contract import Sampler
from agentrl.rollout.strategies.independent import independent
from agentrl.rollout.strategies.read_values import ReadValues
from agentrl.rollout.strategies.tree_search import search_driver, tree_search
from agentrl.training import config_values, summary
from agentrl.training.build.experiment import Experiment, build_experiment
from agentrl.training.collect import Collected
from agentrl.training.evaluation import collect_held_out, search_held_out
from agentrl.training.saved import restore_params
from agentrl.types import Trajectory


class Row(NamedTuple):
  """One way of acting.

  Attributes:
    method: in words. count: N samples, L leaves, or simulations.
    told_reward: it needs the true reward of what it finds.
    success, low, high: over tasks, with Wilson's 95 % interval. tokens: generated per task.
  """

  method: str
  count: int
  told_reward: bool
  success: float
  low: float
  high: float
  tokens: float


class Comparison(NamedTuple):
  """`rows` of the checkpoint of a global `step`; `notes` say which rows are not there, and why."""

  step: int
  rows: list[Row]
  notes: list[str]


Pick = Callable[[Sequence[Trajectory]], Trajectory]  # of N samples of a task
UPPER_BOUND = "upper bound: best by true reward"


LEAVES = (2, 4, 8, 16)  # compared unless others are asked for, as far as there are slots


def compare(
  config: ConfigDict, *, run: pathlib.Path, step: int | None, leaves: Sequence[int] | None = None
) -> Comparison:
  """Measures every way of acting on the held-out tasks.

  Args:
    config: of the run; `eval` says how many tasks, samples (N goes up to these, by doubling) and searches of each.
    run: its folder. step: global step of the checkpoint; None: the latest.
    leaves: L of the value-guided rollouts; None: those of `LEAVES` for which there are slots.

  Raises:
    ValueError: more leaves than slots, or fewer than 2.
    FileNotFoundError: the run has no such checkpoint.
  """
  config, experiment = _with_search(config)
  with contextlib.closing(experiment.tasks):
    return _compare(config, experiment, run, step, leaves)


def _compare(
  config: ConfigDict, experiment: Experiment, run: pathlib.Path, step: int | None, leaves: Sequence[int] | None
) -> Comparison:
  slots = experiment.surroundings.engine.slots
  leaves = [count for count in LEAVES if count <= slots] if leaves is None else leaves
  _check_leaves(leaves, slots)
  params, step = restore_params(config, experiment, run, step)
  plain = _collect(config, experiment, independent(experiment.surroundings), params, config.eval.samples, step)
  search = experiment.surroundings.search
  rows, notes = [_samples_row(plain.trajectories)], []
  picks: dict[str, Pick] = {"majority vote": majority, UPPER_BOUND: best_by_reward}
  if valued := search.head in params:
    values = read_values(experiment, params, plain.trajectories)
    picks["best by value head"] = lambda samples: max(samples, key=lambda t: values[t.uid])
  else:
    notes.append("No rows by the value head: this checkpoint has none, or search.evaluate is 'rollout'.")
  for name, pick in picks.items():
    rows += [_picked_row(name, pick, n, plain.trajectories) for n in _doubling(config.eval.samples)]
  for count in leaves if valued else ():
    sampler = tree_search(experiment.surroundings, dataclasses.replace(search, width=count), ValueGuided)
    found = _collect(config, experiment, sampler, params, config.eval.search, step)
    rows.append(_searched_row("value-guided sparse rollouts", count, False, found))
  found = search_held_out(config, experiment, params, step=step)
  rows.append(_searched_row("tree search", search.simulations, True, found))
  return Comparison(step, rows, notes)


def _with_search(config: ConfigDict) -> tuple[ConfigDict, Experiment]:
  """Both with a search beside the samples; without the head `search.head` it values leaves by rollouts."""
  experiment = build_experiment(config_values.resolve(config, {"eval": {"search": 0}}, where="the comparison"))
  search = experiment.surroundings.search
  if search.head not in experiment.collector.heads:
    search = dataclasses.replace(search, evaluate="rollout")
  surroundings = dataclasses.replace(experiment.surroundings, search=search)
  experiment = dataclasses.replace(experiment, surroundings=surroundings, searching=tree_search(surroundings, search))
  return config_values.resolve(
    config, {"eval": {"search": max(1, config.eval.search)}}, where="the comparison"
  ), experiment


def _collect(
  config: ConfigDict, experiment: Experiment, sampler: Sampler, params: Any, samples: int, step: int
) -> Collected:
  return collect_held_out(config, experiment, experiment.collector.sampling(sampler), params, samples, step=step)


def _check_leaves(leaves: Sequence[int], slots: int) -> None:
  for count in leaves:
    if not 2 <= count <= slots:
      raise ValueError(f"--leaves {count}: give at least 2, and at most engine.slots={slots}")


def read_values(experiment: Experiment, params: Any, trajectories: Sequence[Trajectory]) -> Mapping[int, float]:
  """V in front of each trajectory's last sampled token, by uid: there a head was trained that knows what was written.

  Args:
    params: "policy" and the head `search.head`. trajectories: those whose environment failed are left out.
  """
  whole = [t for t in trajectories if not t.failed]
  surroundings = experiment.surroundings
  driver = search_driver(surroundings, surroundings.search, experiment.collector.heads)
  shares = [whole[device :: driver.devices] for device in range(driver.devices)]
  strategies = [ReadValues(map(_in_front_of_the_end, share), engine=surroundings.engine) for share in shares]
  driver.run(experiment.driver_params(params), experiment.keys["evaluation"], strategies)
  return {
    t.uid: value for share, s in zip(shares, strategies, strict=True) for t, value in zip(share, s.values, strict=True)
  }


def _in_front_of_the_end(t: Trajectory) -> tuple[np.ndarray, np.ndarray]:
  """(prompt, what follows it up to the last sampled token, exclusive)."""
  end = int(np.flatnonzero(t.action_mask)[-1])
  return t.tokens[: t.prompt_length], t.tokens[t.prompt_length : end]


# ---- one sample of several ------------------------------------------------------------------------------------------


def majority(samples: Sequence[Trajectory]) -> Trajectory:
  """A sample with the commonest answer; ties go to the answer that came first, samples without answer do not vote."""
  answers = [_answer(t) for t in samples]
  votes = collections.Counter(answer for answer in answers if answer is not None)
  if not votes:
    return samples[0]
  return samples[answers.index(votes.most_common(1)[0][0])]


def best_by_reward(samples: Sequence[Trajectory]) -> Trajectory:
  """A sample that succeeded, where there is one."""
  return max(samples, key=summary.succeeded)


def _answer(t: Trajectory) -> str | None:
  """The final answer, without the white space around it."""
  answer = t.turns[-1].answer if t.turns else None
  return None if answer is None else answer.strip()


# ---- rows -----------------------------------------------------------------------------------------------------------


def _doubling(most: int) -> list[int]:
  return [2**k for k in range(1, most.bit_length()) if 2**k <= most]


def _by_task(trajectories: Sequence[Trajectory]) -> list[list[Trajectory]]:
  """Samples of each task in the order of their uid; those whose environment failed are left out."""
  tasks: dict[int, list[Trajectory]] = collections.defaultdict(list)
  for t in sorted(trajectories, key=lambda t: t.uid):
    if not t.failed:
      tasks[t.group_id].append(t)
  return list(tasks.values())


def _samples_row(trajectories: Sequence[Trajectory]) -> Row:
  """One sample of a task; all samples count in its mean."""
  tasks = _by_task(trajectories)
  means = [np.mean([summary.succeeded(t) for t in samples]) for samples in tasks]
  return _row("one sample", 1, False, means, float(np.mean([_tokens(samples) / len(samples) for samples in tasks])))


def _picked_row(method: str, pick: Pick, count: int, trajectories: Sequence[Trajectory]) -> Row:
  """The first `count` samples of each task that has so many, and one of them picked."""
  tasks = [samples[:count] for samples in _by_task(trajectories) if len(samples) >= count]
  outcomes = [float(summary.succeeded(pick(samples))) for samples in tasks]
  tokens = float(np.mean([_tokens(samples) for samples in tasks]))
  return _row(method, count, pick is best_by_reward, outcomes, tokens)


def _searched_row(method: str, count: int, told_reward: bool, found: Collected) -> Row:
  means = [np.mean([summary.succeeded(t) for t in paths]) for paths in _by_task(found.trajectories)]
  return _row(method, count, told_reward, means, found.stats.sampled / len(found.trajectories))


def _row(method: str, count: int, told_reward: bool, means: Sequence[float], tokens: float) -> Row:
  means = np.asarray(means, float)
  return Row(method, count, told_reward, float(means.mean()), *summary.success_interval(means), tokens)


def _tokens(samples: Sequence[Trajectory]) -> int:
  return int(sum(t.action_mask.sum() for t in samples))
