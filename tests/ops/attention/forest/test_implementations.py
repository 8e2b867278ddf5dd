"""Every implementation of forest attention against float64: values, gradients, padding, tiles that are left out.

Triton's kernels take part where its interpreter was chosen: TRITON_INTERPRET=1 pytest -k triton. The interpreter is
chosen when Triton is imported, so `test_triton.py` does that in a process of its own.
"""

import functools
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.ops.attention.forest.cudnn import causal_attention
from agentrl.ops.attention.forest.pallas import pallas_forest_attention
from agentrl.ops.attention.forest.reference import reference_forest_attention
from agentrl.ops.attention.forest.specs import chain, group, side_by_side, tree
from agentrl.ops.attention.forest.tiled import tiled_forest_attention
from agentrl.ops.attention.forest.triton import Block, Blocks, triton_forest_attention

TILE = 16
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
BLOCKS = Blocks(TILE, Block(TILE, TILE, 4, 1), Block(TILE, TILE, 4, 1), Block(TILE, TILE, 4, 1))
SKIPPING = {
  "tiled": functools.partial(tiled_forest_attention, tile=TILE),
  "pallas": functools.partial(pallas_forest_attention, tile=TILE, interpret=True),
  "triton": functools.partial(triton_forest_attention, blocks=BLOCKS),
}
IMPLEMENTATIONS = {"reference": reference_forest_attention, **SKIPPING}
SCALE = 0.4
ATOL = {jnp.float32: 1e-5, jnp.bfloat16: 2e-2}


def names(table):
  needs = pytest.mark.skipif(not INTERPRETED, reason="needs TRITON_INTERPRET=1; see test_triton.py")
  return [pytest.param(name, marks=needs if name == "triton" else ()) for name in table]


def forests(length):
  """A tree of trees, packed chains and padding, one chain, and nothing but padding."""
  branches = [chain(3), group(2, 4, 5), chain(length - 22)]
  packed = side_by_side([chain(9), chain(1), group(3, 2, 2)], length)
  return np.stack([tree(5, branches), packed, chain(length), np.zeros(length, np.int32)])


def arrays(length, dtype, std=1.0):
  """Scores of standard deviation `std`, about."""
  rng = np.random.default_rng(length)
  q = rng.normal(size=(4, length, 4, 8)) * std / (SCALE * 8**0.5)
  k, v = rng.normal(size=(2, 4, length, 2, 8))
  return [jnp.asarray(a, dtype) for a in (q, k, v, rng.normal(size=q.shape))]


@functools.cache
def compiled(name):
  @jax.jit
  def run(q, k, v, d_out, ends):
    out, pull = jax.vjp(lambda q, k, v: IMPLEMENTATIONS[name](q, k, v, ends, scale=SCALE), q, k, v)
    return out, *pull(d_out)

  return run


def exact(q, k, v, d_out, ends):
  """Output and gradients from the formulas, in float64, a head at a time."""
  q, k, v, d_out = (np.asarray(a, np.float64) for a in (q, k, v, d_out))
  index = np.arange(q.shape[1])
  out, d_q, d_k, d_v = np.zeros_like(q), np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
  for b, h in np.ndindex(q.shape[0], q.shape[2]):
    g = h * k.shape[2] // q.shape[2]
    seen = (index[None] <= index[:, None]) & (index[:, None] < ends[b][None])
    scores = np.where(seen, q[b, :, h] @ k[b, :, g].T * SCALE, -1e30)
    weights = np.exp(scores - scores.max(axis=1, keepdims=True)) * seen
    weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1e-300)
    out[b, :, h] = weights @ v[b, :, g]
    d_weights = d_out[b, :, h] @ v[b, :, g].T
    d_scores = weights * (d_weights - (d_weights * weights).sum(axis=1, keepdims=True)) * SCALE
    d_q[b, :, h] = d_scores @ k[b, :, g]
    d_k[b, :, g] += d_scores.T @ q[b, :, h]
    d_v[b, :, g] += weights.T @ d_out[b, :, h]
  return out, d_q, d_k, d_v


def assert_close(got, wanted, dtype, factor=1.0):
  for name, a, b in zip(("out", "d_q", "d_k", "d_v"), got, wanted, strict=True):
    a = np.asarray(a, np.float64)
    error = np.linalg.norm(a - b) / np.linalg.norm(b)
    assert error < ATOL[dtype] * factor, f"{name}: relative error {error:.1e}"


@pytest.mark.parametrize("std", [0.3, 3.0, 30.0])
@pytest.mark.parametrize(("length", "dtype"), [(33, jnp.float32), (33, jnp.bfloat16), (47, jnp.float32)])
@pytest.mark.parametrize("name", names(IMPLEMENTATIONS))
def test_values_and_gradients(name, length, dtype, std):
  ends = forests(length)
  inputs = arrays(length, dtype, std)
  got = compiled(name)(*inputs, jnp.asarray(ends))
  # Rounding a score of 30 moves its weight by as much more.
  assert_close(got, exact(*inputs, ends), dtype, factor=max(1.0, std / 3))
  assert all(a.dtype == dtype for a in got)


@pytest.mark.parametrize("name", names(IMPLEMENTATIONS))
def test_padding_gives_exact_zeros(name):
  ends = forests(33)
  for a in compiled(name)(*arrays(33, jnp.float32), jnp.asarray(ends)):
    np.testing.assert_array_equal(np.where((ends > 0)[:, :, None, None], 0.0, a), 0.0)


@pytest.mark.parametrize("name", names(SKIPPING))
def test_tiles_in_which_nothing_is_seen_are_not_touched(name):
  """NaN times a weight of 0 is NaN: only a tile that is left out keeps the other branch's numbers finite."""
  # A trunk and two branches; in tiles of 11, as "tiled" makes them of 33, and in tiles of 16.
  trunk, middle = (11, 11) if name == "tiled" else (16, 16)
  ends = tree(trunk, [chain(middle), chain(33 - trunk - middle)])
  q, k, v, d_out = arrays(33, jnp.float32)
  poisoned = v.at[:, trunk : trunk + middle].set(jnp.nan)
  quiet = d_out.at[:, : trunk + middle].set(0.0)
  out, d_q, d_k, d_v = compiled(name)(q, k, poisoned, quiet, jnp.asarray(np.stack([ends] * 4)))
  assert np.all(np.isnan(out[:, trunk : trunk + middle]))
  wanted = exact(q, k, v, quiet, np.stack([ends] * 4))
  last = slice(trunk + middle, None)
  for got, right in zip((out, d_q, d_k, d_v), wanted, strict=True):
    np.testing.assert_allclose(got[:, last], right[:, last], atol=1e-5)


def test_the_causal_form_is_right_on_chains_and_nan_elsewhere():
  rows = [chain(33), side_by_side([chain(20)], 33), side_by_side([chain(20), chain(10)], 33), np.zeros(33, np.int32)]
  ends = np.stack(rows)
  inputs = arrays(33, jnp.float32)
  out = causal_attention(*inputs[:3], jnp.asarray(ends), scale=SCALE, backend="xla")
  wanted = exact(*inputs, ends)[0]
  assert np.all(np.isnan(out[2]))
  np.testing.assert_allclose(out[np.array([0, 1, 3])], wanted[[0, 1, 3]], atol=1e-5)
