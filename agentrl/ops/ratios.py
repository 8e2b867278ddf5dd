"""Log-ratios between two policies, per token and per sequence."""

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
  turn ids and turn lengths in place of sequences it is a ratio per turn. Of a sequence that branches from another these
  are the tokens behind the fork: what it shares belongs to its parent, and is part of the parent's ratio alone.

  Args:
    logp: `[B, A]`, carries the gradient.
    old_logp: `[B, A]`, a constant.
    mask: bool `[B, A]`.
    sequence: int `[B, A]`, which of the N sequences owns the token; N on padding.
    sequence_length: f32 `[N]`, action tokens that each sequence owns.

  Returns:
    `[B, A]`, 0 where masked, within +-20.
  """
  total = segment_sum(jax.lax.stop_gradient(masked_log_ratio(logp, old_logp, mask)), sequence, sequence_length.shape[0])
  mean = segment_values(total / jnp.maximum(sequence_length, 1.0), sequence)
  mean = jnp.clip(mean, -MAX_LOG_RATIO, MAX_LOG_RATIO)
  return jnp.where(mask, mean + (logp - jax.lax.stop_gradient(logp)), 0.0)
