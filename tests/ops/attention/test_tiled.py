"""What tiles add to forest attention; that its values and gradients are right, test_forest.py shows."""

import jax
import jax.numpy as jnp
import numpy as np

from agentrl.ops.attention.forest import reference_forest_attention
from agentrl.ops.attention.tiled import tiled_forest_attention

TILE = 4


def _arrays(seed, length, *, rows=1, heads=4, kv_heads=2, channels=3):
  rng = np.random.default_rng(seed)
  q = rng.normal(size=(rows, length, heads, channels))
  k, v = rng.normal(size=(2, rows, length, kv_heads, channels))
  return tuple(jnp.asarray(a, jnp.float32) for a in (q, k, v))


def _tiled(q, k, v, ends):
  return tiled_forest_attention(q, k, v, ends, scale=q.shape[-1] ** -0.5, tile=TILE)


def test_tiles_in_which_nothing_is_seen_are_not_touched():
  """NaN times a weight of 0 is NaN: only a tile that is left out keeps the other tree's numbers finite."""
  q, k, v = _arrays(0, 12)
  ends = jnp.asarray([[4] * 4 + [12] * 8])
  poisoned = v.at[:, :TILE].set(jnp.nan)
  out, pullback = jax.vjp(lambda q, k, v: _tiled(q, k, v, ends), q, k, poisoned)
  assert np.all(np.isnan(out[:, :TILE])) and np.all(np.isfinite(out[:, TILE:]))
  d_q, d_k, d_v = pullback(jnp.zeros_like(out).at[:, TILE:].set(1.0))
  assert all(np.all(np.isfinite(d[:, TILE:])) for d in (d_q, d_k, d_v))


def test_a_branch_skips_its_sibling_and_still_sees_the_trunk():
  q, k, v = _arrays(1, 12)
  ends = jnp.asarray([[12] * 4 + [8] * 4 + [12] * 4])  # a trunk, and two branches of a tile each
  poisoned = v.at[:, 4:8].set(jnp.nan)
  out = _tiled(q, k, poisoned, ends)
  wanted = reference_forest_attention(q, k, v, ends)
  np.testing.assert_allclose(out[:, 8:], wanted[:, 8:], atol=1e-6)


def test_rows_of_different_forests_share_a_batch():
  q, k, v = _arrays(2, 11, rows=3)
  ends = jnp.asarray([[11] * 11, [3] * 3 + [9] * 6 + [0] * 2, [0] * 11])
  loss = lambda attend: lambda *x: jnp.sum(jnp.cos(attend(*x, ends)))
  got = jax.value_and_grad(loss(_tiled), argnums=(0, 1, 2))(q, k, v)
  wanted = jax.value_and_grad(loss(reference_forest_attention), argnums=(0, 1, 2))(q, k, v)
  np.testing.assert_allclose(got[0], wanted[0], rtol=1e-6)
  for a, b in zip(got[1], wanted[1], strict=True):
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_large_scores_do_not_overflow():
  q, k, v = _arrays(3, 9)
  ends = jnp.full((1, 9), 9)
  got = jax.value_and_grad(lambda q: jnp.sum(_tiled(300 * q, k, v, ends) ** 2))(q)
  wanted = jax.value_and_grad(lambda q: jnp.sum(reference_forest_attention(300 * q, k, v, ends) ** 2))(q)
  np.testing.assert_allclose(got[0], wanted[0], rtol=1e-4)
  np.testing.assert_allclose(got[1], wanted[1], atol=1e-2)
