"""Trajectories on demand: tasks to requests, requests to trajectories by a strategy, trajectories to rewards."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from agentrl.algorithms.contract import Algorithm
from agentrl.envs.checks import failure_of
from agentrl.rewards.combine import Reward, assign, check_parts, remember, remembered
from agentrl.rollout.driver import ActingHead, RolloutStats
from agentrl.rollout.episode import Request, Start
from agentrl.rollout.strategies.contract import Collection, Sampled, Sampler
from agentrl.rollout.workers import WorkerPool
from agentrl.training.left_out import LeftOut
from agentrl.types import EnvironmentFailed, Failure, FailureKind, StopReason, Task, Trajectory, TurnKind, Visit


def of_the_group(visit: Visit, uid: int) -> int:
  """The samples of a group meet the same episode: what is random in their environment is the same for all."""
  del uid
  return visit.group


def of_the_task(visit: Visit, uid: int) -> int:
  """All samples of a task meet the same episode, also where a curriculum asks it again."""
  del uid
  return visit.index


def of_the_sample(visit: Visit, uid: int) -> int:
  """Each sample meets an episode of its own; where it is sampled again, the same one."""
  del visit
  return uid


# (visit, uid) -> what seeds the environment of a sample.
SEEDS: Mapping[str, Callable[[Visit, int], int]] = {
  "group": of_the_group,
  "task": of_the_task,
  "sample": of_the_sample,
}


class SeededStart(NamedTuple):
  """A start, and what the environment was reset with that it was played in."""

  start: Start
  seed: int


@dataclasses.dataclass(frozen=True)
class Collected:
  """What one collection gave.

  Attributes:
    trajectories: those whose environment failed have reward None, and say how it failed.
    tasks: by group_id.
    stats: what the sampling cost.
    failures: of all calls of environments, those of closing and of a search's paths included.
    left_out: tasks that could not be made, or whose prompt does not fit; they have no trajectories.
    memory: what the reward functions remember afterwards, see `combine.remembered`.
    trees: of searches, in the order of their paths' uid, which is the key: tells the tree as JSON.
  """

  trajectories: list[Trajectory]
  tasks: Mapping[int, Task]
  stats: RolloutStats
  failures: list[EnvironmentFailed]
  left_out: list[LeftOut]
  memory: Mapping[str, Any]
  trees: Mapping[int, Callable[[], dict[str, Any]]]


@dataclasses.dataclass(frozen=True)
class Collector:
  """Samples groups of trajectories and gives them their rewards.

  Attributes:
    sampler: how they are sampled, see `rollout/strategies`.
    tasks: has `task(index, split)` and `environment()`.
    workers: threads for environments and tools, those of one collection.
    reward: what the trajectories are worth.
    max_tokens, max_turns: limits of a trajectory.
    turn_tokens: limit of a turn; 0 for none.
    end_on: kinds of turns behind which an episode is over.
    seed_of: entry of `SEEDS`.
    environment_seconds: that one environment call may take.
    judge: the algorithm's, see `contract.Algorithm`; None: it has none.
    siblings: the algorithm learns from the visited siblings of a search's paths.
    heads: those of the algorithm that acting may read, by name.
  """

  sampler: Sampler
  tasks: Any
  workers: int
  reward: Reward
  max_tokens: int
  max_turns: int
  turn_tokens: int
  end_on: frozenset[TurnKind]
  seed_of: Callable[[Visit, int], int]
  environment_seconds: float
  judge: Callable[[Any, Sequence[Trajectory]], np.ndarray] | None = None
  siblings: bool = False
  heads: Mapping[str, ActingHead] = dataclasses.field(default_factory=dict)

  def serving(self, algorithm: Algorithm) -> Collector:
    """Samples for an algorithm: asks its judge, reads its heads, and gives siblings where it learns from them."""
    heads = {name: ActingHead(name, head.apply) for name, head in algorithm.heads.items() if head.acting}
    return dataclasses.replace(self, judge=algorithm.judge, siblings=algorithm.siblings, heads=heads)

  @property
  def evaluating(self) -> Collector:
    """Samples as the strategy does where a policy is evaluated."""
    return self.sampling(self.sampler.evaluate_with or self.sampler)

  def sampling(self, sampler: Sampler) -> Collector:
    """Samples in another way, to be looked at and not to be learned from: without siblings."""
    return dataclasses.replace(self, sampler=sampler, siblings=False)

  def collect(
    self,
    params: Any,
    base_key: jax.Array,
    visits: Sequence[Visit],
    *,
    split: str,
    samples: int,
    temperature: float,
    version: int,
    memory: Mapping[str, Any] | None,
    starts: Mapping[int, SeededStart] = types.MappingProxyType({}),
    on_finish: Callable[[Trajectory], None] = lambda trajectory: None,
  ) -> Collected:
    """Samples a group of `samples` trajectories for each visit of a task.

    Args:
      params: of a learner: "policy", and of what `Sampler.needs` reads as much as there is.
      base_key: with a trajectory's uid it determines what is sampled.
      visits: which tasks of the split, and the group of each.
      version: update count of the params, recorded with every token.
      memory: what reward functions remember, see `combine.remembered`; None in an evaluation, which begins with nothing
        and forgets it.
      starts: what the policy goes on from, by group; the others begin with the task.
      on_finish: called with every finished trajectory, before its reward, from the rollout's thread.

    Raises:
      ValueError: a reward function remembers something of trajectories that the strategy grades itself, in an order
        that may be a matter of timing; not in an evaluation.
    """
    tasks, unmade = self._tasks(visits, split)
    with contextlib.closing(WorkerPool(self.workers)) as pool:
      collection = Collection(
        params=params,
        key=base_key,
        groups=[
          self._group(tasks[visit.group], visit, samples, temperature, starts.get(visit.group))
          for visit in visits
          if visit.group in tasks
        ],
        make_environment=self.tasks.environment,
        environment_seconds=self.environment_seconds,
        pool=pool,
        policy_version=version,
        grade=functools.partial(self._graded_apart, tasks=tasks, memory=memory),
        on_finish=on_finish,
        judge=None if self.judge is None else functools.partial(self.judge, params),
        siblings=self.siblings,
        heads=self.heads,
      )
      sampled = self.sampler.sample(collection)
    after = memory or {}
    if not self.sampler.graded:
      graded, after = self._rewarded(sampled.trajectories, tasks, after)
      sampled = dataclasses.replace(sampled, trajectories=graded)
    return _without_those_that_do_not_fit(sampled, tasks, unmade, after)

  def _tasks(self, visits: Sequence[Visit], split: str) -> tuple[dict[int, Task], list[LeftOut]]:
    """Tasks by group, and those that the family's code did not make."""
    made, unmade = {}, []
    for group, index in visits:
      try:
        made[group] = self.tasks.task(index, split)
      except (Exception, SystemExit) as error:  # the generator may be anybody's
        unmade.append(LeftOut(group, f"task number {index} of the split {split!r} was not made: {failure_of(error)}"))
    return made, unmade

  def _group(
    self, task: Task, visit: Visit, samples: int, temperature: float, start: SeededStart | None
  ) -> list[Request]:
    limits = (self.max_tokens, self.max_turns, self.turn_tokens, self.end_on)
    uids = [(visit.group * samples + sample) % 2**32 for sample in range(samples)]
    seeds = [self.seed_of(visit, uid) if start is None else start.seed for uid in uids]
    begun = None if start is None else start.start
    return [
      Request(task, uid, visit.group, seed, temperature, *limits, index=visit.index, start=begun)
      for uid, seed in zip(uids, seeds, strict=True)
    ]

  def _graded_apart(
    self, trajectories: Sequence[Trajectory], *, tasks: Mapping[int, Task], memory: Mapping[str, Any] | None
  ) -> list[Trajectory]:
    """The trajectories with their rewards, for a strategy that asks for them while it samples; see `collect`."""
    before = memory or {}
    graded, after = self._rewarded(trajectories, tasks, before)
    if memory is not None and after != before:
      both = [(before.get(where, {}), after.get(where, {})) for where in {**before, **after}]
      names = sorted({name for old, new in both for name in {**old, **new} if old.get(name) != new.get(name)})
      raise ValueError(
        f"the reward part {' and '.join(map(repr, names))} remembers something of a group, and rollout.strategy has "
        "its trajectories graded while it samples, some at a time and in an order that may be a matter of timing, so "
        "that nothing can be remembered: choose a strategy that leaves the grading to the end, such as 'independent', "
        "or a reward function that keeps nothing in its memory"
      )
    return graded

  def _rewarded(
    self, sampled: Sequence[Trajectory], tasks: Mapping[int, Task], memory: Mapping[str, Any]
  ) -> tuple[list[Trajectory], dict[str, Any]]:
    """The trajectories, in order, with the rewards that they get group by group; and the memory afterwards."""
    check_parts(self.reward, sampled)
    after, rewarded = dict(memory), {}
    for group in dict.fromkeys(t.group_id for t in sampled):
      episodes, task = [t for t in sampled if t.group_id == group], tasks[group]
      graded, kept = self._graded(episodes, task, remembered(after, task))
      remember(after, task, kept, self.reward)
      rewarded |= {t.uid: t for t in graded}
    return [rewarded[t.uid] for t in sampled], {where: kept for where, kept in after.items() if kept}

  def _graded(
    self, episodes: Sequence[Trajectory], task: Task, memory: Mapping[str, Any]
  ) -> tuple[list[Trajectory], dict[str, Any]]:
    """A group with its rewards; where none can be made of what the environment gave, the environment has failed."""
    outcomes, after = assign(self.reward, episodes, task, memory)
    graded = [
      _without_reward(episode, outcome) if isinstance(outcome, EnvironmentFailed) else outcome
      for episode, outcome in zip(episodes, outcomes, strict=True)
    ]
    return graded, after


