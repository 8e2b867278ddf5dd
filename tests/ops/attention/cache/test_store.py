"""What the cache stores: rounding, and putting positions back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.ops.attention.cache import BLOCK, store


def test_a_part_of_a_block_cannot_be_had():
  with pytest.raises(ValueError, match=r"whole blocks of 64 positions .*; got 100 positions"):
    store.empty(1, 1, 1, 100, "float32")
  with pytest.raises(ValueError, match=r"whole blocks of 64 positions .*; got 32 positions"):
    store.first_positions(store.empty(1, 1, 1, 64, "float32"), 32)
  with pytest.raises(ValueError, match="got 0 positions"):
    store.first_positions(store.empty(1, 1, 1, 64, "float32"), 0)
  with pytest.raises(ValueError, match="the slots have 64 positions; got 128"):
    store.first_positions(store.empty(1, 1, 1, 64, "int8"), 128)


def test_quantisation_error_is_at_most_half_a_level():
  x = jnp.asarray(np.random.default_rng(0).normal(size=(50, 16)), jnp.float32)
  stored = store.quantize(x)
  error = np.abs(np.asarray(stored.values, np.float64) * np.asarray(stored.scale)[:, None] - np.asarray(x))
  bound = np.max(np.abs(np.asarray(x)), axis=-1) / 254
  assert np.all(np.max(error, axis=-1) <= bound * 1.001) and np.max(error) > 0.5 * np.min(bound)


def test_quantised_zeros_stay_zeros():
  stored = store.quantize(jnp.zeros((2, 4)))
  np.testing.assert_array_equal(stored.values, 0)
  np.testing.assert_array_equal(stored.scale, 0.0)


@pytest.mark.parametrize("dtype", store.CACHE_DTYPES)
def test_positions_of_some_slots_are_put_back_and_nothing_else(dtype):
  rng = np.random.default_rng(0)
  shapes = store.empty(4, 2, 3, 2 * BLOCK, dtype)
  whole = jax.tree.map(lambda a: jnp.asarray(rng.integers(-99, 99, a.shape), a.dtype), shapes)
  slots = jnp.asarray([2, 0])
  part = jax.tree.map(lambda a: a + 1, store.of_slots(whole, slots))
  copied = store.copy_positions(whole, part, slots, jnp.asarray([[62, 63, 64], [126, 127, 128]]))
  changed = np.zeros((4, 2 * BLOCK), bool)
  changed[2, 62:65] = changed[0, 126:] = True
  for held, new in zip(jax.tree.leaves(whole), jax.tree.leaves(copied), strict=True):
    difference = np.asarray(new, float) - np.asarray(held, float)
    if difference.ndim == 5:  # keys: blocks, channels, positions
      difference = difference.swapaxes(3, 4).reshape(4, 2, 2 * BLOCK, 3)
    difference = difference.swapaxes(1, 2).reshape(4, 2 * BLOCK, -1)
    np.testing.assert_array_equal(difference, np.broadcast_to(changed[:, :, None], difference.shape))
