"""Losses of preferred and of imitated sequences; `ops/reduce.py` turns those per token into an objective."""

import chex
import jax
import jax.numpy as jnp


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
