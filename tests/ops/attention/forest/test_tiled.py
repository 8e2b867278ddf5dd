"""What tiles add to forest attention; values and gradients are in test_implementations.py."""

import jax
import jax.numpy as jnp
import numpy as np

from agentrl.ops.attention.forest.reference import reference_forest_attention
from agentrl.ops.attention.forest.tiled import tiled_forest_attention

TILE = 4


def _arrays(seed, length, *, rows=1, heads=4, kv_heads=2, channels=3):
  rng = np.random.default_rng(seed)
  q = rng.normal(size=(rows, length, heads, channels))
  k, v = rng.normal(size=(2, rows, length, kv_heads, channels))
  return tuple(jnp.asarray(a, jnp.float32) for a in (q, k, v))


def _tiled(q, k, v, ends):
  return tiled_forest_attention(q, k, v, ends, scale=q.shape[-1] ** -0.5, tile=TILE)


def _reference(q, k, v, ends):
  return reference_forest_attention(q, k, v, ends, scale=q.shape[-1] ** -0.5)


def test_rows_of_different_forests_share_a_batch():
  q, k, v = _arrays(2, 11, rows=3)
  ends = jnp.asarray([[11] * 11, [3] * 3 + [9] * 6 + [0] * 2, [0] * 11])
  loss = lambda attend: lambda *x: jnp.sum(jnp.cos(attend(*x, ends)))
  got = jax.value_and_grad(loss(_tiled), argnums=(0, 1, 2))(q, k, v)
  wanted = jax.value_and_grad(loss(_reference), argnums=(0, 1, 2))(q, k, v)
  np.testing.assert_allclose(got[0], wanted[0], rtol=1e-6)
  for a, b in zip(got[1], wanted[1], strict=True):
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_large_scores_do_not_overflow():
  q, k, v = _arrays(3, 9)
  ends = jnp.full((1, 9), 9)
  got = jax.value_and_grad(lambda q: jnp.sum(_tiled(300 * q, k, v, ends) ** 2))(q)
  wanted = jax.value_and_grad(lambda q: jnp.sum(_reference(300 * q, k, v, ends) ** 2))(q)
  np.testing.assert_allclose(got[0], wanted[0], rtol=1e-4)
  np.testing.assert_allclose(got[1], wanted[1], atol=1e-2)
