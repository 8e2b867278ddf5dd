"""What a module of this folder makes: a `Sampler`; and what it is given for that."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from agentrl.models.chat import ChatFormat
from agentrl.rollout.driver import ActingHead, Driver, Drivers, RolloutStats, Strategy
from agentrl.rollout.engine import EngineConfig
from agentrl.rollout.episode import Request
from agentrl.rollout.search.planner import SearchConfig
from agentrl.rollout.workers import WorkerPool
from agentrl.types import EnvironmentFailed, Trajectory

if TYPE_CHECKING:  # it samples with a strategy of this folder
  from agentrl.rollout.strategies.utterances import UtteranceSampler


@dataclasses.dataclass(frozen=True)
class Surroundings:
  """What a strategy may need, the same for all collections of a run.

  Attributes:
    engine: sizes of the slots.
    chat: how to talk to the policy.
    vocab_size: of the model, which may have more entries than the tokenizer.
    driver: pauses where a turn may end.
    drivers: makes drivers that pause elsewhere, or read a value head.
    utterances: samples single utterances, as the rollouts sample turns.
    group_size: samples of a prompt in a rollout.
    entropy_window: tokens behind a tool result whose entropies are held against those of a rollout's first tokens.
    search: how trees grow.
  """

  engine: EngineConfig
  chat: ChatFormat
  vocab_size: int
  driver: Driver
  drivers: Drivers
  utterances: UtteranceSampler
  group_size: int
  entropy_window: int
  search: SearchConfig


@dataclasses.dataclass(frozen=True)
class Collection:
  """One collection: what is wanted, of which policy.

  Attributes:
    params: of a learner: "policy", and of what `Sampler.needs` reads as much as there is.
    key: with a trajectory's uid it determines what is sampled.
    groups: the requests of each prompt.
    make_environment: makes a fresh environment.
    environment_seconds: that one environment call (reset or step) may take; then the environment has failed.
    pool: threads for environments and tools.
    policy_version: update count of the params, recorded with every token.
    grade: finished trajectories with their rewards, in the same order; None where the environment failed.
    on_finish: to be called with every finished trajectory.
    judge: `(trajectories) -> f32 [N]`, what single utterances are worth to the algorithm; None: it has no judge.
    siblings: the visited siblings of a search's paths are wanted beside them, as branches.
    heads: of the algorithm, by name: those that acting may read.
  """

  params: Mapping[str, Any]
  key: jax.Array
  groups: Sequence[Sequence[Request]]
  make_environment: Callable[[], Any]
  environment_seconds: float
  pool: WorkerPool
  policy_version: int
  grade: Callable[[Sequence[Trajectory]], list[Trajectory]]
  on_finish: Callable[[Trajectory], None] = lambda trajectory: None
  judge: Callable[[Sequence[Trajectory]], np.ndarray] | None = None
  siblings: bool = False
  heads: Mapping[str, ActingHead] = dataclasses.field(default_factory=dict)

  @property
  def requests(self) -> list[Request]:
    """Of all groups, one after the other."""
    return [request for group in self.groups for request in group]

  @property
  def seed(self) -> int:
    """A number that the key gives, for random numbers of the host."""
    return int.from_bytes(np.asarray(jax.random.key_data(self.key)).tobytes(), "little")


@dataclasses.dataclass(frozen=True)
class Sampled:
  """What a strategy gives.

  Attributes:
    trajectories: in the order in which they are to be packed; those whose environment failed say how.
    stats: what the sampling cost.
    failures: of all calls of environments, those of closing included.
    trees: of searches, by the uid of the trajectory that each found: tells its tree as JSON, see `search/record.py`.
  """

  trajectories: list[Trajectory]
  stats: RolloutStats
  failures: list[EnvironmentFailed]
  trees: Mapping[int, Callable[[], dict[str, Any]]] = dataclasses.field(default_factory=dict)


class Needs(NamedTuple):
  """What a strategy needs of the algorithm.

  Attributes:
    params: entries of the learner's params that it reads beside the policy.
    heads: those of them that are heads.
    judge: it asks the algorithm's judge.
    why: who needs what, in words.
    otherwise: what to choose where the algorithm does not have it.
  """

  params: tuple[str, ...] = ()
  heads: tuple[str, ...] = ()
  judge: bool = False
  why: str = ""
  otherwise: str = ""


class Sampler(NamedTuple):
  """A way of sampling, and what others need to know of it.

  Attributes:
    sample: samples a collection.
    per_sample: the most trajectories that it gives for one request.
    needs: what it needs of the algorithm.
    siblings: it can give the visited siblings of its trajectories as branches.
    branches: its trajectories branch from each other.
    graded: its trajectories have their rewards; else they are graded when all are there.
    evaluate_with: samples where a policy is evaluated; None: this one.
  """

  sample: Callable[[Collection], Sampled]
  per_sample: int = 1
  needs: Needs = Needs()
  siblings: bool = False
  branches: bool = False
  graded: bool = False
  evaluate_with: Sampler | None = None


def on_slots(surroundings: Surroundings, collection: Collection, make: Callable[..., Strategy]) -> Sampled:
  """Runs one strategy per device to the end, on the driver that pauses where a turn may end.

  Args:
    make: takes what `shared` gives as keyword arguments.
  """
  make = functools.partial(make, **shared(surroundings, collection))
  strategies = [make() for _ in range(surroundings.driver.devices)]
  stats = surroundings.driver.run({"policy": collection.params["policy"]}, collection.key, strategies)
  trajectories = sorted((t for s in strategies for t in s.trajectories), key=lambda t: t.uid)
  return Sampled(trajectories, stats, [failure for s in strategies for failure in s.failures])


def shared(surroundings: Surroundings, collection: Collection) -> dict[str, Any]:
  """Keyword arguments that every strategy on slots takes."""
  return {
    "engine": surroundings.engine,
    "chat": surroundings.chat,
    "make_environment": collection.make_environment,
    "environment_seconds": collection.environment_seconds,
    "pool": collection.pool,
    "policy_version": collection.policy_version,
    "on_finish": collection.on_finish,
  }
