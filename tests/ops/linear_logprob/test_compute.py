"""Tokens that count come first, and go back to their places; shards of a vocabulary make the whole."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.ops.linear_logprob.compute import _combine, arrange, gather, scatter
from agentrl.ops.linear_logprob.differentiable import Statistics

MASK = np.array([False, True, False, True, True, False])


def test_tokens_that_count_come_first_and_go_back():
  known = arrange(jnp.asarray(MASK))
  assert (int(known.live), known.index.shape) == (3, (6,))  # fewer than a round of 256 are padded by the others
  x = jnp.arange(12.0).reshape(6, 2)
  placed = gather(known, x)
  np.testing.assert_array_equal(placed[:3], x[MASK])
  np.testing.assert_array_equal(scatter(known, placed[:, 0])[MASK], x[MASK, 0])


def test_padding_beyond_a_round_is_dropped_where_the_mask_is_known():
  mask = np.zeros(1000, bool)
  mask[::5] = True
  known, traced = arrange(jnp.asarray(mask)), jax.jit(arrange)(jnp.asarray(mask))
  assert (known.index.shape, traced.index.shape) == ((256,), (1000,))
  assert int(known.live) == int(traced.live) == 200
  np.testing.assert_array_equal(known.index[:200], traced.index[:200])
  back = scatter(known, gather(known, jnp.arange(1000.0)))
  np.testing.assert_array_equal(back[mask], np.arange(1000.0)[mask])
  assert int(jnp.sum(back != 0)) <= 256  # those that were dropped are 0


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_gradient_goes_where_the_token_came_from(dtype):
  arrangement = arrange(jnp.asarray(MASK))
  weights = jnp.asarray([1, 2, 3, 0, 0, 0], dtype)
  bar = jax.grad(lambda x: jnp.sum(gather(arrangement, x) * weights))(jnp.ones(6, dtype))
  np.testing.assert_array_equal(np.asarray(bar, np.float32), [0, 1, 0, 2, 3, 0])


def test_shards_make_the_whole():
  logits = jnp.asarray(np.random.default_rng(0).normal(size=(3, 8)) * 3, jnp.float32)
  shards = logits.reshape(3, 4, 2).swapaxes(0, 1)  # 4 shards of 2 columns

  def statistics(z):
    logp = jax.nn.log_softmax(z)
    return Statistics(z[:, 0], jax.nn.logsumexp(z, axis=1), -jnp.sum(jnp.exp(logp) * logp, axis=1))

  parts = jax.vmap(statistics)(shards)
  parts = parts._replace(taken=parts.taken.at[1:].set(0.0))  # another shard holds the token
  out = jax.vmap(functools.partial(_combine, axis="shards"), axis_name="shards")(parts)
  for got, wanted in zip(out, statistics(logits), strict=True):
    for row in got:  # the same on every shard
      np.testing.assert_allclose(row, wanted, rtol=1e-5, atol=1e-6)
