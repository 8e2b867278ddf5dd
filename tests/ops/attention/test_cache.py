"""Attention over the slot cache, against one query, head and position at a time."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.ops.attention.cache import BLOCK, cache_attention


def _arrays(seed, *, slots=3, queries=2, heads=4, kv_heads=2, channels=5, positions=2 * BLOCK, dtype=jnp.float32):
  rng = np.random.default_rng(seed)
  q = rng.normal(size=(slots, queries, heads, channels))
  k = rng.normal(size=(slots, kv_heads, channels, positions))
  v = rng.normal(size=(slots, kv_heads, positions, channels))
  return tuple(jnp.asarray(a, dtype) for a in (q, k, v))


def _naive(q, k, v, positions):
  q, k, v = (np.asarray(a, np.float64) for a in (q, k, v))
  group, out = q.shape[2] // k.shape[1], np.zeros(q.shape)
  for b, i, h in np.ndindex(*q.shape[:3]):
    seen = int(positions[b, i]) + 1
    scores = q[b, i, h] @ k[b, h // group, :, :seen] / np.sqrt(q.shape[3])
    weights = np.exp(scores - scores.max())
    out[b, i, h] = weights @ v[b, h // group, :seen] / weights.sum()
  return out


@pytest.mark.parametrize("positions", [2 * BLOCK, 2 * BLOCK + 7, 5])
def test_matches_the_naive_loop_for_any_length(positions):
  q, k, v = _arrays(0, positions=positions)
  at = jnp.asarray([[0, 1], [positions - 2, positions - 1], [3, 2]])
  np.testing.assert_allclose(jax.jit(cache_attention)(q, k, v, at), _naive(q, k, v, at), atol=1e-5)


def test_what_lies_behind_a_query_is_never_seen():
  q, k, v = _arrays(1)
  at = jnp.full((3, 2), 9)
  junk = jnp.arange(2 * BLOCK) > 9
  got = cache_attention(q, jnp.where(junk, 1e9, k), jnp.where(junk[:, None], 1e9, v), at)
  np.testing.assert_allclose(got, _naive(q, k, v, at), atol=1e-5)


def test_reading_more_of_the_cache_changes_no_bit():
  q, k, v = _arrays(2, slots=32, queries=1, heads=6, kv_heads=2, channels=16, positions=6 * BLOCK)
  at = jnp.asarray(np.random.default_rng(0).integers(0, BLOCK, (32, 1)))

  @functools.partial(jax.jit, static_argnames="length")
  def read(q, k, v, *, length):
    return cache_attention(q, k[..., :length], v[:, :, :length], at)

  for blocks in (1, 2, 3, 4):
    np.testing.assert_array_equal(read(q, k, v, length=blocks * BLOCK), read(q, k, v, length=6 * BLOCK))


def test_bfloat16_keeps_its_dtype():
  q, k, v = _arrays(3, dtype=jnp.bfloat16)
  at = jnp.full((3, 2), 40)
  out = cache_attention(q, k, v, at)
  assert out.dtype == jnp.bfloat16
  np.testing.assert_allclose(out.astype(jnp.float32), _naive(q, k, v, at), atol=3e-2)


def test_shapes_that_do_not_fit_are_refused():
  q, k, v = _arrays(4)
  with pytest.raises(AssertionError):
    cache_attention(q, k, v[:, :, :-1], jnp.zeros((3, 2), jnp.int32))
