"""Trajectories on demand: tasks to requests, slots to trajectories, trajectories to rewards."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from agentrl.envs.checks import failure_of
from agentrl.models.chat import ChatFormat
from agentrl.rewards.combine import Reward, assign, check_parts
from agentrl.rollout.driver import Driver, RolloutStats
from agentrl.rollout.engine import EngineConfig
from agentrl.rollout.episode import Request, RequestQueue
from agentrl.rollout.reranked import Reranked
from agentrl.rollout.search.planner import Planner, SearchConfig
from agentrl.rollout.search.record import branches
from agentrl.rollout.strategies import Strategy
from agentrl.rollout.strategies.branching import Branching, BranchingConfig
from agentrl.rollout.strategies.independent import Independent
from agentrl.rollout.strategies.tree_search import TreeSearch
from agentrl.rollout.utterances import UtteranceSampler
from agentrl.rollout.workers import WorkerPool
from agentrl.training import summary
from agentrl.training.left_out import LeftOut
from agentrl.types import EnvironmentFailed, Failure, FailureKind, StopReason, Task, Trajectory, Visit


@dataclasses.dataclass(frozen=True)
class Collected:
  """What one collection gave.

  Attributes:
    trajectories: those whose environment failed have reward None, and say how it failed.
    tasks: by group_id.
    stats: what the sampling cost.
    failures: of all calls of environments, those of closing and of a search's paths included.
    left_out: tasks that could not be made, or whose prompt does not fit; they have no trajectories.
    memory: what the reward functions remember afterwards of the tasks that they remember anything of, by task id.
    trees: the finished searches in the order of their uid, where there were any.
  """

  trajectories: list[Trajectory]
  tasks: Mapping[int, Task]
  stats: RolloutStats
  failures: list[EnvironmentFailed]
  left_out: list[LeftOut]
  memory: Mapping[str, Any]
  trees: list[Planner] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Searcher:
  """What it takes to search.

  Attributes:
    config: see its class. driver: with a value head, and pauses where a step may end.
    siblings: give the visited siblings of a path as branches of it.
    planner: how a tree grows, see `TreeSearch`.
  """

  config: SearchConfig
  driver: Driver
  siblings: bool = False
  planner: type[Planner] = Planner


@dataclasses.dataclass(frozen=True)
class Reranker:
  """What it takes to act by re-ranking.

  Attributes:
    sampler: of single utterances. judge: see `contract.Algorithm`. candidates: utterances sampled at every state.
  """

  sampler: UtteranceSampler
  judge: Callable[[Any, Sequence[Trajectory]], np.ndarray]
  candidates: int


@dataclasses.dataclass(frozen=True)
class Collector:
  """Samples groups of trajectories and gives them their rewards.

  Attributes:
    driver, engine, chat: see their classes. tasks: has `task(index, split)` and `environment()`.
    workers: threads for environments and tools, those of one collection.
    reward: what the trajectories are worth.
    max_tokens, max_turns, environment_seconds: limits of a trajectory; turn_tokens: of a turn, 0 for none.
    branching: how the samples of a group branch; None: they are independent.
    searcher: makes every sample the visited path of a search; None: there is none.
    reranker: chooses every utterance of a sample from several; None: each is the one that was sampled.
  """

  driver: Driver
  engine: EngineConfig
  chat: ChatFormat
  workers: int
  tasks: Any
  reward: Reward
  max_tokens: int
  max_turns: int
  turn_tokens: int
  environment_seconds: float
  branching: BranchingConfig | None = None
  searcher: Searcher | None = None
  reranker: Reranker | None = None

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
    memory: Mapping[str, Any],
    independent: bool = False,
    on_finish: Callable[[Trajectory], None] = lambda trajectory: None,
  ) -> Collected:
    """Samples a group of `samples` trajectories for each visit of a task.

    Args:
      params: what the driver's tick takes and, to re-rank, "critic"; without it, as before RL, nothing is re-ranked.
      base_key: with a trajectory's uid it determines what is sampled.
      visits: which tasks of the split, and the group of each.
      version: update count of the params, recorded with every token.
      memory: what reward functions remember of tasks, by task id; nothing in an evaluation.
      independent: no branches and no search, whatever the collector has: an evaluation's samples are independent.
        Re-ranked ones are.
      on_finish: called with every finished trajectory, before its reward, from the rollout's thread.
    """
    tasks, unmade = self._tasks(visits, split)
    got = self._sample(params, base_key, tasks, samples, temperature, version, memory, independent, on_finish)
    return _without_those_that_do_not_fit(got, unmade)

  def _tasks(self, visits: Sequence[Visit], split: str) -> tuple[dict[int, Task], list[LeftOut]]:
    """Tasks by group, and those that the family's code did not make."""
    made, unmade = {}, []
    for group, index in visits:
      try:
        made[group] = self.tasks.task(index, split)
      except (Exception, SystemExit) as error:  # the generator may be anybody's
        unmade.append(LeftOut(group, f"task number {index} of the split {split!r} was not made: {failure_of(error)}"))
    return made, unmade

  def _sample(
    self, params, base_key, tasks: Mapping[int, Task], samples, temperature, version, memory, independent, on_finish
  ) -> Collected:
    requests = [self._group(task, group, samples, temperature) for group, task in tasks.items()]
    with contextlib.closing(WorkerPool(self.workers)) as pool:
      shared = {"pool": pool, "policy_version": version, "on_finish": on_finish}
      if self.searcher is not None and not independent:
        return self._search(params, base_key, RequestQueue(itertools.chain(*requests)), tasks, memory, shared)
      if self.reranker is not None and "critic" in params:
        return self._rerank(params, base_key, itertools.chain(*requests), tasks, temperature, memory, shared)
      if self.branching is None or independent:
        make = functools.partial(self._independent, RequestQueue(itertools.chain(*requests)), **shared)
      else:
        make = functools.partial(self._branching, RequestQueue(requests), base_key, samples, **shared)
      strategies = [make() for _ in range(self.driver.devices)]
      stats = self.driver.run({"policy": params["policy"]}, base_key, strategies)
    sampled = sorted((t for s in strategies for t in s.trajectories), key=lambda t: t.uid)
    rewarded, memory = self._rewarded(sampled, tasks, memory)
    return Collected(rewarded, tasks, stats, [failure for s in strategies for failure in s.failures], [], memory)

  def _rewarded(
    self, sampled: Sequence[Trajectory], tasks: Mapping[int, Task], memory: Mapping[str, Any]
  ) -> tuple[list[Trajectory], dict[str, Any]]:
    """The trajectories, in order, with the rewards that they get group by group; and the memory afterwards."""
    check_parts(self.reward, sampled)
    after, rewarded = dict(memory), {}
    for group in dict.fromkeys(t.group_id for t in sampled):
      episodes, task = [t for t in sampled if t.group_id == group], tasks[group]
      graded, after[task.id] = self._graded(episodes, task, after.get(task.id, {}))
      rewarded |= {t.uid: t for t in graded}
    return [rewarded[t.uid] for t in sampled], {task: kept for task, kept in after.items() if kept}

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

  def _search(
    self, params, base_key, requests: Iterable[Request], tasks: Mapping[int, Task], memory, shared
  ) -> Collected:
    """One tree per request; terminal nodes are graded as they are reached, each a group by itself.

    Which of two trees about one task comes to an end first is a matter of timing, so what they leave in the memory is
    forgotten.
    """
    searcher = self.searcher

    def grade(trajectory: Trajectory) -> Trajectory:
      task = tasks[trajectory.group_id]
      return self._graded([trajectory], task, memory.get(task.id, {}))[0][0]

    strategies = [
      TreeSearch(requests, searcher.config, grade=grade, planner=searcher.planner, **self._surroundings(), **shared)
      for _ in range(searcher.driver.devices)
    ]
    stats = searcher.driver.run(params, base_key, strategies)
    trees = sorted((p for s in strategies for p in s.finished), key=lambda p: p.request.uid)
    found = [[p.trajectory, *(branches(p) if searcher.siblings else ())] for p in trees]
    failures = [failure for s in strategies for failure in s.failures]
    return Collected(list(itertools.chain(*found)), tasks, stats, failures, [], memory, trees)

  def _rerank(self, params, base_key, requests, tasks: Mapping[int, Task], temperature, memory, shared) -> Collected:
    started, reranker = time.monotonic(), self.reranker
    sampler = dataclasses.replace(reranker.sampler, temperature=temperature)
    reranked = Reranked(
      requests,
      candidates=reranker.candidates,
      sample=functools.partial(sampler.sample, params["policy"], base_key),
      judge=functools.partial(reranker.judge, params),
      chat=self.chat,
      make_environment=self.tasks.environment,
      environment_seconds=self.environment_seconds,
      **shared,
    )
    stats = dataclasses.replace(summary.total(reranked.run()), seconds=time.monotonic() - started)
    rewarded, memory = self._rewarded(sorted(reranked.trajectories, key=lambda t: t.uid), tasks, memory)
    return Collected(rewarded, tasks, stats, reranked.failures, [], memory)

  def _group(self, task: Task, group: int, samples: int, temperature: float) -> list[Request]:
    limits = (self.max_tokens, self.max_turns, self.turn_tokens)
    uids = [(group * samples + sample) % 2**32 for sample in range(samples)]
    return [Request(task, uid, group, group, temperature, *limits) for uid in uids]

  def _independent(self, requests: Iterable[Request], **shared) -> Strategy:
    return Independent(requests, **self._surroundings(), **shared)

  def _branching(self, groups: Iterable[Sequence[Request]], base_key, samples: int, **shared) -> Strategy:
    seed = int.from_bytes(np.asarray(jax.random.key_data(base_key)).tobytes(), "little")
    settings = {"group_size": samples, "settings": self.branching, "seed": seed}
    return Branching(groups, **settings, **self._surroundings(), **shared)

  def _surroundings(self) -> dict[str, Any]:
    return {
      "engine": self.engine,
      "chat": self.chat,
      "make_environment": self.tasks.environment,
      "environment_seconds": self.environment_seconds,
    }


def _without_reward(trajectory: Trajectory, why: EnvironmentFailed) -> Trajectory:
  """As where the environment failed."""
  cut = failure_of(why)
  failure = Failure(cut.kind, str(cut))
  failed = {"stop": StopReason.ENVIRONMENT_FAILED, "failure": failure, "reward_parts": None, "reward": None}
  return dataclasses.replace(trajectory, **failed)


def _without_those_that_do_not_fit(got: Collected, unmade: Sequence[LeftOut]) -> Collected:
  """Leaves out the tasks whose prompt does not fit, beside those that were not made."""
  reasons: dict[int, str] = {}
  for t in got.trajectories:
    if _does_not_fit(t):
      reasons.setdefault(t.group_id, t.failure.reason)
  return dataclasses.replace(
    got,
    trajectories=[t for t in got.trajectories if not _does_not_fit(t)],
    failures=[failure for failure in got.failures if failure.kind is not FailureKind.PROMPT],
    left_out=[*unmade, *(LeftOut(group, reason) for group, reason in reasons.items())],
    trees=[planner for planner in got.trees if not _does_not_fit(planner.trajectory)],
  )


def _does_not_fit(t: Trajectory) -> bool:
  return t.failure is not None and t.failure.kind is FailureKind.PROMPT
