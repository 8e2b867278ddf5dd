"""Group-relative policy optimisation and its family, as settings.

| method | credit | policy_loss | reduction | other |
|---|---|---|---|---|
| GRPO (https://arxiv.org/abs/2402.03300) | grpo | ppo | sequence_mean | kl_coef, kl k3 |
| Dr.GRPO (https://arxiv.org/abs/2503.20783) | dr_grpo | ppo | sequence_sum_norm | constant: longest length |
| RLOO (https://arxiv.org/abs/2402.14740) | leave_one_out | reinforce | sequence_sum_norm | constant: 1, the default |
| LOOP (https://arxiv.org/abs/2502.01600) | leave_one_out | ppo or turn_ratio | sequence_mean | several steps |
| DAPO (https://arxiv.org/abs/2503.14476) | grpo | ppo | token_mean | clip_high 0.28, rollout.rounds > 1 |
| GSPO (https://arxiv.org/abs/2507.18071) | grpo | gspo | sequence_mean | clip_low 3e-4, clip_high 4e-4 |
| OPO (https://arxiv.org/abs/2505.23585) | opo | reinforce | token_mean | exactly on-policy: one step an update |
| GDPO (https://arxiv.org/abs/2601.05242) | gdpo | ppo | token_mean | several parts in `reward` |
| GiGPO (https://arxiv.org/abs/2505.10978) | gigpo | ppo | sequence_mean | kl_coef |
| CISPO (https://arxiv.org/abs/2506.13585) | grpo | cispo | token_mean | |
| GMPO (https://arxiv.org/abs/2507.20673) | grpo | gmpo | sequence_mean | |
| SAPO (https://arxiv.org/abs/2511.20347) | grpo | sapo | sequence_mean | |
| DRO (https://arxiv.org/abs/2405.19107) | dr_grpo | dro | sequence_sum_norm | |
| MaxRL (https://arxiv.org/abs/2602.02710) | max_rl | reinforce | token_mean | rewards of at least 0 |
| Pass@k (https://arxiv.org/abs/2508.10751) | pass_at_k | ppo | token_mean | |
| Clip-Cov, KL-Cov (https://arxiv.org/abs/2505.22617) | grpo | clip_cov, kl_cov | token_mean | several steps |
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

import optax
from ml_collections import ConfigDict

from agentrl.algorithms import gradients, learner, terms
from agentrl.algorithms.contract import Algorithm, HeadSpec, Policy
from agentrl.algorithms.credited import SHARED_TOKENS, make_credited
from agentrl.algorithms.objective import Term, heads_of
from agentrl.named import by_name
from agentrl.settings import at_least


def default_config() -> ConfigDict:
  """GRPO as published, without KL."""
  return ConfigDict({
    "credit": "grpo",  # name in credit.CREDIT, or the import path of yours
    "credit_options": {},  # settings of the credit: {"epsilon": 1e-4}
    "policy_loss": "ppo",  # name in ops.losses.POLICY_LOSSES
    "loss": {},  # keyword arguments of the policy loss: {"clip_low": 0.2, "clip_high": 0.28}
    "correction": "none",  # of a sampler that is not the policy: name in ops.corrections.CORRECTIONS
    "correction_options": {},  # keyword arguments of the correction: {"cap": 2.0}
    "reduction": "sequence_mean",  # name in ops.reduce.REDUCTIONS
    "reduction_options": {},  # keyword arguments of the reduction: {"constant": 512.0}
    "kl_coef": 0.0,  # weight of the KL to the frozen reference in the loss; 0: no reference is kept
    "kl": "k3",  # name in ops.kl.KL_ESTIMATORS
    "entropy_coef": 0.0,  # weight of the entropy bonus
    "terms": {},  # further terms of the objective, see terms.py
    "masked": (),  # which trajectories leave the loss, not the baseline: names in batching.masks.RULES, or import paths
    "masked_options": {},  # settings of these rules, by name
    "masked_denominator": "trained",  # what the policy loss is divided by: name in batching.masks.DENOMINATORS
    "shared_tokens": "once",  # what a token that several branches share counts: "once", or "per_branch", for each
    "epochs": 1,  # times that an update goes through its batch
    "minibatches": 1,  # optimiser steps per epoch, of about as many action tokens each
  })  # fmt: skip


RANGES = {**learner.RANGES, "kl_coef": at_least(0), "entropy_coef": at_least(0)}
optimizer_steps = gradients.minibatch_steps


def heads(cfg: ConfigDict) -> dict[str, HeadSpec]:
  """Those of further terms."""
  return heads_of(_terms(cfg))


def make(policy: Policy, optimizer: optax.GradientTransformation, cfg: ConfigDict) -> Algorithm:
  """See `contract.Algorithm`."""
  share = by_name(SHARED_TOKENS, cfg.shared_tokens, kind="way of counting shared_tokens")
  return make_credited(policy, optimizer, cfg, _terms(cfg), share=share)


def _terms(cfg: ConfigDict) -> list[Term]:
  surrogate = terms.policy_gradient(
    policy_loss=cfg.policy_loss,
    loss=cfg.loss,
    correction=cfg.correction,
    correction_options=cfg.correction_options,
  )
  return [
    surrogate,
    *terms.weighed(terms.entropy(), cfg.entropy_coef),
    *terms.weighed(terms.kl(estimator=cfg.kl), cfg.kl_coef),
    *terms.from_config(cfg.terms),
  ]
