"""Policy losses, one value per token; `ops/reduce.py` turns them into an objective.

They share one signature, so that an algorithm can take any of them by name:

  loss [B, A], diagnostics = policy_loss(
    logp [B, A], old_logp [B, A], advantages [B, A], mask [B, A], sequence [B, A], sequence_length [N],
    **hyperparameters)

Only `logp` carries a gradient. Masked tokens have loss 0, no gradient, and 0 in every diagnostic. Diagnostics are f32
`[B, A]` constants: `log_ratio`, for each way of clipping 1 where it took the token's gradient, and `clipped` for all of
them (`reinforce`, `sapo`, `dro` and `kl_cov` clip nothing; for `cispo`, where it bounded the token's weight).

A loss may declare what else it needs, see `surrogates.Declared`: one of turns is given turns in place of sequences.
Of a branch, a sequence or turn is the tokens behind its fork: those before it stand once in a batch, as its parent's.
"""

import jax
import jax.numpy as jnp

from agentrl.ops.covariance_losses import clip_cov, kl_cov
from agentrl.ops.ratios import masked_log_ratio, sequence_log_ratio
from agentrl.ops.segments import segment_sum, segment_values
from agentrl.ops.surrogates import Diagnostics, PolicyLoss, check_bounds, clipped, constant, declares, indicator
from agentrl.settings import FINITE, Range, above, at_least, between

# Of the hyperparameters of policy losses, by name.
RANGES = {
  "clip_low": Range(0, 1, hint="it is a distance from ratio 1, and no ratio is below 0"),
  "clip_high": at_least(0, "it is a distance from ratio 1"),
  "dual_clip": above(1, "it bounds the ratio from above; None switches it off"),
  "clip": at_least(0, "the ratio is bounded by 1 / (1 + clip) and 1 + clip"),
  "log_clip": at_least(0, "it is a distance from log-ratio 0"),
  "tau_positive": above(0, "it is how fast the gate closes"),
  "tau_negative": above(0, "it is how fast the gate closes"),
  "beta": at_least(0, "it is the weight of a penalty"),
  "share": between(0, 1),
  "low": FINITE,
  "high": FINITE,
}


# ---- clipped ----------------------------------------------------------------------------------------------------


def ppo(
  logp: jax.Array,
  old_logp: jax.Array,
  advantages: jax.Array,
  mask: jax.Array,
  sequence: jax.Array,
  sequence_length: jax.Array,
  *,
  clip_low: float = 0.2,
  clip_high: float = 0.2,
  dual_clip: float | None = None,
) -> tuple[jax.Array, Diagnostics]:
  """`clipped_surrogate` of the ratio of each token: PPO, GRPO, Dr.GRPO, DAPO, LOOP, Lite PPO.

  Raises:
    ValueError: a bound that clips the ratio 1 itself.
  """
  del sequence, sequence_length  # the ratio is per token
  log_ratio = masked_log_ratio(logp, old_logp, mask)
  return clipped(log_ratio, advantages, mask, clip_low=clip_low, clip_high=clip_high, dual_clip=dual_clip)


def gspo(
  logp: jax.Array,
  old_logp: jax.Array,
  advantages: jax.Array,
  mask: jax.Array,
  sequence: jax.Array,
  sequence_length: jax.Array,
  *,
  clip_low: float = 3e-4,
  clip_high: float = 4e-4,
  dual_clip: float | None = None,
) -> tuple[jax.Array, Diagnostics]:
  """`clipped_surrogate` of the sequence ratio; reduce with `sequence_mean`. Clips many more tokens than `ppo`.

  Zheng et al., 2025 (https://arxiv.org/abs/2507.18071), eq. 13 and 14 (token form).

  Raises:
    ValueError: a bound that clips the ratio 1 itself.
  """
  log_ratio = sequence_log_ratio(logp, old_logp, mask, sequence, sequence_length)
  return clipped(log_ratio, advantages, mask, clip_low=clip_low, clip_high=clip_high, dual_clip=dual_clip)


