"""The actor: policy gradients on fresh utterances at states of the replay, weighed by the critics."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from agentrl.algorithms import terms
from agentrl.algorithms.archer.critic import Critics
from agentrl.algorithms.contract import LearnerState
from agentrl.algorithms.forward import Outputs
from agentrl.algorithms.learner import Learner
from agentrl.algorithms.objective import Diagnostics, Term
from agentrl.batching import replay as replay_lib
from agentrl.batching.pack import Column
from agentrl.batching.replay import Replay
from agentrl.ops import value_losses
from agentrl.types import Batch, Trajectory


def actor_terms(cfg: ConfigDict) -> list[Term]:
  """The actor's objective, from the settings of the algorithm."""
  surrogate = terms.policy_gradient(
    policy_loss=cfg.policy_loss,
    loss=cfg.loss,
    correction=cfg.correction,
    correction_options=cfg.correction_options,
  )
  own = [_less_baseline(surrogate), _baseline()] if cfg.actor.token_baseline else [surrogate]
  return [*own, *terms.weighed(terms.entropy(), cfg.actor.entropy_coef), *terms.from_config(cfg.terms)]


def _less_baseline(term: Term) -> Term:
  """The term with advantages from which the head "value" is taken."""

  def per_token(out: Outputs, micro: Batch) -> tuple[jax.Array, Diagnostics]:
    advantages = micro.columns["advantages"] - jax.lax.stop_gradient(out.heads["value"])
    return term.per_token(out, micro.with_columns(advantages=advantages))

  return term._replace(per_token=per_token)


def _baseline() -> Term:
  """The squared error of the head "value" to the advantages; the head leaves the trunk alone."""

  def per_token(out: Outputs, micro: Batch) -> tuple[jax.Array, Diagnostics]:
    error = 2.0 * value_losses.squared_value_loss(out.heads["value"], micro.columns["advantages"], micro.action_mask)
    return error, {"value/loss": error}

  head = terms.value_head(detach=True)._replace(acting=False)
  return Term(1.0, per_token, heads={"value": head})


@dataclasses.dataclass(frozen=True)
class Actor:
  """Takes the actor's steps.

  Attributes:
    table: `(trajectories, turns) -> Dialogues`.
    batch: fresh utterances per step.
    center: take the mean over a step's utterances off the advantages.
  """

  learner: Learner
  critics: Critics
  table: Any
  batch: int
  center: bool

  def step(self, state: LearnerState, critic: Any, key: jax.Array, replay: Replay):
    """One step on fresh utterances, each from one state of a replayed dialogue; `(state, metrics)`."""
    draw_key, turn_key, sample_key, update_key = jax.random.split(key, 4)
    drawn = replay_lib.draw(replay, draw_key, self.batch)
    turn = (np.asarray(jax.random.uniform(turn_key, (self.batch,))) * drawn.taken.sum(axis=1)).astype(int)
    states = [row[: ends[u]] for row, ends, u in zip(drawn.tokens, drawn.state_end, turn, strict=True)]
    policy = state.params["policy"]
    fresh = self.learner.policy.sampler(policy, sample_key, states)
    rows = self.critics.rows(critic, self.table(without_reward(fresh), turns=1), None)
    q, v = self.critics.judge(critic, policy, rows)
    advantage = np.asarray(q - v)[:, 0]
    metrics = {"actor/advantage": np.mean(advantage), "actor/advantage_std": np.std(advantage)}
    if self.center:
      advantage = advantage - np.mean(advantage)
    columns = [np.full(len(t.tokens), a, np.float32) for t, a in zip(fresh, advantage, strict=True)]
    batch = self.learner.policy.place_batch(self.learner.pack(fresh, {"advantages": Column(columns)}))
    state, found = self.learner.update(state, update_key, batch)
    return state, {**found, **metrics}


def without_reward(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
  """Fresh utterances with a reward of 0 where a table asks for one: nobody rewards them, and nothing reads it."""
  return [dataclasses.replace(t, reward=0.0) for t in trajectories]
