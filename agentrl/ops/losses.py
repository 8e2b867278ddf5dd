"""Policy, value, preference and imitation losses, one value per element; `ops/reduce.py` turns them into an objective.

Policy losses share one signature, so that an algorithm can take any of them by name:

  loss [B, A], diagnostics = policy_loss(
    logp [B, A], old_logp [B, A], advantages [B, A], mask [B, A], sequence [B, A], sequence_length [N],
    **hyperparameters)

Only `logp` carries a gradient. Masked tokens have loss 0, no gradient, and 0 in every diagnostic. Diagnostics are f32
`[B, A]` constants: `log_ratio`, and for each way of clipping 1 where it took the token's gradient (`reinforce` clips
nothing; for `cispo`, where it bounded the token's weight).
"""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp

from agentrl.ops.ratios import masked_log_ratio, sequence_log_ratio
from agentrl.settings import above, at_least

Diagnostics = dict[str, jax.Array]
PolicyLoss = Callable[..., tuple[jax.Array, Diagnostics]]

# Of the hyperparameters of policy losses, by name.
RANGES = {
  "clip_low": at_least(0, "it is a distance from ratio 1"),
  "clip_high": at_least(0, "it is a distance from ratio 1"),
  "dual_clip": above(1, "it bounds the ratio from above; None switches it off"),
}


# ---- policy -----------------------------------------------------------------------------------------------------


def clipped_surrogate(
  log_ratio: jax.Array, advantages: jax.Array, *, clip_low: float, clip_high: float, dual_clip: float | None = None
) -> jax.Array:
  """PPO's loss, `-min(r A, clip(r, 1 - clip_low, 1 + clip_high) A)`.

  Schulman et al., 2017 (https://arxiv.org/abs/1707.06347), eq. 7; unequal bounds as in DAPO, Yu et al., 2025
  (https://arxiv.org/abs/2503.14476). With `dual_clip` c, a loss with A < 0 is at most `-c A`: Ye et al., 2020
  (https://arxiv.org/abs/1912.09729), eq. 5.

  Args:
    log_ratio: `[B, A]` log r, 0 where masked; carries the gradient.
    advantages: `[B, A]`, treated as constants.
    clip_low: 0.2 is usual.
    clip_high: 0.2 is usual, 0.28 in DAPO.
    dual_clip: a ratio above 1, 3 is usual; None leaves the loss unbounded above.

  Returns:
    `[B, A]`.
  """
  chex.assert_equal_shape([log_ratio, advantages])
  advantages = jax.lax.stop_gradient(advantages)
  ratio = jnp.exp(log_ratio)
  clipped = jnp.clip(ratio, 1 - clip_low, 1 + clip_high)
  loss = -jnp.minimum(ratio * advantages, clipped * advantages)
  if dual_clip is None:
    return loss
  return jnp.where(advantages < 0, jnp.minimum(loss, -dual_clip * advantages), loss)


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
  return _clipped(log_ratio, advantages, mask, clip_low=clip_low, clip_high=clip_high, dual_clip=dual_clip)


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
  return _clipped(log_ratio, advantages, mask, clip_low=clip_low, clip_high=clip_high, dual_clip=dual_clip)


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
  _check_bounds(clip_low, clip_high, None)
  log_ratio = jax.lax.stop_gradient(masked_log_ratio(logp, old_logp, mask))
  ratio = jnp.exp(log_ratio)
  weight = jnp.clip(ratio, 1 - clip_low, 1 + clip_high)
  loss = -weight * _constant(advantages, mask) * jnp.where(mask, logp, 0.0)
  return loss, {
    "log_ratio": log_ratio,
    "clipped_low": _indicator(ratio < 1 - clip_low, mask),
    "clipped_high": _indicator(ratio > 1 + clip_high, mask),
  }


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
  loss = -_constant(advantages, mask) * jnp.where(mask, logp, 0.0)
  return loss, {"log_ratio": jax.lax.stop_gradient(masked_log_ratio(logp, old_logp, mask))}


POLICY_LOSSES: dict[str, PolicyLoss] = {"ppo": ppo, "gspo": gspo, "cispo": cispo, "reinforce": reinforce}


def _clipped(
  log_ratio: jax.Array,
  advantages: jax.Array,
  mask: jax.Array,
  *,
  clip_low: float,
  clip_high: float,
  dual_clip: float | None,
) -> tuple[jax.Array, Diagnostics]:
  _check_bounds(clip_low, clip_high, dual_clip)
  advantages = _constant(advantages, mask)
  loss = clipped_surrogate(log_ratio, advantages, clip_low=clip_low, clip_high=clip_high, dual_clip=dual_clip)
  log_ratio = jax.lax.stop_gradient(log_ratio)
  ratio = jnp.exp(log_ratio)
  diagnostics = {
    "log_ratio": log_ratio,
    "clipped_low": _indicator((ratio < 1 - clip_low) & (advantages < 0), mask),
    "clipped_high": _indicator((ratio > 1 + clip_high) & (advantages > 0), mask),
  }
  if dual_clip is not None:
    diagnostics["clipped_dual"] = _indicator((ratio > dual_clip) & (advantages < 0), mask)
  return loss, diagnostics


