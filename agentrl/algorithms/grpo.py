"""Group-relative policy optimisation and its family, as settings.

| method | advantage | policy_loss | reduction | other |
|---|---|---|---|---|
| GRPO (https://arxiv.org/abs/2402.03300) | grpo | ppo | sequence_mean | kl_coef, kl k3 |
| Dr.GRPO (https://arxiv.org/abs/2503.20783) | dr_grpo | ppo | sequence_sum_norm | reduction_constant: longest length |
| RLOO (https://arxiv.org/abs/2402.14740) | leave_one_out | reinforce | sequence_sum_norm | |
| LOOP (https://arxiv.org/abs/2502.01600) | leave_one_out | ppo | sequence_mean | epochs or minibatches > 1 |
| DAPO (https://arxiv.org/abs/2503.14476) | grpo | ppo | token_mean | clip_high 0.28, rollout.rounds > 1 |
| GSPO (https://arxiv.org/abs/2507.18071) | grpo | gspo | sequence_mean | clip_low 3e-4, clip_high 4e-4 |
| CISPO (https://arxiv.org/abs/2506.13585) | grpo | cispo | token_mean | |
| Lite PPO (https://arxiv.org/abs/2508.08221) | batch_std | ppo | token_mean | |
| ARPO (https://arxiv.org/abs/2507.19849) | grpo | ppo | token_mean | rollout.strategy: branching |

**Samples that branch from each other** share tokens, and each such token is computed once. `shared_tokens` says what it
counts. "once": like any other token, with the mean advantage of the d samples that hold it; ARPO's "hard" credit
without its repetitions. "per_branch": d times, which at ratio 1 is exactly the gradient of rows that repeat it, be it
with their own advantages (ARPO's "soft" credit, all that its code has) or with the mean in every copy ("hard"): the sum
of the advantages is d times their mean, so the two differ in nothing but clipping, here by the sign of the sum.

Siblings are no independent draws, which biases every group baseline:
- They often share their fate, so the spread within a group shrinks and `grpo` divides by less. A trunk with many
  branches weighs more in the group's mean than one without. `dr_grpo` and `batch_std` do not divide by the group's.
- A token that d of M samples hold is part of the baseline d times: its expected gradient is (1 - d/M) of the unbiased
  one, where a token of one sample has 1 - 1/M. `leave_one_out` puts M/(M - 1) before both, which is unbiased for
  samples without branches alone. A token that all M share gets exactly nothing: no sample says how else it might go.
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
from agentrl.named import by_name, with_settings
from agentrl.ops import advantages, kl, losses, ratios, reduce
from agentrl.settings import at_least
from agentrl.types import Trajectory


def default_config() -> ConfigDict:
  """GRPO as published, without KL."""
  return ConfigDict({
    "advantage": "grpo",  # name in ops.advantages.ADVANTAGES
    "policy_loss": "ppo",  # name in ops.losses.POLICY_LOSSES
    "loss": {},  # keyword arguments of the policy loss: {"clip_low": 0.2, "clip_high": 0.28}
    "reduction": "sequence_mean",  # name in ops.reduce.REDUCTIONS
    "reduction_constant": 1.0,  # divisor of sequence_sum_norm; read by it alone
    "kl_coef": 0.0,  # weight of the KL to the frozen reference in the loss; 0: no reference is kept
    "kl": "k3",  # name in ops.kl.KL_ESTIMATORS
    "entropy_coef": 0.0,  # weight of the entropy bonus
    "shared_tokens": "once",  # what a token that several branches share counts: "once" or "per_branch"; see above
    "importance_cap": 0.0,  # C of the truncated weight min(pi_old / pi_sampler, C); 0: none
    "epochs": 1,
    "minibatches": 1,  # optimiser steps per epoch, of about as many action tokens each
  })  # fmt: skip


RANGES = {
  **{f"loss.{name}": allowed for name, allowed in losses.RANGES.items()},
  **gradients.RANGES,
  "kl_coef": at_least(0),
  "entropy_coef": at_least(0),
  "importance_cap": at_least(0),
}
optimizer_steps = gradients.minibatch_steps


def make(policy: Policy, optimizer: optax.GradientTransformation, cfg: ConfigDict) -> Algorithm:
  """See `contract.Algorithm`."""
  score = gradients.make_scorer(policy)
  step = gradients.make_step(functools.partial(_loss, policy, _resolve(cfg)), optimizer)
  estimate = by_name(advantages.ADVANTAGES, cfg.advantage, kind="advantage")
  weigh = by_name(_ROW_WEIGHTS, cfg.reduction, kind="reduction")
  per_branch = by_name({"once": False, "per_branch": True}, cfg.shared_tokens, kind="way of counting shared_tokens")
  several_steps = cfg.epochs > 1 or cfg.minibatches > 1

  run = functools.partial(
    gradients.run_minibatches, epochs=cfg.epochs, minibatches=cfg.minibatches, place_batch=policy.place_batch
  )

  def init(key, params):
    del key
    trained = {"policy": params}
    reference = jax.tree.map(jnp.copy, params) if cfg.kl_coef else None
    return LearnerState(trained, optimizer.init(trained), reference, jnp.int32(0))

  def prepare(state: LearnerState, trajectories: Sequence[Trajectory]):
    del state
    kept = with_reward(trajectories)
    credit = np.asarray(_advantages(estimate, kept)) if kept else np.zeros(0)
    lengths = np.asarray([np.sum(t.action_mask) for t in kept], np.float32)
    weighed = credit * weigh(lengths) if per_branch else credit
    spread = [np.full(len(t.tokens), a, np.float32) for t, a in zip(kept, weighed, strict=True)]
    columns = {"advantages": Column(spread, shared="sum" if per_branch else "mean")}
    batch = pack(kept, columns, policy.pack, least_trees=cfg.minibatches)
    if per_branch:
      own = np.append(weigh(batch.sequence_length), np.float32(1))  # what the reduction is going to put before them
      batch = batch.with_columns(advantages=batch.columns["advantages"] / own[batch.action_sequence])
    return batch, {"advantage/mean_abs": np.mean(np.abs(credit)), "advantage/nonzero": np.mean(credit != 0)}

  def update(state: LearnerState, key, batch):
    if several_steps or cfg.importance_cap:
      batch = batch.with_columns(old_logp=score(state.params["policy"], batch))
    if cfg.kl_coef:
      batch = batch.with_columns(ref_logp=score(state.reference, batch))
    return run(step, state, key, batch)

  return Algorithm(init, prepare, update, compares=True)


# What a reduction puts before the loss of a token, up to a constant, from the lengths f32 [N] of its rows.
_ROW_WEIGHTS = {
  "token_mean": lambda lengths: np.full(lengths.shape, 1 / np.sum(lengths), np.float32),
  "sequence_mean": lambda lengths: 1 / np.maximum(lengths, 1),
  "sequence_sum_norm": np.ones_like,
}


def _resolve(cfg):
  """Names to functions, once."""
  return {
    "policy_loss": with_settings(
      by_name(losses.POLICY_LOSSES, cfg.policy_loss, kind="policy loss"), cfg.loss, section="algo.loss"
    ),
    "reduce": gradients.reduction(cfg),
    "kl": by_name(kl.KL_ESTIMATORS, cfg.kl, kind="KL estimator"),
    "kl_coef": cfg.kl_coef,
    "entropy_coef": cfg.entropy_coef,
    "importance_cap": cfg.importance_cap,
  }


def _advantages(estimate, trajectories):
  """One number per trajectory, f32 [N]."""
  rewards = np.asarray([t.reward for t in trajectories], np.float32)
  _, group = np.unique([t.group_id for t in trajectories], return_inverse=True)
  return estimate(rewards, group.astype(np.int32), np.ones(len(rewards), bool), num_groups=int(group.max()) + 1)


def _loss(policy, chosen, params, reference, micro) -> LossOutput:
  """Share of the objective that one micro-batch carries."""
  del reference  # its log-probs are in the batch
  out = gradients.action_outputs(params["policy"], micro, policy)
  columns = {"old_logp": jax.lax.stop_gradient(out.logp), **micro.columns}
  old_logp = columns["old_logp"]
  per_token, flags = chosen["policy_loss"](
    out.logp, old_logp, columns["advantages"], micro.action_mask, micro.action_sequence, micro.sequence_length
  )
  if chosen["importance_cap"]:
    per_token = per_token * ratios.truncated_importance_weight(
      old_logp, columns["sampler_logp"], micro.action_mask, cap=chosen["importance_cap"]
    )
  per_token = per_token - chosen["entropy_coef"] * out.entropy
  extra = {}
  if chosen["kl_coef"]:
    divergence = chosen["kl"](out.logp, columns["ref_logp"], micro.action_mask)
    per_token = per_token + chosen["kl_coef"] * divergence
    extra["policy/kl_ref"] = reduce.token_mean(divergence, micro.action_mask, jnp.sum(micro.sequence_length))
  loss = chosen["reduce"](per_token, micro.action_mask, micro.action_sequence, micro.sequence_length)
  sums, maxima = gradients.policy_metrics(out, micro, flags)
  return LossOutput(loss, {**sums, **extra}, maxima)
