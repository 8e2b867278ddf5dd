"""Attention over the cache in plain XLA: what a single query and a chunk read, and that blocks do not show."""

import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.ops.attention.cache.reference import reference
from agentrl.ops.attention.cache.store import BLOCK, empty, write
from agentrl.ops.attention.cache.xla import xla

SLOTS, HEADS, KV_HEADS, CHANNELS = 2, 4, 2, 8


def filled(dtype, positions):
  """A cache whose every position was written."""
  rng = np.random.default_rng(0)
  k, v = (jnp.asarray(rng.normal(size=(SLOTS, positions, KV_HEADS, CHANNELS)), jnp.float32) for _ in range(2))
  slots = jnp.arange(SLOTS)[:, None]
  at = jnp.broadcast_to(jnp.arange(positions), (SLOTS, positions))
  return write(empty(SLOTS, KV_HEADS, CHANNELS, positions, dtype), slots, at, k, v)


@pytest.mark.parametrize("dtype", ["float32", "int8"])
@pytest.mark.parametrize("queries", [1, 3])
def test_it_is_the_reference(dtype, queries):
  cache = filled(dtype, 2 * BLOCK)
  q = jnp.asarray(np.random.default_rng(1).normal(size=(SLOTS, queries, HEADS, CHANNELS)), jnp.float32)
  at = jnp.asarray([[0, 5, 63], [64, 100, 127]])[:, :queries]
  np.testing.assert_allclose(xla(q, *cache, at), reference(q, *cache, at), rtol=1e-5, atol=1e-5)


def test_what_lies_beyond_the_query_is_not_seen():
  cache, q = filled("float32", 2 * BLOCK), jnp.ones((SLOTS, 1, HEADS, CHANNELS))
  at = jnp.asarray([[10], [70]])
  later = cache._replace(v=cache.v.at[0, :, 11:].set(1e6).at[1, :, 71:].set(1e6))
  np.testing.assert_array_equal(xla(q, *cache, at), xla(q, *later, at))
  seen = cache._replace(v=cache.v.at[0, :, 10].set(1e6))
  assert float(jnp.max(xla(q, *seen, at)[0])) > 1e3
