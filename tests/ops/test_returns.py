"""Recursions along time against loops over what is left when masked elements are deleted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.ops import returns

T, ROWS = 9, 4


def _random_rows(seed=0):
  """Rows of trajectories, some elements masked, padding at the end of the second one."""
  rng = np.random.default_rng(seed)
  rewards, values = rng.normal(size=(2, ROWS, T))
  discounts = rng.choice([0.0, 0.9, 0.95], size=(ROWS, T))
  mask = rng.random((ROWS, T)) < 0.7
  mask[1, 4:] = False
  return rewards, values, discounts, rng.normal(size=ROWS), mask


def _naive_gae(rewards, values, discounts, bootstrap, mask, lam):
  out = np.zeros(rewards.shape)
  for b in range(rewards.shape[0]):
    next_value, next_advantage = bootstrap[b], 0.0
    for t in np.flatnonzero(mask[b])[::-1]:
      delta = rewards[b, t] + discounts[b, t] * next_value - values[b, t]
      out[b, t] = next_advantage = delta + discounts[b, t] * lam * next_advantage
      next_value = values[b, t]
  return out


def _naive_lambda_returns(rewards, values, discounts, bootstrap, lam):
  following_value = following_return = bootstrap
  out = np.zeros(len(rewards))
  for t in reversed(range(len(rewards))):
    out[t] = rewards[t] + discounts[t] * ((1 - lam) * following_value + lam * following_return)
    following_value, following_return = values[t], out[t]
  return out


def _f32(*arrays):
  return tuple(jnp.asarray(x, jnp.float32) for x in arrays)


BOTH = pytest.mark.parametrize("implementation", list(returns.RECURRENCES))


@BOTH
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("lam", [0.0, 0.8, 1.0])
def test_gae_matches_a_loop(lam, compiled, implementation):
  rewards, values, discounts, bootstrap, mask = _random_rows()
  compute = lambda *x: returns.gae(*x, gae_lambda=lam, mask=jnp.asarray(mask), implementation=implementation)
  out = (jax.jit(compute) if compiled else compute)(*_f32(rewards, values, discounts, bootstrap))
  np.testing.assert_allclose(out, _naive_gae(rewards, values, discounts, bootstrap, mask, lam), atol=1e-5)


@BOTH
def test_long_rows_match_a_loop(implementation):
  rng = np.random.default_rng(5)
  rewards, values = rng.normal(size=(2, 1, 3001))
  discounts, mask = np.full((1, 3001), 0.999), rng.random((1, 3001)) < 0.6
  bootstrap = rng.normal(size=1)
  arrays = _f32(rewards, values, discounts, bootstrap)
  out = returns.gae(*arrays, gae_lambda=0.99, mask=jnp.asarray(mask), implementation=implementation)
  wanted = _naive_gae(rewards, values, discounts, bootstrap, mask, 0.99)
  np.testing.assert_allclose(out, wanted, atol=2e-5 * np.max(np.abs(wanted)))


def test_gae_by_hand():
  # delta_1 = 2 + 0.5 * 4 - 1 = 3, delta_0 = 1 + 0.5 * 1 - 0.5 = 1, A_1 = 3, A_0 = 1 + 0.5 * 0.5 * 3 = 1.75.
  out = returns.gae(*_f32([1, 2], [0.5, 1], [0.5, 0.5], 4), gae_lambda=0.5)
  np.testing.assert_allclose(out, [1.75, 3.0])


def test_rewards_at_the_end_alone_are_every_tokens_advantage():
  out = returns.gae(*_f32([0, 0, 0, 7], [0] * 4, [1] * 4, 0), gae_lambda=1.0)
  np.testing.assert_array_equal(out, 7.0)


def test_lambda_one_is_monte_carlo_and_lambda_zero_the_one_step_error():
  rewards, values, discounts, bootstrap, *_ = _random_rows(1)
  rewards, values, discounts, bootstrap = _f32(rewards, values, discounts, bootstrap[:ROWS])
  monte_carlo = returns.discounted_returns(rewards, discounts, bootstrap)
  np.testing.assert_allclose(
    returns.gae(rewards, values, discounts, bootstrap, gae_lambda=1.0), monte_carlo - values, atol=1e-5
  )
  next_values = jnp.concatenate([values[:, 1:], bootstrap[:, None]], axis=1)
  np.testing.assert_allclose(
    returns.gae(rewards, values, discounts, bootstrap, gae_lambda=0.0),
    rewards + discounts * next_values - values,
    atol=1e-5,
  )


def test_termination_forgets_what_follows_and_truncation_bootstraps():
  # gamma 0.5. Ended for good: G = 1 + 0.5 * 2. Cut off where the state is worth 8: G = 1 + 0.5 * (2 + 0.5 * 8).
  rewards = jnp.asarray([[1.0, 2.0], [1.0, 2.0]])
  discounts = jnp.asarray([[0.5, 0.0], [0.5, 0.5]])
  out = returns.discounted_returns(rewards, discounts, jnp.asarray([8.0, 8.0]))
  np.testing.assert_array_equal(out, [[2.0, 2.0], [4.0, 6.0]])


@BOTH
def test_lambda_returns_match_a_loop(implementation):
  rewards, values, discounts, bootstrap, _ = _random_rows(2)
  arrays = _f32(rewards, values, discounts, bootstrap)
  out = returns.lambda_returns(*arrays, return_lambda=0.7, implementation=implementation)
  for b in range(ROWS):
    expected = _naive_lambda_returns(rewards[b], values[b], discounts[b], bootstrap[b], 0.7)
    np.testing.assert_allclose(out[b], expected, atol=1e-5)


@BOTH
@pytest.mark.parametrize(
  "compute",
  [
    lambda r, v, d, b, m, i: returns.gae(r, v, d, b, gae_lambda=0.8, mask=m, implementation=i),
    lambda r, v, d, b, m, i: returns.lambda_returns(r, v, d, b, return_lambda=0.8, mask=m, implementation=i),
    lambda r, v, d, b, m, i: returns.discounted_returns(r, d, b, mask=m, implementation=i),
  ],
  ids=["gae", "lambda_returns", "discounted_returns"],
)
def test_mask_surgery(compute, implementation):
  """Tool tokens put between the policy's own change nothing, whatever they hold."""
  rng = np.random.default_rng(3)
  rewards, values, discounts = _f32(*rng.normal(size=(3, 6)))
  without = compute(rewards, values, discounts, jnp.float32(0.4), jnp.ones(6, bool), implementation)
  mask = jnp.asarray([1, 0, 0, 1, 1, 0, 1, 1, 1, 0], bool)
  place = lambda x: jnp.full(10, jnp.nan).at[jnp.flatnonzero(mask)].set(x)
  with_tools = compute(place(rewards), place(values), place(discounts), jnp.float32(0.4), mask, implementation)
  np.testing.assert_allclose(with_tools[mask], without, atol=1e-6)
  np.testing.assert_array_equal(with_tools[~mask], 0.0)


