"""Each estimator against the exact divergences of two categorical distributions, as value and as loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.ops import kl

THETA = jnp.asarray([0.3, -0.8, 0.5, 0.1])
REF = jax.nn.log_softmax(jnp.asarray([-0.2, 0.4, 0.9, -1.0]))
ALL = jnp.ones(4, bool)


def _reverse(theta):
  p = jax.nn.log_softmax(theta)
  return jnp.sum(jnp.exp(p) * (p - REF))


def _forward(theta):
  return jnp.sum(jnp.exp(REF) * (REF - jax.nn.log_softmax(theta)))


def _expected(estimator, theta):
  """Expectation over the tokens that the policy samples, samples held fixed under differentiation."""
  logp = jax.nn.log_softmax(theta)
  return jnp.sum(jax.lax.stop_gradient(jnp.exp(logp)) * estimator(logp, REF, ALL))


@pytest.mark.parametrize("name", ["k1", "k3", "k3_plus"])
def test_value_is_unbiased(name):
  assert _expected(kl.KL_ESTIMATORS[name], THETA) == pytest.approx(float(_reverse(THETA)), abs=1e-6)


def test_k2_is_biased_as_a_value():
  assert abs(_expected(kl.k2, THETA) - _reverse(THETA)) > 0.01


@pytest.mark.parametrize(
  ("name", "divergence"),
  [("k1", lambda theta: 0.0 * jnp.sum(theta)), ("k2", _reverse), ("k3", _forward), ("k3_plus", _reverse)],
)
def test_expected_gradient(name, divergence):
  gradient = jax.grad(lambda theta: _expected(kl.KL_ESTIMATORS[name], theta))(THETA)
  np.testing.assert_allclose(gradient, jax.grad(divergence)(THETA), atol=1e-6)


def test_hand_constant():
  # d = ln 2: k1 = ln 2, k2 = ln2^2 / 2, k3 = 1/2 + ln 2 - 1.
  logp, ref, mask = jnp.zeros(1), -jnp.log(2.0)[None], jnp.ones(1, bool)
  expected = {"k1": np.log(2), "k2": np.log(2) ** 2 / 2, "k3": np.log(2) - 0.5, "k3_plus": np.log(2) - 0.5}
  for name, value in expected.items():
    assert kl.KL_ESTIMATORS[name](logp, ref, mask)[0] == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("estimator", kl.KL_ESTIMATORS.values(), ids=kl.KL_ESTIMATORS)
def test_masked_tokens_are_zero_without_gradient_and_the_reference_is_constant(estimator):
  logp, ref = jnp.asarray([-1.0, jnp.nan, -1e30]), jnp.asarray([-2.0, -1.0, 0.0])
  mask = jnp.asarray([True, False, False])
  value = lambda *x: jnp.sum(estimator(*x, mask))
  np.testing.assert_array_equal(estimator(logp, ref, mask)[1:], 0.0)
  gradient, ref_gradient = jax.jit(jax.grad(value, argnums=(0, 1)))(logp, ref)
  assert gradient[0] != 0
  np.testing.assert_array_equal(gradient[1:], 0.0)
  np.testing.assert_array_equal(ref_gradient, 0.0)
