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
("old_logp": "policy"; then r = 1 in the first step), or the one recorded when the token was sampled ("sampler"), which
also counts how far the policy is from the weights that searched.

With "target": "visits" the policy is fitted to the visit distribution instead, as in AlphaZero (Silver et al., 2017,
https://doi.org/10.1038/nature24270), `-sum_a N(s, a) / N(s) log P(a | s)` at the states of the path. The path's visited
siblings come along as branches (`rollout/search/record.py`); A_t is the share of the visits of the token's step, and a
branch's R is its Q. A step's log-prob is the sum of its tokens', so that no mean over a sequence may weigh them.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from agentrl.algorithms import gradients
from agentrl.algorithms.contract import Algorithm, LearnerState, Policy
from agentrl.algorithms.gradients import LossOutput
from agentrl.batching.filters import with_reward
from agentrl.batching.pack import Column, pack
from agentrl.models import heads
from agentrl.named import by_name, with_settings
from agentrl.ops import kl, losses, reduce
from agentrl.settings import at_least
from agentrl.types import Trajectory


def default_config() -> ConfigDict:
  """The published settings."""
  return ConfigDict({
    "target": "path",  # "path": the visited path, weighed by R - V_old; "visits": the visit distribution
    "baseline": "value",  # "value": A = R - V_old; "none": A = R; read by target "path"
    "policy_loss": "cispo",  # name in ops.losses.POLICY_LOSSES
    "loss": {},  # keyword arguments of the policy loss: {"clip_high": 4.0}
    "reduction": "sequence_mean",  # name in ops.reduce.REDUCTIONS
    "reduction_constant": 1.0,  # divisor of sequence_sum_norm; read by it alone
    "old_logp": "policy",  # denominator of the ratio: "policy", at the start of the update, or "sampler"
    "value_coef": 2.0,  # of (V - R)^2 / 2
    "value_hidden": 0,  # width of the value head's hidden layer; 0: the head is linear
    "value_detach": False,  # stop the critic's gradient at the trunk
    "kl_coef": 0.05,  # weight of the KL to the frozen reference in the loss; 0: no reference is kept
    "kl": "k3",  # name in ops.kl.KL_ESTIMATORS
    "entropy_coef": 0.0,
    "epochs": 1,
    "minibatches": 1,  # optimiser steps per epoch, of about as many action tokens each
  })  # fmt: skip


RANGES = {
  **{f"loss.{name}": allowed for name, allowed in losses.RANGES.items()},
  **gradients.RANGES,
  "value_coef": at_least(0),
  "value_hidden": at_least(0),
  "kl_coef": at_least(0),
  "entropy_coef": at_least(0),
}
optimizer_steps = gradients.minibatch_steps


def make(policy: Policy, optimizer: optax.GradientTransformation, cfg: ConfigDict) -> Algorithm:
  """See `contract.Algorithm`."""
  _check(cfg)
  score = gradients.make_scorer(policy)
  evaluate = jax.jit(functools.partial(_values, policy))
  step = gradients.make_step(functools.partial(_loss, policy, _resolve(cfg)), optimizer)

  run = functools.partial(
    gradients.run_minibatches, epochs=cfg.epochs, minibatches=cfg.minibatches, place_batch=policy.place_batch
  )

  def init(key, params):
    trained = {"policy": params, "value": heads.init_value_head(key, policy.model, cfg.value_hidden)}
    reference = jax.tree.map(jnp.copy, params) if cfg.kl_coef else None
    return LearnerState(trained, optimizer.init(trained), reference, jnp.int32(0))

  def prepare(state: LearnerState, trajectories: Sequence[Trajectory]):
    kept = with_reward(trajectories)
    columns = {
      "returns": Column([np.full(len(t.tokens), t.reward, np.float32) for t in kept], shared="owner"),
    }
    if cfg.target == "visits":
      columns["advantages"] = Column(_visit_shares(kept))
    batch = pack(kept, columns, policy.pack, least_trees=cfg.minibatches)
    values = evaluate(state.params, batch)
    gained = jnp.where(batch.action_mask, batch.columns["returns"] - values, 0.0)
    if cfg.target == "path":
      batch = batch.with_columns(advantages=gained if cfg.baseline == "value" else batch.columns["returns"])
    tokens = jnp.sum(batch.sequence_length)
    metrics = {
      "value/error": reduce.token_mean(jnp.square(gained), batch.action_mask, tokens),
      "advantage/mean": reduce.token_mean(jnp.asarray(batch.columns["advantages"]), batch.action_mask, tokens),
    }
    return batch, metrics

  def update(state: LearnerState, key, batch):
    if cfg.old_logp == "sampler":
      batch = batch.with_columns(old_logp=batch.columns["sampler_logp"])
    elif cfg.epochs * cfg.minibatches > 1 and "old_logp" not in batch.columns:
      batch = batch.with_columns(old_logp=score(state.params["policy"], batch))
    if cfg.kl_coef:
      batch = batch.with_columns(ref_logp=score(state.reference, batch))
    return run(step, state, key, batch)

  return Algorithm(init, prepare, update, siblings=cfg.target == "visits")


def _check(cfg):
  choices = {"target": ("path", "visits"), "baseline": ("value", "none"), "old_logp": ("policy", "sampler")}
  for name, known in choices.items():
    if cfg[name] not in known:
      raise ValueError(f"algo.{name}={cfg[name]!r}; choose {known[0]!r} or {known[1]!r}")
  if cfg.target == "visits" and cfg.reduction == "sequence_mean":
    raise ValueError(
      "algo.target='visits' fits sums of log-probs, which algo.reduction='sequence_mean' would divide by lengths; "
      "choose 'token_mean' or 'sequence_sum_norm'"
    )


def _resolve(cfg):
  """Names to functions, once."""
  return {
    "policy_loss": with_settings(
      by_name(losses.POLICY_LOSSES, cfg.policy_loss, kind="policy loss"), cfg.loss, section="algo.loss"
    ),
    "reduce": gradients.reduction(cfg),
    "value_coef": cfg.value_coef,
    "value_detach": cfg.value_detach,
    "kl": by_name(kl.KL_ESTIMATORS, cfg.kl, kind="KL estimator"),
    "kl_coef": cfg.kl_coef,
    "entropy_coef": cfg.entropy_coef,
  }


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


def _values(policy, params, batch):
  """V of the state in front of each action token under the current params, [M, B, A]; 0 on padding."""

  def one(index, out):
    micro = gradients.micro_batch(batch, index)
    hidden = gradients.action_outputs(params["policy"], micro, policy).hidden
    values = heads.apply_value_head(params["value"], hidden)
    return out.at[index].set(jnp.where(micro.action_mask, values, 0.0))

  return jax.lax.fori_loop(0, batch.micro_batches, one, jnp.zeros(batch.action_mask.shape, jnp.float32))


def _loss(policy, chosen, params, reference, micro) -> LossOutput:
  """Share of the objective that one micro-batch carries."""
  del reference  # its log-probs are in the batch
  out = gradients.action_outputs(params["policy"], micro, policy)
  columns = {"old_logp": jax.lax.stop_gradient(out.logp), **micro.columns}
  per_token, flags = chosen["policy_loss"](
    out.logp,
    columns["old_logp"],
    columns["advantages"],
    micro.action_mask,
    micro.action_sequence,
    micro.sequence_length,
  )
  hidden = jax.lax.stop_gradient(out.hidden) if chosen["value_detach"] else out.hidden
  values = heads.apply_value_head(params["value"], hidden)
  value_loss = losses.squared_value_loss(values, columns["returns"], micro.action_mask)
  per_token = per_token + chosen["value_coef"] * value_loss - chosen["entropy_coef"] * out.entropy
  tokens = jnp.sum(micro.sequence_length)
  extra = {"value/loss": reduce.token_mean(jax.lax.stop_gradient(value_loss), micro.action_mask, tokens)}
  if chosen["kl_coef"]:
    divergence = chosen["kl"](out.logp, columns["ref_logp"], micro.action_mask)
    per_token = per_token + chosen["kl_coef"] * divergence
    extra["policy/kl_ref"] = reduce.token_mean(divergence, micro.action_mask, tokens)
  loss = chosen["reduce"](per_token, micro.action_mask, micro.action_sequence, micro.sequence_length)
  sums, maxima = gradients.policy_metrics(out, micro, flags)
  return LossOutput(loss, {**sums, **extra}, maxima)
