"""Shares that add up: by any split of the rows, and with any padding."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.ops import reduce

# Three sequences of 2, 1 and 3 tokens in three rows of four.
VALUES = jnp.asarray([[1.0, 3.0, jnp.nan, 9.0], [5.0, 9.0, 9.0, 9.0], [2.0, 4.0, 6.0, 9.0]])
SEQUENCE = jnp.asarray([[0, 0, 4, 4], [1, 4, 4, 4], [2, 2, 2, 4]])
MASK = SEQUENCE < 4
LENGTH = jnp.asarray([2.0, 1.0, 3.0, 0.0])  # the fourth is padding
GROUP = jnp.asarray([0, 1, 0, 4])

SETTINGS = {"token_mean": {}, "sequence_mean": {}, "sequence_sum_norm": {"constant": 10.0}, "prompt_mean": {}}
EXPECTED = {
  "token_mean": (1 + 3 + 5 + 2 + 4 + 6) / 6,
  "sequence_mean": (4 / 2 + 5 / 1 + 12 / 3) / 3,
  "sequence_sum_norm": (4 + 5 + 12) / (3 * 10),
  "prompt_mean": ((4 + 12) / (2 + 3) + 5 / 1) / 2,
}


@pytest.fixture(params=reduce.REDUCTIONS)
def name(request):
  return request.param


@pytest.fixture
def reduction(name):
  return functools.partial(reduce.REDUCTIONS[name], **SETTINGS[name])


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit])
def test_by_hand(name, reduction, wrap):
  assert wrap(reduction)(VALUES, MASK, SEQUENCE, LENGTH, GROUP) == pytest.approx(EXPECTED[name], rel=1e-6)


@pytest.mark.parametrize("split", [[[0], [1], [2]], [[0, 1], [2]], [[2, 0], [1]]])
def test_shares_of_any_split_add_up_in_value_and_gradient(reduction, split):
  def total(values, split):
    return sum(reduction(values[np.array(r)], MASK[np.array(r)], SEQUENCE[np.array(r)], LENGTH, GROUP) for r in split)

  whole, parts = (jax.value_and_grad(total)(VALUES, s) for s in ([[0, 1, 2]], split))
  np.testing.assert_allclose(parts[0], whole[0], rtol=1e-6)
  np.testing.assert_allclose(parts[1], whole[1], rtol=1e-6)


def test_padding_changes_nothing_and_gets_no_gradient(reduction):
  pad = lambda x, fill: jnp.pad(x, ((0, 2), (3, 0)), constant_values=fill)
  layout = pad(MASK, False), pad(jnp.where(MASK, SEQUENCE, 9), 9)
  lengths = jnp.pad(LENGTH, (0, 5)), jnp.pad(jnp.where(GROUP < 4, GROUP, 9), (0, 5), constant_values=9)
  arguments = pad(VALUES, jnp.nan), *layout, *lengths
  value, gradient = jax.value_and_grad(reduction)(*arguments)
  np.testing.assert_allclose(value, reduction(VALUES, MASK, SEQUENCE, LENGTH, GROUP), rtol=1e-6)
  np.testing.assert_array_equal(jnp.where(arguments[1], 0.0, gradient), 0.0)


def test_an_empty_batch_is_zero(reduction):
  nothing = jnp.zeros((1, 2), bool)
  assert reduction(jnp.ones((1, 2)), nothing, jnp.full((1, 2), 4), jnp.zeros(4), jnp.full(4, 4)) == 0


def test_low_precision_values_are_summed_in_float32():
  values = jnp.ones((1, 4096), jnp.bfloat16)
  assert reduce.token_mean(values, jnp.ones((1, 4096), bool), 4096) == 1


def test_a_long_wrong_answer_is_punished_in_full_only_without_its_length():
  """Dr.GRPO: the gradient on each token of a sequence does not shrink with the sequence's length."""

  def per_token(name, length):
    mask, sequence = jnp.ones((1, length), bool), jnp.zeros((1, length), jnp.int32)
    f = functools.partial(reduce.REDUCTIONS[name], **SETTINGS[name])
    return jax.grad(f)(jnp.ones((1, length)), mask, sequence, jnp.asarray([float(length)]), jnp.zeros(1, jnp.int32))[
      0, 0
    ]

  assert per_token("sequence_sum_norm", 2) == per_token("sequence_sum_norm", 8)
  assert per_token("sequence_mean", 2) == 4 * per_token("sequence_mean", 8)


def test_a_mask_of_another_shape_is_refused():
  with pytest.raises(ValueError, match="one mask entry per value"):
    reduce.token_mean(VALUES, MASK[0], 6)


@pytest.mark.parametrize(
  ("name", "settings", "wanted"),
  [
    ("token_mean", {}, [1 / 6, 1 / 6, 0, 1 / 6]),
    ("sequence_mean", {}, [1 / 2 / 3, 1 / 3, 0, 1 / 3 / 3]),
    ("sequence_sum_norm", {"constant": 5.0}, [1 / 15, 1 / 15, 0, 1 / 15]),
    ("prompt_mean", {}, [1 / 3 / 2, 1 / 3 / 2, 0, 1 / 3 / 2]),
  ],
)
def test_token_weights_are_what_a_reduction_puts_before_a_token(name, settings, wanted):
  """Sequences of 2, 1, 0 and 3 tokens, the first two of one prompt."""
  chosen = functools.partial(reduce.REDUCTIONS[name], **settings)
  weights = reduce.token_weights(chosen, jnp.asarray([2.0, 1.0, 0.0, 3.0]), jnp.asarray([0, 0, 1, 1]))
  np.testing.assert_allclose(weights, wanted, rtol=1e-6)
