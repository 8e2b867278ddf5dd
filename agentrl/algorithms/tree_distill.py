"""Distillation of a search into the policy: what the search chose is pushed up, a critic learns what it was worth.

Tambde, 2026, "Tree search distillation for language models using PPO" (the code of at2005/llm-mcts). Per action token

  A_t = R - V_old(s_t), or R                    one reward R per trajectory, no discount, no group baseline
  loss = policy_loss(r_t, A_t) + value_coef (V(s_t) - R)^2 / 2 + kl_coef k3(pi || ref)

with `cispo` as policy loss: `-sg(min(r_t, 5)) A_t log pi`. Tokens are averaged over each trajectory, and these over the
batch. The trajectories are visited paths of `rollout/strategies/tree_search.py`. Best-of-N distillation is the same,
with independent samples and the filter "best_of_group".

Off-policy. The search chose these tokens among several that the policy had sampled, and nothing here corrects for that
choice: that is the point of distillation, and its price is that A_t is no unbiased advantage. Nor does a baseline leave
the gradient's mean alone, as it does where samples are the policy's own: V_old pushes away from whatever was selected
without success, with no bound ("baseline": "none" takes A_t = R). The ratio r_t corrects
for the policy's own movement alone. Its denominator is the policy's log-prob at the start of the update
("correction": "none"; then r = 1 in the first step), or the one recorded when the token was sampled ("sampler"), which
also counts how far the policy is from the weights that searched.

With "target": "visits" the policy is fitted to the visit distribution instead, as in AlphaZero (Silver et al., 2017,
https://doi.org/10.1038/nature24270), `-sum_a N(s, a) / N(s) log P(a | s)` at the states of the path. The path's visited
siblings come along as branches (`rollout/search/record.py`); A_t is the share of the visits of the token's step, and a
branch's R is its Q. A step's log-prob is the sum of its tokens', so that no mean over a sequence may weigh them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from agentrl.algorithms import gradients, learner, terms
from agentrl.algorithms.contract import Algorithm, HeadSpec, LearnerState, Policy
from agentrl.algorithms.objective import Term, heads_of
from agentrl.batching.filters import with_reward
from agentrl.batching.pack import Column
from agentrl.named import by_name
from agentrl.ops import reduce
from agentrl.settings import at_least
from agentrl.types import Trajectory


def default_config() -> ConfigDict:
  """The published settings."""
  return ConfigDict({
    "target": "path",  # "path": the visited path, weighed by R - V_old; "visits": the visit distribution
    "baseline": "value",  # "value": A = R - V_old; "none": A = R; read by target "path"
    "policy_loss": "cispo",  # name in ops.losses.POLICY_LOSSES
    "loss": {},  # keyword arguments of the policy loss: {"clip_high": 4.0}
    "correction": "none",  # of a sampler that is not the policy: name in ops.corrections.CORRECTIONS
    "correction_options": {},  # keyword arguments of the correction: {"cap": 2.0}
    "reduction": "sequence_mean",  # name in ops.reduce.REDUCTIONS
    "reduction_options": {},  # keyword arguments of the reduction: {"constant": 512.0}
    "value_coef": 2.0,  # of (V - R)^2 / 2
    "value_hidden": 0,  # width of the value head's hidden layer; 0: the head is linear
    "value_detach": False,  # stop the critic's gradient at the trunk
    "kl_coef": 0.05,  # weight of the KL to the frozen reference in the loss; 0: no reference is kept
    "kl": "k3",  # name in ops.kl.KL_ESTIMATORS
    "entropy_coef": 0.0,
    "terms": {},  # further terms of the objective, see terms.py
    "epochs": 1,
    "minibatches": 1,  # optimiser steps per epoch, of about as many action tokens each
  })  # fmt: skip


RANGES = {
  **learner.RANGES,
  "value_coef": at_least(0),
  "value_hidden": at_least(0),
  "kl_coef": at_least(0),
  "entropy_coef": at_least(0),
}
optimizer_steps = gradients.minibatch_steps


class Target(NamedTuple):
  """What the policy is fitted to.

  Attributes:
    columns: `trajectories -> {name: Column}` of what is packed besides the returns.
    advantages: `(columns of the batch, baseline) -> f32 [M, B, A]`.
    siblings: as in `Algorithm`.
    sums: it fits sums of log-probs, which a reduction that divides by the length of a sequence would weigh.
  """

  columns: Callable[[Sequence[Trajectory]], dict[str, Column]]
  advantages: Callable[..., jax.Array]
  siblings: bool
  sums: bool


def heads(cfg: ConfigDict) -> dict[str, HeadSpec]:
  """The critic, and what further terms declare."""
  return heads_of(_terms(cfg))


def make(policy: Policy, optimizer: optax.GradientTransformation, cfg: ConfigDict) -> Algorithm:
  """See `contract.Algorithm`."""
  learns = learner.make_learner(
    policy,
    optimizer,
    _terms(cfg),
    reduce=learner.reduction(cfg),
    epochs=cfg.epochs,
    minibatches=cfg.minibatches,
  )
  target = by_name(TARGETS, cfg.target, kind="target")
  baseline = by_name(BASELINES, cfg.baseline, kind="baseline")
  _check(target, learns.reduce, cfg)

  def prepare(state: LearnerState, trajectories: Sequence[Trajectory]):
    kept = with_reward(trajectories)
    returns = Column([np.full(len(t.tokens), t.reward, np.float32) for t in kept], shared="owner")
    batch = learns.pack(kept, {"returns": returns, **target.columns(kept)})
    values = learns.evaluate(state.params, batch, ["value"])["value"]
    gained = jnp.where(batch.action_mask, batch.columns["returns"] - values, 0.0)
    batch = batch.with_columns(advantages=target.advantages({**batch.columns, "gained": gained}, baseline))
    tokens = jnp.sum(batch.sequence_length)
    metrics = {
      "value/error": reduce.token_mean(jnp.square(gained), batch.action_mask, tokens),
      "advantage/mean": reduce.token_mean(jnp.asarray(batch.columns["advantages"]), batch.action_mask, tokens),
    }
    return batch, metrics

  return Algorithm(learns.init, prepare, learns.update, heads=learns.heads, siblings=target.siblings)


def _check(target: Target, reduction: reduce.Reduction, cfg: ConfigDict) -> None:
  """Raises ValueError where the target fits sums, and the reduction weighs tokens by the length of their sequence."""
  weights = np.asarray(reduce.token_weights(reduction, jnp.asarray([1.0, 2.0])))
  if target.sums and weights[0] != weights[1]:
    raise ValueError(
      f"algo.target={cfg.target!r} fits sums of log-probs, which algo.reduction={cfg.reduction!r} would divide by "
      "lengths; choose 'token_mean' or 'sequence_sum_norm'"
    )


def _terms(cfg: ConfigDict) -> list[Term]:
  surrogate = terms.policy_gradient(
    policy_loss=cfg.policy_loss,
    loss=cfg.loss,
    correction=cfg.correction,
    correction_options=cfg.correction_options,
  )
  return [
    surrogate,
    terms.value(hidden=cfg.value_hidden, detach=cfg.value_detach)._replace(weight=cfg.value_coef),
    *terms.weighed(terms.entropy(), cfg.entropy_coef),
    *terms.weighed(terms.kl(estimator=cfg.kl), cfg.kl_coef),
    *terms.from_config(cfg.terms),
  ]


# ---- credit ---------------------------------------------------------------------------------------------------------


def _visit_shares(trajectories: Sequence[Trajectory]) -> list[np.ndarray]:
  """The share of the visits that the step of each token had, f32 `[T]` per trajectory.

  A branch says its own share and that of the path's step beside it; a step of the path without branches had all visits.
  Before its fork a branch repeats its path's shares, since pack.py averages over all who hold a token.
  """
  shares = {t.uid: np.ones(len(t.tokens), np.float32) for t in trajectories if t.parent is None}
  branches = [t for t in trajectories if t.parent is not None]
  for t in branches:
    if t.visits is None or t.parent not in shares:
      raise ValueError(
        f"trajectory {t.uid} is no sibling step of a visited path in this batch: algo.target='visits' needs "
        "rollout.strategy='tree_search', and no filter that drops paths alone"
      )
    shares[t.parent][t.fork_at : t.fork_at + t.visits.path_tokens] = t.visits.path
  for t in branches:
    own = np.full(len(t.tokens) - t.fork_at, t.visits.branch, np.float32)
    shares[t.uid] = np.append(shares[t.parent][: t.fork_at], own)
  return [shares[t.uid] for t in trajectories]


BASELINES = {
  "value": lambda columns: columns["gained"],  # R - V_old
  "none": lambda columns: columns["returns"],
}

TARGETS = {
  "path": Target(
    columns=lambda trajectories: {},
    advantages=lambda columns, baseline: baseline(columns),
    siblings=False,
    sums=False,
  ),
  "visits": Target(
    columns=lambda trajectories: {"advantages": Column(_visit_shares(trajectories))},
    advantages=lambda columns, baseline: columns["advantages"],
    siblings=True,
    sums=True,
  ),
}