def trajectory_ratio(
  logp: jax.Array,
  old_logp: jax.Array,
  advantages: jax.Array,
  mask: jax.Array,
  sequence: jax.Array,
  sequence_length: jax.Array,
  *,
  clip: float = 0.1,
  dual_clip: float | None = None,
) -> tuple[jax.Array, Diagnostics]:
  """`clipped_surrogate` of the product of the ratios of a whole sequence, bounded by `[1 / (1 + clip), 1 + clip]`.

  LOOP, Chen et al., 2025 (https://arxiv.org/abs/2502.01600), section 3, the weight per trajectory. Its level per token
  is `ppo` with `clip_low = 1 - 1 / (1 + clip)` and `clip_high = clip`. Every token has the loss of its sequence and the
  gradient `ratio A` of its own log-prob, so that with `sequence_sum_norm` the gradient is exactly that of the clipped
  product. Unlike the paper the other reductions divide it by lengths, as they do at the level of tokens.

  Raises:
    ValueError: a bound that clips the ratio 1 itself.
  """
  ones = jnp.ones_like(sequence_length)
  log_ratio = sequence_log_ratio(logp, old_logp, mask, sequence, ones)
  bounds = {"clip_low": 1.0 - 1.0 / (1.0 + clip), "clip_high": clip, "dual_clip": dual_clip}
  return clipped(log_ratio, advantages, mask, **bounds)


@declares(turns=True)
def turn_ratio(
  logp: jax.Array,
  old_logp: jax.Array,
  advantages: jax.Array,
  mask: jax.Array,
  turn: jax.Array,
  turn_length: jax.Array,
  *,
  clip: float = 0.1,
  dual_clip: float | None = None,
) -> tuple[jax.Array, Diagnostics]:
  """`trajectory_ratio` of single turns: the product of the ratios of a turn's tokens, shared by all of them.

  LOOP, Chen et al., 2025 (https://arxiv.org/abs/2502.01600), section 3, the weight per turn.

  Args:
    turn, turn_length: as `sequence` and `sequence_length`.
  """
  return trajectory_ratio(logp, old_logp, advantages, mask, turn, turn_length, clip=clip, dual_clip=dual_clip)


def gmpo(
  logp: jax.Array,
  old_logp: jax.Array,
  advantages: jax.Array,
  mask: jax.Array,
  sequence: jax.Array,
  sequence_length: jax.Array,
  *,
  log_clip: float = 0.4,
) -> tuple[jax.Array, Diagnostics]:
  """`-A (prod_t b_t)^(1 / L)`, where b is the ratio of a token, bounded by `exp(log_clip)` on the side that A favours.

  That is `log b = min(log r, log_clip)` where A > 0, and `max(log r, -log_clip)` where A < 0: a token is clipped by
  itself, and the geometric mean keeps one outlier from ruling the sequence. Zhao et al., 2025, "Geometric-mean policy
  optimization" (https://arxiv.org/abs/2507.20673); 0.4 quoted from memory. In token form, as `gspo`: every token has
  the loss of its sequence and an equal share of its gradient; reduce with `sequence_mean`.
  """
  advantages = constant(advantages, mask)
  sign = jnp.where(advantages > 0, 1.0, -1.0)
  log_ratio = masked_log_ratio(logp, old_logp, mask)
  bounded = sign * jnp.minimum(sign * log_ratio, log_clip)
  fixed = jax.lax.stop_gradient(bounded)
  total = segment_sum(fixed, sequence, sequence_length.shape[0])
  mean = segment_values(total / jnp.maximum(sequence_length, 1.0), sequence)
  loss = -jnp.exp(jnp.where(mask, mean + (bounded - fixed), 0.0)) * advantages
  log_ratio = jax.lax.stop_gradient(log_ratio)
  low = indicator((log_ratio < -log_clip) & (advantages < 0), mask)
  high = indicator((log_ratio > log_clip) & (advantages > 0), mask)
  return loss, {"log_ratio": log_ratio, "clipped_low": low, "clipped_high": high, "clipped": low + high}


def cispo(
  logp: jax.Array,
  old_logp: jax.Array,
  advantages: jax.Array,
  mask: jax.Array,
  sequence: jax.Array,
  sequence_length: jax.Array,
  *,
  clip_low: float = 1.0,
  clip_high: float = 4.0,
) -> tuple[jax.Array, Diagnostics]:
  """`-sg[clip(r, 1 - clip_low, 1 + clip_high)] A log pi`: the weight is bounded, and every token keeps a gradient.

  MiniMax, 2025 (https://arxiv.org/abs/2506.13585), eq. 4. Both bounds are distances from 1, as in `ppo`: the default
  caps the weight at 5 and leaves the lower side open.

  Raises:
    ValueError: a bound that clips the ratio 1 itself.
  """
  del sequence, sequence_length  # the ratio is per token
  check_bounds(clip_low, clip_high, None)
  log_ratio = jax.lax.stop_gradient(masked_log_ratio(logp, old_logp, mask))
  ratio = jnp.exp(log_ratio)
  weight = jnp.clip(ratio, 1 - clip_low, 1 + clip_high)
  loss = -weight * constant(advantages, mask) * jnp.where(mask, logp, 0.0)
  low, high = indicator(ratio < 1 - clip_low, mask), indicator(ratio > 1 + clip_high, mask)
  return loss, {"log_ratio": log_ratio, "clipped_low": low, "clipped_high": high, "clipped": low + high}


