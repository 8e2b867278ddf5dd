"""Forest attention: a token sees itself and its ancestors, and nothing else."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrl.ops.attention import forest
from agentrl.ops.attention.forest.reference import reference_forest_attention
from agentrl.ops.attention.forest.tiled import tiled_forest_attention


def _with_default_scale(attend):
  return lambda q, *rest, scale=None: attend(q, *rest, scale=q.shape[-1] ** -0.5 if scale is None else scale)


ATTENTIONS = {
  "plain": _with_default_scale(reference_forest_attention),
  "tiled": _with_default_scale(functools.partial(tiled_forest_attention, tile=3)),
}

# Depth first: 0 -> (1 -> 2, 3), a second tree 4 -> 5, then one token of padding.
SUBTREE_END = np.array([4, 3, 3, 4, 6, 6, 0], np.int32)
ANCESTORS = [[0], [0, 1], [0, 1, 2], [0, 3], [4], [4, 5], []]


@pytest.fixture(params=ATTENTIONS)
def attention(request):
  return ATTENTIONS[request.param]


def _inputs(seed, *, rows=2, length=7, heads=4, kv_heads=2, channels=3, scale=1.0, dtype=np.float32):
  rng = np.random.default_rng(seed)
  q = rng.normal(size=(rows, length, heads, channels)) * scale
  k, v = rng.normal(size=(2, rows, length, kv_heads, channels))
  return tuple(jnp.asarray(x, dtype) for x in (q, k, v))


def _naive(q, k, v, ancestors, scale):
  """One token, head and ancestor at a time, in float64."""
  q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
  group = q.shape[2] // k.shape[2]
  out = np.zeros(q.shape)
  for b in range(q.shape[0]):
    for i, seen in enumerate(ancestors):
      for h in range(q.shape[2]):
        if not seen:
          continue
        weights = np.exp([scale * q[b, i, h] @ k[b, j, h // group] for j in seen])
        out[b, i, h] = sum(w * v[b, j, h // group] for w, j in zip(weights, seen, strict=True)) / weights.sum()
  return out


@pytest.mark.parametrize("compiled", [False, True])
def test_matches_naive_loop_over_ancestors(attention, compiled):
  q, k, v = _inputs(0)
  ends = jnp.asarray(np.stack([SUBTREE_END] * 2))
  attend = jax.jit(attention) if compiled else attention
  np.testing.assert_allclose(attend(q, k, v, ends), _naive(q, k, v, ANCESTORS, 3**-0.5), atol=1e-5)


def test_explicit_scale_is_used(attention):
  q, k, v = _inputs(1)
  ends = jnp.asarray(np.stack([SUBTREE_END] * 2))
  np.testing.assert_allclose(attention(q, k, v, ends, scale=0.1), _naive(q, k, v, ANCESTORS, 0.1), atol=1e-5)


def test_hand_constant(attention):
  # One head, one channel, two tokens in a chain, scale 1: token 1 scores ln 3 * 1 on token 0 and ln 3 * 0 on itself,
  # so its weights are 3/4 and 1/4 and its output 3/4 * 8 + 1/4 * 4 = 7; token 0 sees itself alone: 8.
  q = jnp.full((1, 2, 1, 1), np.log(3.0), jnp.float32)
  k = jnp.asarray([1.0, 0.0]).reshape(1, 2, 1, 1)
  v = jnp.asarray([8.0, 4.0]).reshape(1, 2, 1, 1)
  out = attention(q, k, v, jnp.asarray([[2, 2]]), scale=1.0)
  np.testing.assert_allclose(out.reshape(2), [8.0, 7.0], rtol=1e-6)


def test_padding_gives_zero_and_finite_gradients(attention):
  q, k, v = _inputs(2, scale=30.0)
  ends = jnp.asarray(np.stack([SUBTREE_END, np.zeros_like(SUBTREE_END)]))
  out = attention(q, k, v, ends)
  np.testing.assert_array_equal(out[0, -1], 0.0)
  np.testing.assert_array_equal(out[1], 0.0)
  gradients = jax.grad(lambda *x: jnp.sum(attention(*x, ends) ** 2), argnums=(0, 1, 2))(q, k, v)
  chex.assert_tree_all_finite(gradients)
  np.testing.assert_array_equal(gradients[0][1], 0.0)


def test_shared_trunk_equals_separate_rows(attention):
  """Branches see their trunk and never each other: each gives what it gives in a row of its own."""
  q, k, v = _inputs(3, rows=1, length=8)
  shared = attention(q, k, v, jnp.asarray([[8, 8, 5, 5, 5, 8, 8, 8]]))  # trunk 0-1, branches 2-4 and 5-7
  for branch in ([2, 3, 4], [5, 6, 7]):
    keep = np.array([0, 1, *branch])
    alone = attention(q[:, keep], k[:, keep], v[:, keep], jnp.full((1, 5), 5))
    np.testing.assert_allclose(shared[:, keep], alone, atol=1e-6)


def _value_and_gradients(attend):
  return jax.jit(jax.value_and_grad(lambda q, k, v, ends: jnp.sum(jnp.sin(attend(q, k, v, ends))), argnums=(0, 1, 2)))


_COMPILED = {name: _value_and_gradients(attend) for name, attend in ATTENTIONS.items()}


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.floats(0, 1), min_size=7, max_size=7))
def test_tiled_and_plain_agree_on_random_forests(cuts):
  path, ends = [], np.zeros(7, np.int32)
  for i, cut in enumerate(cuts):
    del path[round(cut * len(path)) :]  # climb to an ancestor, or start a new tree
    path.append(i)
    ends[path] = i + 1
  arrays = (*_inputs(0, rows=1), jnp.asarray(ends)[None])
  chex.assert_trees_all_close(_COMPILED["plain"](*arrays), _COMPILED["tiled"](*arrays), atol=1e-5)


def test_long_rows_take_the_tiled_path_with_the_same_values():
  length = 2 * forest.TILE["cpu"] + 1
  q, k, v = _inputs(4, rows=1, length=length, heads=1, kv_heads=1, channels=2)
  ends = jnp.full((1, length), length)
  plain = functools.partial(forest.forest_attention, implementation="reference")
  np.testing.assert_allclose(forest.forest_attention(q, k, v, ends), plain(q, k, v, ends), atol=1e-5)
  temporary = lambda f: jax.jit(f).lower(q, k, v, ends).compile().memory_analysis().temp_size_in_bytes
  assert temporary(forest.forest_attention) < temporary(plain)


def test_bfloat16_keeps_its_dtype_and_stays_close(attention):
  arrays = _inputs(5, dtype=jnp.bfloat16)
  ends = jnp.asarray(np.stack([SUBTREE_END] * 2))
  out = attention(*arrays, ends)
  assert out.dtype == jnp.bfloat16
  np.testing.assert_allclose(out.astype(jnp.float32), _naive(*arrays, ANCESTORS, 3**-0.5), atol=3e-2)


@pytest.mark.parametrize(
  ("q_shape", "kv_shape", "ends_shape", "message"),
  [
    ((1, 4, 3, 2), (1, 4, 2, 2), (1, 4), "multiple of K"),
    ((1, 4, 2, 2), (1, 5, 2, 2), (1, 4), "needs q"),
    ((1, 4, 2, 2), (1, 4, 2, 2), (4,), "one end per token"),
    ((4, 2, 2), (1, 4, 2, 2), (1, 4), "needs q"),
    ((1, 4, 2, 2), (4, 2, 2), (1, 4), "needs q"),
  ],
)
def test_shapes_that_do_not_fit_are_named(q_shape, kv_shape, ends_shape, message):
  with pytest.raises(ValueError, match=message):
    forest.forest_attention(jnp.ones(q_shape), jnp.ones(kv_shape), jnp.ones(kv_shape), jnp.ones(ends_shape, jnp.int32))


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"implementation": "tilde"}, "did you mean 'tiled'"),
    ({"implementation": "triton"}, 'implementation="triton" needs an NVIDIA GPU'),
    ({"implementation": "pallas"}, 'implementation="pallas" runs on a TPU'),
    ({"implementation": "cudnn"}, 'implementation="cudnn" runs on a GPU'),
  ],
)
def test_an_implementation_that_cannot_run_here_is_refused(settings, message):
  q, k, v = _inputs(6)
  with pytest.raises(ValueError, match=message):
    forest.forest_attention(q, k, v, jnp.ones((2, 7), jnp.int32), **settings)


def test_dtypes_that_do_not_fit_are_named():
  q, k, v = _inputs(7)
  ends = jnp.ones((2, 7), jnp.int32)
  with pytest.raises(ValueError, match="share one dtype of float32, bfloat16, float16; got float32, bfloat16"):
    forest.forest_attention(q, k.astype(jnp.bfloat16), v, ends)
  with pytest.raises(ValueError, match="share one dtype"):
    forest.forest_attention(*(a.astype(jnp.int32) for a in (q, k, v)), ends)
  with pytest.raises(ValueError, match="subtree_end must be integers"):
    forest.forest_attention(q, k, v, ends.astype(jnp.float32))
