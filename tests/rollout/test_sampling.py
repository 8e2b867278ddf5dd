"""Sampling by inversion: right distribution, right log-probability, reproducible keys."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.rollout.sampling import sample_token, token_uniform


def naive(logits, uniform):
  """Inverse of the cumulative distribution in float64, token by token."""
  p = np.exp(logits - logits.max())
  p /= p.sum()
  index = int(np.searchsorted(np.cumsum(p), uniform, side="right"))
  return index, np.log(p[index]), -np.sum(p[p > 0] * np.log(p[p > 0]))


@pytest.mark.parametrize("size", [3, 256, 257, 700])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_matches_the_naive_inverse(size, temperature):
  rng = np.random.default_rng(size)
  logits, uniform = rng.normal(0, 3, (64, size)), rng.uniform(size=64)
  got = jax.jit(sample_token)(jnp.float32(logits), jnp.float32(uniform), jnp.full(64, temperature))
  wanted = [naive(row / temperature, u) for row, u in zip(logits, uniform, strict=True)]
  assert np.mean(got.token == np.asarray([w[0] for w in wanted])) > 0.98  # a uniform at a boundary may fall either way
  same = np.asarray(got.token) == [w[0] for w in wanted]
  np.testing.assert_allclose(got.logp[same], np.asarray([w[1] for w in wanted])[same], atol=2e-5)
  np.testing.assert_allclose(got.entropy, [w[2] for w in wanted], atol=2e-5)


def test_frequencies_follow_the_distribution():
  probabilities = np.asarray([0.5, 0.3, 0.15, 0.05])
  uniform = jnp.asarray((np.arange(4000) + 0.5) / 4000, jnp.float32)
  logits = jnp.broadcast_to(jnp.log(jnp.float32(probabilities)), (4000, 4))
  tokens = sample_token(logits, uniform, jnp.ones(4000)).token
  np.testing.assert_allclose(np.bincount(tokens, minlength=4) / 4000, probabilities, atol=1e-3)


def test_temperature_zero_takes_the_first_maximum():
  logits = jnp.asarray([[0.0, 2.0, 2.0], [5.0, 1.0, 0.0]])
  got = sample_token(logits, jnp.asarray([0.99, 0.99]), jnp.zeros(2))
  np.testing.assert_array_equal(got.token, [1, 0])
  np.testing.assert_array_equal(got.logp, [0.0, 0.0])
  np.testing.assert_array_equal(got.entropy, [0.0, 0.0])


@pytest.mark.parametrize("uniform", [0.0, 1.0 - 2**-24])
def test_extreme_uniforms_never_give_an_impossible_token(uniform):
  logits = jnp.full((1, 300), -jnp.inf).at[0, jnp.asarray([40, 290])].set(0.0)
  got = sample_token(logits, jnp.asarray([uniform], jnp.float32), jnp.ones(1))
  assert int(got.token[0]) in (40, 290)
  np.testing.assert_allclose(got.logp, np.log(0.5), atol=1e-6)
  np.testing.assert_allclose(got.entropy, np.log(2), atol=1e-6)


def test_uniforms_depend_on_uid_and_position_alone():
  key = jax.random.key(3)
  one = token_uniform(key, jnp.asarray([5, 6], jnp.uint32), jnp.asarray([9, 9]))
  other = token_uniform(key, jnp.asarray([7, 8, 5], jnp.uint32), jnp.asarray([9, 1, 9]))
  assert one[0] == other[2]
  assert len({*one.tolist(), *other.tolist()}) == 4
