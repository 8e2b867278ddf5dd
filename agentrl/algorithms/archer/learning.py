"""One update of ArCHer: new dialogues into the replay, then the critics, then the actor."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from agentrl.algorithms import gradients
from agentrl.algorithms.archer.actor import Actor, without_reward
from agentrl.algorithms.archer.critic import Critics, calibration, require_finite
from agentrl.algorithms.contract import LearnerState, Policy
from agentrl.batching import replay as replay_lib
from agentrl.batching.filters import with_reward
from agentrl.batching.pack import NothingToPack
from agentrl.batching.replay import Dialogues, Replay
from agentrl.rollout.strategies.utterances import UtteranceSampler
from agentrl.types import Trajectory

JUDGED_ROWS = 64  # utterances that are judged at once


class Memory(NamedTuple):
  """What ArCHer keeps beside its params.

  Those of the critic are "heads", "encoder" where it has its own, and, where it sees likelihoods, "prior": the policy
  as it was at first, which does not learn.
  """

  target: Any  # of what the critic learns; float32, or averages would stop short of weights that are narrower
  replay: Replay


@dataclasses.dataclass(frozen=True)
class Archer:
  """The functions of `contract.Algorithm`.

  Attributes:
    cfg: the settings of the algorithm.
    table: `(trajectories, turns) -> Dialogues`, see `replay.dialogues_of`.
  """

  policy: Policy
  cfg: ConfigDict
  critics: Critics
  actor: Actor
  table: Callable[..., Dialogues]

  def init(self, key: jax.Array, params: Any) -> LearnerState:
    """A new state with an empty replay; `params` are the policy's."""
    critic_key, actor_key = jax.random.split(key)
    learned, frozen = self.critics.init(critic_key, params)
    actor = self.actor.learner.init(actor_key, params)
    opt_state = {"actor": actor.opt_state, "critic": self.critics.optimizer.init(learned)}
    replay = replay_lib.empty(self.cfg.replay_capacity, self.policy.pack.row_tokens, self.policy.max_turns)
    memory = Memory(jax.tree.map(lambda a: jnp.array(a, jnp.float32, copy=True), learned), replay)
    return LearnerState(
      {**actor.params, "critic": {**learned, **frozen}}, opt_state, actor.reference, jnp.int32(0), memory
    )

  def prepare(self, state: LearnerState, trajectories: Sequence[Trajectory]):
    """The dialogues of the trajectories, and how many turns they have."""
    del state
    new = self.table(with_reward(trajectories), turns=self.policy.max_turns)
    if not len(new.tokens):
      raise NothingToPack("no dialogues to learn from: every one was filtered out")
    return new, {"replay/turns": np.float32(new.taken.sum())}

  def update(self, state: LearnerState, key: jax.Array, batch: Dialogues):
    """`critic.updates` steps of the critics and, once the warm-up is over, `actor.updates` of the actor."""
    answer_key, order_key, actor_key = jax.random.split(key, 3)
    metrics = self._calibration(state, batch)
    replay = replay_lib.add(state.memory.replay, batch)
    metrics["replay/size"] = replay.size.astype(jnp.float32)
    state, found = self._train_critics(state, answer_key, order_key, replay)
    metrics |= found
    if self.cfg.actor.updates and int(state.updates) >= self.cfg.actor.warmup:
      state, found = self._train_actor(state, actor_key, replay)
      metrics |= found
    return state._replace(updates=state.updates + 1), metrics

  def judge(self, params: Any, trajectories: Sequence[Trajectory]) -> np.ndarray:
    """min Q of single utterances, see `contract.Algorithm`; a few rows at a time, so that there are few shapes."""
    scores = []
    for first in range(0, len(trajectories), JUDGED_ROWS):
      some = trajectories[first : first + JUDGED_ROWS]
      padded = [*some, *[some[-1]] * (JUDGED_ROWS - len(some))]
      rows = self.critics.rows(params["critic"], self.table(without_reward(padded), turns=1), None)
      q, _ = self.critics.judge(params["critic"], params["policy"], rows)
      scores.append(np.asarray(q)[: len(some), 0])
    return np.concatenate(scores)

  def _calibration(self, state: LearnerState, batch: Dialogues) -> dict[str, Any]:
    """What the critics say of new dialogues, before they learn from them."""
    some, critic = _some(batch, self.cfg.critic.dialogues), state.params["critic"]
    return calibration(some, *self.critics.judge(critic, state.params["policy"], self.critics.rows(critic, some, None)))

  def _train_critics(self, state: LearnerState, answer_key: jax.Array, order_key: jax.Array, replay: Replay):
    """All the critics' steps of an update, on dialogues that the policy answers anew; `(state, metrics)`."""
    settings, critic, policy = self.cfg.critic, state.params["critic"], state.params["policy"]
    drawn, fresh = _answered(self.policy.sampler, policy, answer_key, replay, settings.dialogues)
    rows = self.critics.rows(critic, drawn, fresh)
    order = jax.random.randint(order_key, (settings.updates, settings.batch), 0, settings.dialogues)
    target, opt_state = state.memory.target, state.opt_state
    learned = {name: critic[name] for name in target}
    learned, critic_opt, target, metrics, flags = self.critics.train(
      learned, opt_state["critic"], target, policy, rows, order
    )
    require_finite(flags)
    return state._replace(
      params={**state.params, "critic": {**critic, **learned}},
      opt_state={**opt_state, "critic": critic_opt},
      memory=Memory(target, replay),
    ), metrics

  def _train_actor(self, state: LearnerState, key: jax.Array, replay: Replay):
    """All the actor's steps of an update; `(state, metrics)`."""
    critic = state.params["critic"]
    trained = {name: tree for name, tree in state.params.items() if name != "critic"}
    actor, history = LearnerState(trained, state.opt_state["actor"], state.reference, jnp.int32(0)), []
    for step_key in jax.random.split(key, self.cfg.actor.updates):
      actor, found = self.actor.step(actor, critic, step_key, replay)
      history.append(found)
    state = state._replace(
      params={**actor.params, "critic": critic},
      opt_state={**state.opt_state, "actor": actor.opt_state},
      reference=actor.reference,
    )
    return state, gradients.mean_metrics(history)


def _answered(
  sampler: UtteranceSampler, policy_params: Any, key: jax.Array, replay: Replay, count: int
) -> tuple[Dialogues, list[np.ndarray]]:
  """Replayed dialogues, and tokens of a fresh utterance of today's policy at every state of theirs, in order."""
  draw_key, sample_key = jax.random.split(key)
  drawn = replay_lib.draw(replay, draw_key, count)
  states = [
    row[:end]
    for row, ends, taken in zip(drawn.tokens, drawn.state_end, drawn.taken, strict=True)
    for end in ends[taken]
  ]
  fresh = sampler(policy_params, sample_key, states)
  return drawn, [t.tokens[t.prompt_length :] for t in fresh]


def _some(dialogues: Dialogues, count: int) -> Dialogues:
  """As many of them, from the first on and round again: one shape."""
  index = np.arange(count) % len(dialogues.tokens)
  return jax.tree.map(lambda a: np.asarray(a)[index], dialogues)
