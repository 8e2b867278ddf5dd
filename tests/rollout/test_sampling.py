"""Sampling by Gumbel noise: right distribution, right log-probability, hardly a flip by rounding, reproducible keys."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.rollout.sampling import sample_token, token_keys

SAMPLE = jax.jit(sample_token)


def keys_of(count):
  return token_keys(jax.random.key(0), jnp.arange(count, dtype=jnp.uint32), jnp.zeros(count, jnp.int32))


def naive(logits):
  """Probabilities and entropy in float64."""
  p = np.exp(logits - logits.max())
  p /= p.sum()
  return p, -np.sum(p[p > 0] * np.log(p[p > 0]))


@pytest.mark.parametrize("size", [3, 256, 257, 700])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_logp_and_entropy_match_float64(size, temperature):
  logits = np.random.default_rng(size).normal(0, 3, (64, size))
  got = SAMPLE(jnp.float32(logits), keys_of(64), jnp.full(64, temperature))
  exact = [naive(row / temperature) for row in logits]
  np.testing.assert_allclose(got.logp, [np.log(p[t]) for (p, _), t in zip(exact, got.token, strict=True)], atol=2e-5)
  np.testing.assert_allclose(got.entropy, [entropy for _, entropy in exact], atol=2e-5)


@pytest.mark.parametrize("size", [5, 600])
def test_frequencies_follow_the_distribution(size):
  """Chi-squared over the likely tokens, within and across blocks; 5 standard deviations."""
  count = 40_000
  logits = np.random.default_rng(1).normal(0, 3, size)
  logits[-1] = logits.max()  # in the last block too
  tokens = SAMPLE(jnp.broadcast_to(jnp.float32(logits), (count, size)), keys_of(count), jnp.ones(count)).token
  p, _ = naive(logits)
  expected, seen = count * p, np.bincount(tokens, minlength=size)
  likely = expected > 20
  groups = [(seen[likely], expected[likely]), (seen[~likely].sum(keepdims=True), expected[~likely].sum(keepdims=True))]
  terms = np.concatenate([(s - e) ** 2 / np.maximum(e, 1e-9) for s, e in groups if e.sum() > 5])
  assert terms.sum() < len(terms) + 5 * np.sqrt(2 * len(terms))


def test_rounding_of_the_logits_hardly_ever_changes_the_token():
  """49,152 tokens at a temperature at which most of the mass is in the tail."""
  rng = np.random.default_rng(0)
  logits = jnp.asarray(rng.normal(0, 2, (128, 49_152)), jnp.float32)
  rounded = logits * jnp.asarray(1 + 1e-6 * rng.normal(size=logits.shape), jnp.float32)
  ones = jnp.ones(128)
  assert np.sum(SAMPLE(logits, keys_of(128), ones).token != SAMPLE(rounded, keys_of(128), ones).token) <= 1


def test_temperature_zero_takes_the_first_maximum():
  logits = jnp.asarray([[0.0, 2.0, 2.0], [5.0, 1.0, 0.0]])
  got = SAMPLE(logits, keys_of(2), jnp.zeros(2))
  np.testing.assert_array_equal(got.token, [1, 0])
  np.testing.assert_array_equal(got.logp, [0.0, 0.0])
  np.testing.assert_array_equal(got.entropy, [0.0, 0.0])


def test_temperature_zero_prefers_no_block_with_more_maxima():
  logits = jnp.zeros((1, 700)).at[0, jnp.asarray([40, 300, 301, 302])].set(1.0)
  assert int(SAMPLE(logits, keys_of(1), jnp.zeros(1)).token[0]) == 40


def test_an_impossible_token_is_never_taken():
  count = 2000
  logits = jnp.full((count, 300), -jnp.inf).at[:, jnp.asarray([40, 290])].set(0.0)
  got = SAMPLE(logits, keys_of(count), jnp.ones(count))
  assert set(got.token.tolist()) == {40, 290}
  np.testing.assert_allclose(got.logp, np.log(0.5), atol=1e-6)
  np.testing.assert_allclose(got.entropy, np.log(2), atol=1e-6)


def test_keys_depend_on_uid_and_position_alone():
  key = jax.random.key(3)
  one = token_keys(key, jnp.asarray([5, 6], jnp.uint32), jnp.asarray([9, 9]))
  other = token_keys(key, jnp.asarray([7, 8, 5], jnp.uint32), jnp.asarray([9, 1, 9]))
  one, other = (list(map(tuple, jax.random.key_data(keys).tolist())) for keys in (one, other))
  assert one[0] == other[2] and len({*one, *other}) == 4