@BOTH
def test_turns_of_unequal_length(implementation):
  # Two turns of 3 and 2 tokens, rewards 1 within the first and 4 at the end, gamma 0.5 per token, V = (2, 6) at the
  # start of each turn. delta_1 = 4 - 6 = -2, delta_0 = 1 + 0.5^3 * 6 - 2 = -0.25; A_0 = -0.25 + 0.5^3 * (-2) = -0.5.
  turn = jnp.asarray([-1, 0, 0, 0, 1, 1])
  rewards = returns.turn_sums(jnp.asarray([9.0, 0.0, 1.0, 0.0, 0.0, 4.0]), turn, num_turns=3)
  durations = returns.turn_sums(jnp.ones(6), turn, num_turns=3)
  np.testing.assert_array_equal(rewards, [1.0, 4.0, 0.0])
  np.testing.assert_array_equal(durations, [3.0, 2.0, 0.0])
  discounts = returns.turn_discounts(durations, jnp.asarray([False, True, False]), discount=0.5)
  values = jnp.asarray([2.0, 6.0, 0.0])
  advantages = returns.gae(
    rewards, values, discounts, jnp.float32(0), gae_lambda=1.0, mask=durations > 0, implementation=implementation
  )
  np.testing.assert_allclose(returns.turn_values(advantages, turn), [0.0, -0.5, -0.5, -0.5, -2.0, -2.0])


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"values": jnp.zeros((2, 4))}, "values must have the shape of rewards"),
    ({"bootstrap_value": jnp.zeros(3)}, "bootstrap_value must be"),
    ({"mask": jnp.ones((2, 3))}, "mask must be bool"),
    ({"mask": jnp.ones((2, 1), bool)}, "mask must have the shape"),
    ({"rewards": jnp.zeros((2, 0))}, "rewards must be"),
    ({"implementation": "asociative"}, "did you mean 'associative'"),
  ],
)
def test_shapes_that_do_not_fit_are_named(change, message):
  arrays = {name: jnp.zeros((2, 3)) for name in ("rewards", "values", "discounts")} | {"bootstrap_value": jnp.zeros(2)}
  with pytest.raises(ValueError, match=message):
    returns.gae(**(arrays | change), gae_lambda=1.0)


@BOTH
def test_gradients_are_those_of_the_loop(implementation):
  """d A_0 / d r_t is the product of discounts times lambda before t: 0.5 * 0.9 twice here; nothing behind a mask."""
  mask = jnp.asarray([True, False, True, True])
  first = lambda rewards: returns.gae(
    rewards, jnp.zeros(4), jnp.full(4, 0.5), jnp.float32(0), gae_lambda=0.9, mask=mask, implementation=implementation
  )[0]
  np.testing.assert_allclose(jax.grad(first)(jnp.ones(4)), [1.0, 0.0, 0.45, 0.2025], rtol=1e-6)


def test_what_is_no_discount_is_refused():
  ones = jnp.ones((2, 3))
  with pytest.raises(ValueError, match="discounts are numbers"):
    returns.gae(ones, ones, ones > 0, jnp.zeros(2), gae_lambda=1.0)


def test_sums_of_turns_take_one_row():
  with pytest.raises(ValueError, match=r"one row \[T\].*got \(2, 3\)"):
    returns.turn_sums(jnp.ones((2, 3)), jnp.zeros((2, 3), jnp.int32), num_turns=1)
