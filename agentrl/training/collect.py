"""Trajectories on demand: tasks to requests, slots to trajectories, trajectories to rewards."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax

from agentrl.models.chat import ChatFormat
from agentrl.rewards.combine import assign
from agentrl.rollout.driver import Driver, RolloutStats
from agentrl.rollout.engine import EngineConfig
from agentrl.rollout.episode import Request, RequestQueue
from agentrl.rollout.strategies.independent import Independent
from agentrl.rollout.workers import WorkerPool
from agentrl.types import EnvironmentFailed, Task, Trajectory


@dataclasses.dataclass(frozen=True)
class Collected:
  """What one collection gave. `failures` are the environments' errors; their trajectories have reward None."""

  trajectories: list[Trajectory]
  tasks: Mapping[int, Task]  # by group_id
  stats: RolloutStats
  failures: list[EnvironmentFailed]


@dataclasses.dataclass(frozen=True)
class Collector:
  """Samples groups of trajectories and gives them their rewards.

  Attributes:
    driver, engine, chat: see their classes. tasks: has `task(index, split)` and `environment()`.
    workers: threads for environments and tools, those of one collection.
    reward: weight of each named part; reward_options: keyword arguments of the parts.
    max_tokens, max_turns, environment_seconds: limits of a trajectory; turn_tokens: of a turn, 0 for none.
  """

  driver: Driver
  engine: EngineConfig
  chat: ChatFormat
  workers: int
  tasks: Any
  reward: Mapping[str, float]
  reward_options: Mapping[str, Any]
  max_tokens: int
  max_turns: int
  turn_tokens: int
  environment_seconds: float

  def collect(
    self,
    params: Any,
    base_key: jax.Array,
    groups: Sequence[int],
    *,
    split: str,
    samples: int,
    temperature: float,
    version: int,
    on_finish: Callable[[Trajectory], None] = lambda trajectory: None,
  ) -> Collected:
    """Samples `samples` trajectories of each group; group g is about task number g of the split.

    Args:
      params: what the driver's tick takes. base_key: with a trajectory's uid it determines what is sampled.
      version: update count of the params, recorded with every token.
      on_finish: called with every finished trajectory, before its reward, from the rollout's thread.
    """
    tasks = {group: self.tasks.task(group, split) for group in groups}
    queue = RequestQueue(self._requests(tasks, samples, temperature))
    with contextlib.closing(WorkerPool(self.workers)) as pool:
      strategies = [self._strategy(queue, pool, version, on_finish) for _ in range(self.driver.devices)]
      stats = self.driver.run(params, base_key, strategies)
    sampled = sorted((t for s in strategies for t in s.trajectories), key=lambda t: t.uid)
    rewarded = [assign(t, tasks[t.group_id], self.reward, **self.reward_options) for t in sampled]
    return Collected(rewarded, tasks, stats, [failure for s in strategies for failure in s.failures])

  def _requests(self, tasks, samples, temperature) -> Iterator[Request]:
    for group, task in tasks.items():
      for sample in range(samples):
        uid = (group * samples + sample) % 2**32
        yield Request(task, uid, group, group, temperature, self.max_tokens, self.max_turns, self.turn_tokens)

  def _strategy(self, requests: Iterable[Request], pool, version, on_finish) -> Independent:
    return Independent(
      requests,
      engine=self.engine,
      chat=self.chat,
      make_environment=self.tasks.environment,
      pool=pool,
      environment_seconds=self.environment_seconds,
      policy_version=version,
      on_finish=on_finish,
    )
