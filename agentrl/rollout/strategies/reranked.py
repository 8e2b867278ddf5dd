"""Acting by re-ranking: several utterances are sampled at every state, and the one that a judge puts first is said.

So acts CHAI (Verma et al., 2022, https://arxiv.org/abs/2204.08426), with critics of utterances for the judge.

The judge runs on the device, and a rollout's host callbacks may call no JAX: no `Strategy` of slots can ask it. The
episodes that are still going on take their turns together. A turn is one rollout of single utterances, one call of the
judge, and one call of every environment. What is sampled depends on the seed, the trajectory's uid, the turn and the
candidate, and not on who else is still going on (nor does what is said, but for rounding in a judge's batches). Where
there is no room for all environments at once, episodes begin when others are over.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from agentrl.envs.checks import failure_of
from agentrl.models.chat import ChatFormat
from agentrl.named import with_settings
from agentrl.rollout.driver import RolloutStats, total
from agentrl.rollout.episode import Episode, Request, derived_uid
from agentrl.rollout.strategies.contract import Collection, Needs, Sampled, Sampler, Surroundings
from agentrl.rollout.strategies.independent import independent
from agentrl.rollout.strategies.utterances import Utterances
from agentrl.rollout.workers import WorkerPool
from agentrl.settings import DefaultsOf, at_least, from_function, ranges_of, settings_in
from agentrl.types import EnvironmentFailed, NoRoom, Trajectory

_SECONDS = 0.5  # between looks for room where none of these episodes has any
_CRITICS = Needs(
  params=("critic",),
  judge=True,
  why="rollout.strategy='reranked' needs critics of utterances",
  otherwise="choose algorithm='archer', or rollout.strategy='independent'",
)


def make(surroundings: Surroundings, cfg: ConfigDict) -> Sampler:
  """See `contract.Sampler`."""
  return with_settings(reranked, cfg, section="strategy")(surroundings)


def reranked(surroundings: Surroundings, *, candidates: int = 5) -> Sampler:
  """Of several utterances at every state the algorithm's critics choose the one that is said.

  Without critics, as before RL, samples are independent.

  Args:
    candidates: utterances to choose from at every state.
  """
  unjudged = independent(surroundings)

  def sample(collection: Collection) -> Sampled:
    if any(name not in collection.params for name in _CRITICS.params):
      return unjudged.sample(collection)
    started = time.monotonic()
    acting = Reranked(
      collection.requests,
      candidates=candidates,
      sample=functools.partial(surroundings.utterances.sample, collection.params["policy"], collection.key),
      judge=collection.judge,
      chat=surroundings.chat,
      make_environment=collection.make_environment,
      pool=collection.pool,
      environment_seconds=collection.environment_seconds,
      policy_version=collection.policy_version,
      on_finish=collection.on_finish,
    )
    stats = dataclasses.replace(total(acting.run()), seconds=time.monotonic() - started)
    return Sampled(sorted(acting.trajectories, key=lambda t: t.uid), stats, acting.failures)

  return Sampler(sample, needs=_CRITICS)


_SETTINGS = from_function(reranked, "RerankedSettings", ranges={"candidates": at_least(1)}, given={})
default_config = DefaultsOf(_SETTINGS)
RANGES = ranges_of(settings_in(_SETTINGS))


class Reranked:
  """Samples every request on its own, turn by turn.

  Args:
    requests: what to sample.
    candidates: utterances sampled at every state.
    sample: `(states, uids, temperatures) -> Utterances`, see `UtteranceSampler.sample`; at the requests' limits.
    judge: `(trajectories) -> f32 [N]`, worth of single utterances; of equals the first is said.
    make_environment: makes a fresh environment.
    environment_seconds: deadline of one environment call (reset or step), after which the environment has failed.

  Attributes:
    trajectories: finished ones, as they came.
  """

  def __init__(
    self,
    requests: Iterable[Request],
    *,
    candidates: int,
    sample: Callable[[Sequence[np.ndarray], Sequence[int], Sequence[float]], Utterances],
    judge: Callable[[Sequence[Trajectory]], np.ndarray],
    chat: ChatFormat,
    make_environment: Callable[[], object],
    pool: WorkerPool,
    environment_seconds: float,
    policy_version: int = 0,
    on_finish: Callable[[Trajectory], None] = lambda trajectory: None,
  ):
    self._waiting = [Episode(request, make_environment, chat, policy_version) for request in requests]
    self._live: list[Episode] = []
    self._turns: collections.Counter[int] = collections.Counter()  # said so far, by uid
    self._candidates, self._sample, self._judge = candidates, sample, judge
    self._pool, self._environment_seconds = pool, environment_seconds
    self._on_finish = on_finish
    self.trajectories: list[Trajectory] = []
    self.failures: list[EnvironmentFailed] = []

  def run(self) -> list[RolloutStats]:
    """Plays to the end; returns what the sampling of each turn cost."""
    costs = []
    while self._waiting or self._live:
      self._open()
      self._part_with_finished()
      if self._live:
        chosen, cost = self._choose()
        costs.append(cost)
        self._say(chosen)
        self._part_with_finished()
    return costs

  def _open(self) -> None:
    """Begins as many of the waiting episodes as there is room for."""
    asked, self._waiting = self._waiting, []
    self._ask([(e, functools.partial(_opened, e), functools.partial(self._begin, e)) for e in asked])
    self._live += [episode for episode in asked if episode not in self._waiting]
    if not self._live and self._waiting:  # what has the room is none of ours
      time.sleep(_SECONDS)

  def _begin(self, episode: Episode, prompt: Sequence[int] | None) -> None:
    if prompt is None:
      self._waiting.append(episode)
    else:
      episode.begin(prompt)

  def _choose(self) -> tuple[list[Trajectory], RolloutStats]:
    """For each live episode the best of its candidates, as a trajectory of one turn."""
    pairs = [(episode, n) for episode in self._live for n in range(self._candidates)]
    states = [np.asarray(episode.tokens, np.int32) for episode, _ in pairs]
    uids = [candidate_uid(episode.request.uid, self._turns[episode.request.uid], n) for episode, n in pairs]
    found, cost = self._sample(states, uids, [episode.request.temperature for episode, _ in pairs])
    best = np.argmax(self._judge(found).reshape(-1, self._candidates), axis=1)
    return [found[b * self._candidates + n] for b, n in enumerate(best)], cost

  def _say(self, chosen: Sequence[Trajectory]) -> None:
    calls = []
    for episode, utterance in zip(self._live, chosen, strict=True):
      self._turns[episode.request.uid] += 1
      start = utterance.prompt_length
      if episode.write(utterance.tokens[start:], utterance.sampler_logp[start:], utterance.entropy[start:]):
        action = episode.action()
        calls.append((episode, functools.partial(episode.act, action), functools.partial(episode.observe, action)))
      else:
        episode.run_out()
    self._ask(calls)

  def _ask(self, calls: Sequence[tuple[Episode, Callable[[], Any], Callable[[Any], Any]]]) -> None:
    """Makes calls `(episode, function, then)` of environments: `then` takes the answer; who gets none has failed."""
    answers = self._pool.call_all([function for _, function, _ in calls], self._environment_seconds)
    for (episode, _, then), answer in zip(calls, answers, strict=True):
      if (error := answer.exception()) is None:
        then(answer.result())
      else:
        self.failures.append(failure_of(error))
        episode.fail(self.failures[-1])

  def _part_with_finished(self) -> None:
    finished = [episode for episode in self._live if episode.finished]
    self._live = [episode for episode in self._live if not episode.finished]
    for trajectory in (episode.trajectory() for episode in finished):
      self.trajectories.append(trajectory)
      self._on_finish(trajectory)
    closed = self._pool.call_all([episode.close for episode in finished], self._environment_seconds)
    self.failures += [failure_of(error) for error in (future.exception() for future in closed) if error is not None]


def _opened(episode: Episode) -> list[int] | None:
  """The prompt; None where the environment finds no room now."""
  try:
    return episode.open()
  except NoRoom:
    return None


def candidate_uid(uid: int, turn: int, candidate: int) -> int:
  """uint32 that seeds a candidate: a hash, so that no two turns and no two trajectories share a sequence."""
  return derived_uid("candidate", uid, turn, candidate)