def _constant(advantages: jax.Array, mask: jax.Array) -> jax.Array:
  return jax.lax.stop_gradient(jnp.where(mask, advantages, 0.0))


def _indicator(condition: jax.Array, mask: jax.Array) -> jax.Array:
  return (condition & mask).astype(jnp.float32)


def _check_bounds(clip_low: float, clip_high: float, dual_clip: float | None) -> None:
  if clip_low < 0 or clip_high < 0:
    raise ValueError(f"clip_low={clip_low} and clip_high={clip_high} are distances from ratio 1 and cannot be negative")
  if dual_clip is not None and dual_clip <= 1:
    raise ValueError(f"dual_clip={dual_clip} bounds the ratio from above and must exceed 1; None switches it off")


# ---- value ------------------------------------------------------------------------------------------------------


def squared_value_loss(values: jax.Array, returns: jax.Array, mask: jax.Array) -> jax.Array:
  """`(V - R)^2 / 2`.

  Args:
    values: `[B, A]`, carries the gradient.
    returns: `[B, A]`, treated as constants.
    mask: bool `[B, A]`.

  Returns:
    `[B, A]`, 0 where masked.
  """
  chex.assert_equal_shape([values, returns, mask])
  return jnp.square(jnp.where(mask, values - jax.lax.stop_gradient(returns), 0.0)) / 2


def expectile_loss(difference: jax.Array, *, expectile: float) -> jax.Array:
  """`2 |tau - 1(u < 0)| u^2`: the squared error where tau is 0.5; above it, falling short costs more than exceeding.

  Newey and Powell, 1987 (https://doi.org/10.2307/1911031); as a critic's loss, Kostrikov et al., 2021
  (https://arxiv.org/abs/2110.06169), eq. 5.

  Args:
    difference: f32 of any shape, u = target - value.
    expectile: tau, in (0, 1).

  Returns:
    f32 of the same shape.
  """
  if not 0.0 < expectile < 1.0:
    raise ValueError(f"expectile={expectile} must lie between 0 and 1")
  return 2.0 * jnp.where(difference < 0, 1.0 - expectile, expectile) * jnp.square(difference)


def clipped_value_loss(
  values: jax.Array, old_values: jax.Array, returns: jax.Array, mask: jax.Array, *, clip: float
) -> jax.Array:
  """`max((V - R)^2, (clip(V, V_old - clip, V_old + clip) - R)^2) / 2`: no pull once V has moved by `clip` towards R.

  Schulman et al., as in the code of https://arxiv.org/abs/1707.06347 (the paper has no value clipping).

  Args:
    values: `[B, A]`, carries the gradient.
    old_values: `[B, A]`, at the start of the update.
    returns: `[B, A]`, treated as constants.
    mask: bool `[B, A]`.
    clip: in units of the return.

  Returns:
    `[B, A]`, 0 where masked.
  """
  chex.assert_equal_shape([values, old_values, returns, mask])
  old_values = jax.lax.stop_gradient(old_values)
  clipped = old_values + jnp.clip(values - old_values, -clip, clip)
  return jnp.maximum(squared_value_loss(values, returns, mask), squared_value_loss(clipped, returns, mask))


# ---- preference and imitation -----------------------------------------------------------------------------------


def dpo(
  chosen_logp: jax.Array,
  rejected_logp: jax.Array,
  chosen_ref_logp: jax.Array,
  rejected_ref_logp: jax.Array,
  *,
  beta: float,
) -> jax.Array:
  """`-log sigmoid(beta ((logp - ref_logp)(chosen) - (logp - ref_logp)(rejected)))`.

  Rafailov et al., 2023 (https://arxiv.org/abs/2305.18290), eq. 7.

  Args:
    chosen_logp: `[P]`, for each pair the sum over the action tokens of the preferred sequence; carries the gradient.
    rejected_logp: `[P]`, of the other one; carries the gradient.
    chosen_ref_logp: `[P]`, under the frozen reference.
    rejected_ref_logp: `[P]`.
    beta: strength of the KL penalty whose optimum this fits; 0.1 is usual.

  Returns:
    `[P]`, log 2 where policy and reference agree.
  """
  chex.assert_equal_shape([chosen_logp, rejected_logp, chosen_ref_logp, rejected_ref_logp])
  margin = (chosen_logp - rejected_logp) - jax.lax.stop_gradient(chosen_ref_logp - rejected_ref_logp)
  return -jax.nn.log_sigmoid(beta * margin)


def negative_log_likelihood(logp: jax.Array, mask: jax.Array) -> jax.Array:
  """`-log pi` of tokens to imitate: supervised fine-tuning.

  Args:
    logp: `[B, A]`, carries the gradient.
    mask: bool `[B, A]`.

  Returns:
    `[B, A]`, in nats; 0 where masked.
  """
  chex.assert_equal_shape([logp, mask])
  return jnp.where(mask, -logp, 0.0)