def _without_reward(trajectory: Trajectory, why: EnvironmentFailed) -> Trajectory:
  """As where the environment failed."""
  cut = failure_of(why)
  failure = Failure(cut.kind, str(cut))
  failed = {"stop": StopReason.ENVIRONMENT_FAILED, "failure": failure, "reward_parts": None, "reward": None}
  return dataclasses.replace(trajectory, **failed)


def _without_those_that_do_not_fit(
  sampled: Sampled, tasks: Mapping[int, Task], unmade: Sequence[LeftOut], memory: Mapping[str, Any]
) -> Collected:
  """Leaves out the tasks whose prompt does not fit, beside those that were not made."""
  reasons: dict[int, str] = {}
  for t in sampled.trajectories:
    if _does_not_fit(t):
      reasons.setdefault(t.group_id, t.failure.reason)
  fitting = [t for t in sampled.trajectories if not _does_not_fit(t)]
  uids = {t.uid for t in fitting}
  return Collected(
    trajectories=fitting,
    tasks=tasks,
    stats=sampled.stats,
    failures=[failure for failure in sampled.failures if failure.kind is not FailureKind.PROMPT],
    left_out=[*unmade, *(LeftOut(group, reason) for group, reason in reasons.items())],
    memory=memory,
    trees={uid: tell for uid, tell in sampled.trees.items() if uid in uids},
  )


def _does_not_fit(t: Trajectory) -> bool:
  return t.failure is not None and t.failure.kind is FailureKind.PROMPT
