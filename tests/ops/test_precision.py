"""Float32 masters: bfloat16 weights go as far as float32 ones, and float32 weights notice nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from agentrl.ops import precision


def moved(dtype, rate, steps=100):
  """How far AdamW takes each of many weights in `steps` equal steps; (mean |movement|, start, end, state)."""
  weights = {"a": jax.random.normal(jax.random.key(5), (40, 50)) * 0.1, "b": jnp.zeros((30,))}
  start = jax.tree.map(lambda w: w.astype(jnp.bfloat16).astype(dtype), weights)
  optimizer = precision.with_float32_masters(optax.adamw(rate))
  state, params = optimizer.init(start), start
  gradient = jax.tree.map(lambda w: jax.random.normal(jax.random.key(6), w.shape).astype(dtype), start)

  @jax.jit
  def step(params, state):
    with jax.numpy_dtype_promotion("standard"):
      updates, state = optimizer.update(gradient, state, params)
      return optax.apply_updates(params, updates), state

  for _ in range(steps):
    params, state = step(params, state)
  gaps = jax.tree.map(lambda old, new: np.abs(np.float32(new) - np.float32(old)), start, params)
  return np.concatenate([gap.ravel() for gap in jax.tree.leaves(gaps)]).mean(), start, params, state


@pytest.mark.parametrize("rate", [1e-6, 1e-5])
def test_bfloat16_weights_move_as_far_as_float32_ones(rate):
  """By rounding to the nearest, masters and all, it is 0.3 of the way at 1e-6; by bfloat16 sums 0.002."""
  narrow, wide = moved(jnp.bfloat16, rate), moved(jnp.float32, rate)
  assert 0.9 < narrow[0] / wide[0] < 1.1
  for master, weight in zip(jax.tree.leaves(narrow[3].params), jax.tree.leaves(wide[2]), strict=True):
    np.testing.assert_allclose(master, weight, rtol=0, atol=rate)  # after 100 steps of `rate`


def test_all_the_optimizer_keeps_is_float32_and_the_weights_are_the_rounded_masters():
  _, start, params, state = moved(jnp.bfloat16, 1e-3)
  assert {a.dtype for a in jax.tree.leaves(state) if jnp.issubdtype(a.dtype, jnp.floating)} == {jnp.dtype("float32")}
  assert jax.tree.structure(state.params) == jax.tree.structure(start)
  jax.tree.map(np.testing.assert_array_equal, params, precision.round_like(state.params, params))


def test_float32_weights_take_the_same_steps_as_without_masters_and_have_none():
  params = {"w": jax.random.normal(jax.random.key(0), (7,))}
  bare, wrapped = optax.adamw(1e-2), precision.with_float32_masters(optax.adamw(1e-2))
  states, ends = [bare.init(params), wrapped.init(params)], [params, params]
  for _ in range(5):
    for n, optimizer in enumerate((bare, wrapped)):
      with jax.numpy_dtype_promotion("standard"):
        updates, states[n] = optimizer.update(jax.tree.map(jnp.sin, ends[n]), states[n], ends[n])
      ends[n] = optax.apply_updates(ends[n], updates)
  jax.tree.map(np.testing.assert_array_equal, (ends[0], states[0]), (ends[1], states[1]))


def test_a_mixed_tree_keeps_its_float32_leaves_exact_and_shares_no_buffer():
  params = {"narrow": jnp.ones((3,), jnp.bfloat16), "wide": jnp.full((3,), 1.1)}
  optimizer = precision.with_float32_masters(optax.sgd(1e-3))
  state = optimizer.init(params)
  step = jax.jit(lambda p, s: optimizer.update(jax.tree.map(jnp.ones_like, p), s, p), donate_argnums=(0, 1))
  updates, state = step(jax.tree.map(jnp.copy, params), state)  # a buffer that is donated twice is an error
  np.testing.assert_allclose(params["wide"] + updates["wide"], 1.1 - 1e-3, rtol=1e-6)
  np.testing.assert_allclose(state.params["narrow"], 1 - 1e-3, rtol=1e-6)


def spread(value, count=4000):
  """A master of many equal weights, rounded: the share of them that is above the lower neighbour, and all values."""
  masters = jnp.full((count,), value, jnp.float32)
  return np.float32(precision.round_like(masters, jnp.zeros((count,), jnp.bfloat16)))


@pytest.mark.parametrize("low", [1.0, -1.0 - 2**-7, 0.1005859375, 1.5 * 2.0**127])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.75])
def test_of_weights_that_came_a_share_of_the_way_that_share_has_moved(low, share):
  high = np.float32(jnp.nextafter(jnp.bfloat16(low), jnp.bfloat16(np.inf)))
  rounded = spread(np.float32(low) + np.float32(share) * (high - np.float32(low)))
  assert set(np.unique(rounded)) <= {np.float32(low), high}
  np.testing.assert_allclose(np.mean(rounded == high), share, atol=4 * np.sqrt(share * (1 - share) / 4000))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0])
def test_what_is_not_finite_stays_so(value):
  np.testing.assert_array_equal(spread(value), np.full(4000, value))


def test_learning_in_bfloat16_follows_learning_in_float32():
  """Least squares of 64 weights, at a rate whose steps are a hundredth of what bfloat16 can tell apart near 1."""
  x = np.random.default_rng(0).normal(size=(256, 64)).astype(np.float32)
  start = np.random.default_rng(1).uniform(0.5, 1.5, 64).astype(np.float32)
  wanted = x @ (start + np.float32(0.02) * np.sign(np.random.default_rng(2).normal(size=64))).astype(np.float32)

  def losses(dtype):
    optimizer = precision.with_float32_masters(optax.adam(1e-4))
    params = jnp.asarray(start, jnp.bfloat16).astype(dtype)
    loss = lambda w: jnp.mean(jnp.square(x @ w.astype(jnp.float32) - wanted))

    @jax.jit
    def step(carry, _):
      params, state = carry
      value, gradient = jax.value_and_grad(loss)(params)
      with jax.numpy_dtype_promotion("standard"):
        updates, state = optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), value

    return np.asarray(jax.lax.scan(step, (params, optimizer.init(params)), None, length=200)[1])

  narrow, wide = losses(jnp.bfloat16), losses(jnp.float32)
  assert wide[-1] < 0.2 * wide[0]
  np.testing.assert_allclose(narrow, wide, atol=0.15 * wide[0])
