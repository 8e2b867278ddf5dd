"""Log-ratios between two policies, per token and per sequence, and the weights made from them."""

import chex
import jax
import jax.numpy as jnp

from agentrl.ops.segments import segment_sum, segment_values

MAX_LOG_RATIO = 20.0  # exp(20) = 5e8: no update may trust a ratio beyond it, and fp32 still squares it


def masked_log_ratio(logp: jax.Array, other_logp: jax.Array, mask: jax.Array) -> jax.Array:
  """Per-token `logp - other_logp`, 0 where masked, within +-20; the mask comes before any `exp` of it.

  Args:
    logp: `[...]` carries the gradient.
    other_logp: `[...]`, a constant.
    mask: bool `[...]`, False where there is no action token.
  """
  chex.assert_equal_shape([logp, other_logp, mask])
  difference = jnp.where(mask, logp - jax.lax.stop_gradient(other_logp), 0.0)
  return jnp.clip(difference, -MAX_LOG_RATIO, MAX_LOG_RATIO)


def sequence_log_ratio(
  logp: jax.Array, old_logp: jax.Array, mask: jax.Array, sequence: jax.Array, sequence_length: jax.Array
) -> jax.Array:
  """Log of GSPO's sequence ratio, `log s_i = (1 / L_i) sum_t log r_t`, in its token form.

  Zheng et al., 2025 (https://arxiv.org/abs/2507.18071), eq. 7 and 14: every token of sequence i has the value
  `sg[log s_i] + logp - sg[logp]`, so that the gradient of the sequence ratio is shared equally.

  With `sequence_length` all ones the ratio is the product over the sequence, as in LOOP's trajectory level; with
  turn ids and turn lengths in place of sequences it is a ratio per turn.

  Args:
    logp: `[B, A]`, carries the gradient.
    old_logp: `[B, A]`, a constant.
    mask: bool `[B, A]`.
    sequence: int `[B, A]`, which of the N sequences owns the token; N on padding.
    sequence_length: f32 `[N]`, action tokens of each sequence.

  Returns:
    `[B, A]`, 0 where masked, within +-20.
  """
  total = segment_sum(jax.lax.stop_gradient(masked_log_ratio(logp, old_logp, mask)), sequence, sequence_length.shape[0])
  mean = segment_values(total / jnp.maximum(sequence_length, 1.0), sequence)
  mean = jnp.clip(mean, -MAX_LOG_RATIO, MAX_LOG_RATIO)
  return jnp.where(mask, mean + (logp - jax.lax.stop_gradient(logp)), 0.0)


def truncated_importance_weight(
  old_logp: jax.Array, sampler_logp: jax.Array, mask: jax.Array, *, cap: float
) -> jax.Array:
  """TIS weight between trainer and sampler, `min(exp(old_logp - sampler_logp), cap)`; multiplies the policy loss.

  Yao et al., 2025, "Your efficient RL framework secretly brings you off-policy RL training".

  Args:
    old_logp: `[B, A]`, log-probs under the trainer at the start of the update.
    sampler_logp: `[B, A]`, log-probs as recorded when sampled.
    mask: bool `[B, A]`.
    cap: largest weight; 2 is usual.

  Returns:
    `[B, A]`, a constant; 0 where masked.
  """
  return _truncated(masked_log_ratio(old_logp, sampler_logp, mask), mask, cap)


def truncated_sequence_weight(
  old_logp: jax.Array,
  sampler_logp: jax.Array,
  mask: jax.Array,
  sequence: jax.Array,
  sequence_length: jax.Array,
  *,
  cap: float,
) -> jax.Array:
  """`min(prod_t exp(old_logp - sampler_logp), cap)` over each sequence, at every token of it.

  Arguments and result as in `truncated_importance_weight` and `sequence_log_ratio`.
  """
  product = sequence_log_ratio(old_logp, sampler_logp, mask, sequence, jnp.ones_like(sequence_length))
  return _truncated(product, mask, cap)


def banded_importance_weight(
  old_logp: jax.Array, sampler_logp: jax.Array, mask: jax.Array, *, low: float, high: float
) -> jax.Array:
  """IcePop weight: `exp(old_logp - sampler_logp)` inside `[low, high]`, 0 outside it.

  Args:
    old_logp: `[B, A]`.
    sampler_logp: `[B, A]`.
    mask: bool `[B, A]`.
    low: smallest trusted ratio; 0.5 is usual.
    high: largest trusted ratio; 5 is usual.

  Returns:
    `[B, A]`, a constant; 0 where masked or outside the band.
  """
  ratio = jnp.exp(jax.lax.stop_gradient(masked_log_ratio(old_logp, sampler_logp, mask)))
  return jnp.where(mask & (ratio >= low) & (ratio <= high), ratio, 0.0)


def _truncated(log_ratio: jax.Array, mask: jax.Array, cap: float) -> jax.Array:
  return jnp.where(mask, jnp.minimum(jnp.exp(jax.lax.stop_gradient(log_ratio)), cap), 0.0)
