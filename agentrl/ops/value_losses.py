"""Losses of a critic, one value per element; `ops/reduce.py` turns them into an objective."""

import chex
import jax
import jax.numpy as jnp


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
