"""Turns of rows of tokens."""

import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.credit import columns, turns


@pytest.fixture
def rows(dialogues):
  return columns.rows_of(dialogues)[0]


@pytest.mark.parametrize(
  ("per_token", "discounts"), [(False, [0.5, 0.5, 0.0]), (True, [0.5, 0.25, 0.0])]
)  # turns of 1, 2 and 1 tokens
def test_what_a_turn_earned_and_how_it_discounts(rows, per_token, discounts):
  found = turns.turns_of(rows, 4, discount=0.5, per_token=per_token)
  assert found.mask.tolist()[:5] == [[u < n for u in range(4)] for n in (2, 1, 3, 2, 1)]  # and no turn on padding
  assert not found.mask[5:].any()
  assert found.rewards[2].tolist() == [0.0, -0.25, 0.25, 0.0]
  assert found.discounts[2, :3].tolist() == discounts


def test_from_tokens_to_turns_and_back(rows):
  numbers = jnp.asarray(np.arange(rows.mask.size, dtype=np.float32).reshape(rows.mask.shape))
  assert turns.sums(numbers, rows, 4)[2].tolist() == [8.0, 9.0 + 10.0, 11.0, 0.0]
  assert turns.at_starts(numbers, rows, 4)[2].tolist() == [8.0, 9.0, 11.0, 0.0]
  assert turns.at_tokens(turns.at_starts(numbers, rows, 4), rows)[2].tolist() == [8.0, 9.0, 9.0, 11.0]
  assert turns.at_tokens(turns.at_starts(numbers, rows, 4), rows)[5].tolist() == [0.0] * 4
