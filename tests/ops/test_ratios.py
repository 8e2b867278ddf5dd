import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.ops import ratios

MASK = jnp.asarray([[True, True, False], [True, False, False]])
SEQUENCE = jnp.asarray([[0, 0, 2], [1, 2, 2]])
LENGTH = jnp.asarray([2.0, 1.0])
LOGP = jnp.asarray([[-1.0, -2.0, jnp.nan], [-0.5, jnp.inf, -1e30]])
OLD = jnp.asarray([[-1.5, -1.0, -1.0], [-0.7, -1.0, 0.0]])


def test_log_ratio_is_masked_before_anything_can_overflow():
  ratio = lambda logp: jnp.exp(ratios.masked_log_ratio(logp, OLD, MASK))
  np.testing.assert_allclose(ratio(LOGP), [[np.exp(0.5), np.exp(-1.0), 1.0], [np.exp(0.2), 1.0, 1.0]], rtol=1e-6)
  gradient = jax.grad(lambda logp: jnp.sum(ratio(logp)))(LOGP)
  np.testing.assert_allclose(gradient, jnp.where(MASK, ratio(LOGP), 0.0), rtol=1e-6)


def test_log_ratio_is_bounded():
  out = ratios.masked_log_ratio(jnp.asarray([0.0, -1e4]), jnp.asarray([-1e4, 0.0]), jnp.ones(2, bool))
  np.testing.assert_array_equal(out, [20.0, -20.0])


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit])
def test_sequence_ratio_is_the_geometric_mean_at_each_token(wrap):
  out = wrap(ratios.sequence_log_ratio)(LOGP, OLD, MASK, SEQUENCE, LENGTH)
  # Sequence 0: ((-1 + 1.5) + (-2 + 1)) / 2 = -0.25; sequence 1: -0.5 + 0.7 = 0.2.
  np.testing.assert_allclose(out, [[-0.25, -0.25, 0.0], [0.2, 0.0, 0.0]], atol=1e-6)


def test_sequence_ratio_does_not_depend_on_the_order_of_tokens():
  rng = np.random.default_rng(0)
  logp, old = jnp.asarray(rng.normal(size=(2, 1, 5)), jnp.float32)
  order = rng.permutation(5)
  arrays = jnp.ones((1, 5), bool), jnp.zeros((1, 5), jnp.int32), jnp.asarray([5.0])
  np.testing.assert_allclose(
    ratios.sequence_log_ratio(logp, old, *arrays)[0, 0],
    ratios.sequence_log_ratio(logp[:, order], old[:, order], *arrays)[0, 0],
    atol=1e-6,
  )


def test_sequence_ratio_shares_its_gradient_equally():
  loss = lambda logp: jnp.sum(jnp.exp(ratios.sequence_log_ratio(logp, OLD, MASK, SEQUENCE, LENGTH)))
  # Each token's gradient is the ratio of its sequence: the sum over L tokens, over L, is d s / d logp = s / L, L times.
  np.testing.assert_allclose(
    jax.grad(loss)(LOGP), [[np.exp(-0.25), np.exp(-0.25), 0.0], [np.exp(0.2), 0.0, 0.0]], rtol=1e-6
  )


def test_with_unit_lengths_it_is_the_product_over_the_sequence():
  out = ratios.sequence_log_ratio(LOGP, OLD, MASK, SEQUENCE, jnp.ones(2))
  np.testing.assert_allclose(out, [[-0.5, -0.5, 0.0], [0.2, 0.0, 0.0]], atol=1e-6)
