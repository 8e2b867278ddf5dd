"""Acting by re-ranking: several utterances are sampled at every state, and the one that a judge puts first is said.

So acts CHAI (Verma et al., 2022, https://arxiv.org/abs/2204.08426), with critics of utterances for the judge.

The judge runs on the device, and a rollout's host callbacks may call no JAX: this is no `Strategy`. The episodes that
are still going on take their turns together. A turn is one rollout of single utterances, one call of the judge, and one
call of every environment. What is sampled depends on the seed, the trajectory's uid, the turn and the candidate, and
not on who else is still going on (nor does what is said, but for rounding in a judge's batches).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from agentrl.envs.checks import failure_of
from agentrl.models.chat import ChatFormat
from agentrl.rollout.driver import RolloutStats
from agentrl.rollout.episode import Episode, Request, derived_uid
from agentrl.rollout.utterances import Utterances
from agentrl.rollout.workers import WorkerPool
from agentrl.types import EnvironmentFailed, Trajectory


class Reranked:
  """Samples every request on its own, turn by turn.

  Args:
    requests: what to sample.
    candidates: utterances sampled at every state.
    sample: `(states, uids) -> Utterances`, see `UtteranceSampler.sample`; at the requests' temperature and limits.
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
    sample: Callable[[Sequence[np.ndarray], Sequence[int]], Utterances],
    judge: Callable[[Sequence[Trajectory]], np.ndarray],
    chat: ChatFormat,
    make_environment: Callable[[], object],
    pool: WorkerPool,
    environment_seconds: float,
    policy_version: int = 0,
    on_finish: Callable[[Trajectory], None] = lambda trajectory: None,
  ):
    self._live = [Episode(request, make_environment, chat, policy_version) for request in requests]
    self._candidates, self._sample, self._judge = candidates, sample, judge
    self._pool, self._environment_seconds = pool, environment_seconds
    self._on_finish = on_finish
    self.trajectories: list[Trajectory] = []
    self.failures: list[EnvironmentFailed] = []

  def run(self) -> list[RolloutStats]:
    """Plays to the end; returns what the sampling of each turn cost."""
    self._ask([(episode, episode.open, episode.begin) for episode in self._live])
    self._part_with_finished()
    costs = []
    while self._live:
      chosen, cost = self._choose(turn=len(costs))
      costs.append(cost)
      self._say(chosen)
      self._part_with_finished()
    return costs

  def _choose(self, turn: int) -> tuple[list[Trajectory], RolloutStats]:
    """For each live episode the best of its candidates, as a trajectory of one turn."""
    pairs = [(episode, n) for episode in self._live for n in range(self._candidates)]
    states = [np.asarray(episode.tokens, np.int32) for episode, _ in pairs]
    found, cost = self._sample(states, [candidate_uid(episode.request.uid, turn, n) for episode, n in pairs])
    best = np.argmax(self._judge(found).reshape(-1, self._candidates), axis=1)
    return [found[b * self._candidates + n] for b, n in enumerate(best)], cost

  def _say(self, chosen: Sequence[Trajectory]) -> None:
    calls = []
    for episode, utterance in zip(self._live, chosen, strict=True):
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


def candidate_uid(uid: int, turn: int, candidate: int) -> int:
  """uint32 that seeds a candidate: a hash, so that no two turns and no two trajectories share a sequence."""
  return derived_uid("candidate", uid, turn, candidate)
