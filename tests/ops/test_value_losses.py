"""Losses of a critic by hand."""

import jax
import jax.numpy as jnp
import numpy as np

from agentrl.ops import value_losses


def test_value_losses_by_hand():
  # V_old 0, clip 0.5, R 2. V 0.25: inside, (0.25 - 2)^2 / 2. V 1: clipped to 0.5, the larger (0.5 - 2)^2 / 2, no pull.
  # V -3: clipped to -0.5, but (-3 - 2)^2 / 2 is larger and pulls. Masked: 0.
  values, mask = jnp.asarray([0.25, 1.0, -3.0, jnp.nan]), jnp.asarray([True, True, True, False])
  old_values, targets = jnp.zeros(4), jnp.full(4, 2.0)
  clipped = lambda v: value_losses.clipped_value_loss(v, old_values, targets, mask, clip=0.5)
  np.testing.assert_allclose(clipped(values), [1.75**2 / 2, 1.125, 12.5, 0.0])
  np.testing.assert_allclose(jax.grad(lambda v: jnp.sum(clipped(v)))(values), [-1.75, 0.0, -5.0, 0.0])
  squared = lambda v: value_losses.squared_value_loss(v, targets, mask)
  np.testing.assert_allclose(squared(values), [1.75**2 / 2, 0.5, 12.5, 0.0])
  np.testing.assert_allclose(jax.grad(lambda v: jnp.sum(squared(v)))(values), [-1.75, -1.0, -5.0, 0.0])


def test_value_targets_are_constants():
  arrays = jnp.asarray([0.3]), jnp.asarray([0.1]), jnp.asarray([2.0])
  loss = lambda *x: jnp.sum(value_losses.clipped_value_loss(*x, jnp.ones(1, bool), clip=0.5))
  gradients = jax.grad(loss, argnums=(0, 1, 2))(*arrays)
  assert gradients[0] != 0
  assert gradients[1] == gradients[2] == 0