# ---- without clipping -------------------------------------------------------------------------------------------


@declares(ratio=False)
def reinforce(
  logp: jax.Array,
  old_logp: jax.Array,
  advantages: jax.Array,
  mask: jax.Array,
  sequence: jax.Array,
  sequence_length: jax.Array,
) -> tuple[jax.Array, Diagnostics]:
  """`-A log pi`: no ratio in the loss, so it is right only where the data are the current policy's own.

  Williams, 1992 (https://doi.org/10.1007/BF00992696).
  """
  del sequence, sequence_length  # there is no ratio to pool
  loss = -constant(advantages, mask) * jnp.where(mask, logp, 0.0)
  return loss, {"log_ratio": jax.lax.stop_gradient(masked_log_ratio(logp, old_logp, mask))}


def sapo(
  logp: jax.Array,
  old_logp: jax.Array,
  advantages: jax.Array,
  mask: jax.Array,
  sequence: jax.Array,
  sequence_length: jax.Array,
  *,
  tau_positive: float = 1.0,
  tau_negative: float = 1.05,
) -> tuple[jax.Array, Diagnostics]:
  """`-(4 / tau) sigmoid(tau (r - 1)) A`: a gate that closes smoothly where clipping cuts, with a tau by the sign of A.

  Gao et al., 2025, "Soft adaptive policy optimization" (https://arxiv.org/abs/2511.20347). At r = 1 its gradient is
  that of `reinforce`.

  Args:
    tau_positive: where A > 0. tau_negative: elsewhere; the larger, the sooner the gate closes.
  """
  del sequence, sequence_length  # the gate is per token
  advantages = constant(advantages, mask)
  log_ratio = masked_log_ratio(logp, old_logp, mask)
  tau = jnp.where(advantages > 0, tau_positive, tau_negative)
  gate = jax.nn.sigmoid(tau * (jnp.exp(log_ratio) - 1.0)) * 4.0 / tau
  return -gate * advantages, {"log_ratio": jax.lax.stop_gradient(log_ratio)}


def dro(
  logp: jax.Array,
  old_logp: jax.Array,
  advantages: jax.Array,
  mask: jax.Array,
  sequence: jax.Array,
  sequence_length: jax.Array,
  *,
  beta: float = 0.1,
) -> tuple[jax.Array, Diagnostics]:
  """`-(A S - beta / 2 S^2)` with `S = sum_t log r_t` over the sequence, at each token in proportion to its log r.

  Its gradient `-(A - beta S) grad S` is that of the squared error `(A - beta S)^2 / (2 beta)`, which is 0 where the
  policy is the optimum `old exp(A / beta)` of a reward with a KL penalty; it needs no data of the policy's own.
  Richemond et al., 2024, "Offline regularised reinforcement learning" (https://arxiv.org/abs/2405.19107), eq. 5, with
  A in place of the reward less its value; Kimi team, 2025 (https://arxiv.org/abs/2501.12599), eq. 3. Unlike both
  papers the reference is the policy at the start of the update. No published beta: 0.1 is ours.

  Args:
    beta: weight of the penalty, in units of the advantage per nat.
  """
  log_ratio = masked_log_ratio(logp, old_logp, mask)
  total = segment_values(segment_sum(log_ratio, sequence, sequence_length.shape[0]), sequence)
  loss = -(constant(advantages, mask) - beta / 2 * jnp.where(mask, total, 0.0)) * log_ratio
  return loss, {"log_ratio": jax.lax.stop_gradient(log_ratio)}


POLICY_LOSSES: dict[str, PolicyLoss] = {
  "ppo": ppo,
  "gspo": gspo,
  "trajectory_ratio": trajectory_ratio,
  "turn_ratio": turn_ratio,
  "gmpo": gmpo,
  "cispo": cispo,
  "reinforce": reinforce,
  "sapo": sapo,
  "dro": dro,
  "clip_cov": clip_cov,
  "kl_cov": kl_cov,
}
