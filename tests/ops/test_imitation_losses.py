"""Losses of preferred and of imitated sequences by hand."""

import jax
import jax.numpy as jnp
import numpy as np

from agentrl.ops import imitation_losses


def test_dpo_at_the_reference_is_log_two_and_pushes_apart():
  chosen, rejected = jnp.asarray([-4.0, -9.0]), jnp.asarray([-6.0, -2.0])
  loss = lambda *x: imitation_losses.dpo(*x, beta=0.1)
  np.testing.assert_allclose(loss(chosen, rejected, chosen, rejected), np.log(2), rtol=1e-6)
  gradients = jax.grad(lambda *x: jnp.sum(loss(*x)), argnums=(0, 1, 2, 3))(chosen, rejected, chosen, rejected)
  # -beta sigmoid(0) = -0.05 on the chosen, the opposite on the rejected, nothing on the reference.
  np.testing.assert_allclose(jnp.stack(gradients), [[-0.05] * 2, [0.05] * 2, [0.0] * 2, [0.0] * 2], rtol=1e-6)


def test_dpo_by_hand():
  # Margin (-1 + 2) - (-3 + 1) = 3, times 0.5: -log sigmoid(1.5) = log(1 + exp(-1.5)).
  out = imitation_losses.dpo(*(jnp.asarray([x]) for x in (-1.0, -3.0, -2.0, -1.0)), beta=0.5)
  np.testing.assert_allclose(out, np.log1p(np.exp(-1.5)), rtol=1e-6)


def test_negative_log_likelihood():
  logp, mask = jnp.asarray([-1.5, jnp.nan, -0.5]), jnp.asarray([True, False, True])
  loss, gradient = jax.value_and_grad(lambda x: jnp.sum(imitation_losses.negative_log_likelihood(x, mask)))(logp)
  assert loss == 2.0
  np.testing.assert_array_equal(gradient, [-1.0, 0.0, -1.0])
