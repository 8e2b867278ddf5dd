"""Rows of forests by hand: where the descendants of each token end."""

import numpy as np
import pytest

from agentrl.ops.attention.forest import specs


def test_forests_by_hand():
  np.testing.assert_array_equal(specs.chain(3), [3, 3, 3])
  np.testing.assert_array_equal(specs.group(2, 2, 1), [4, 4, 3, 4])  # a prompt of 2, then two samples of 1
  np.testing.assert_array_equal(specs.tree(1, [specs.chain(2), specs.chain(1)]), [4, 3, 3, 4])
  np.testing.assert_array_equal(specs.side_by_side([specs.chain(2), specs.chain(1)], 5), [2, 2, 3, 0, 0])


def test_visible_pairs_are_counted_as_by_a_loop():
  for row in (specs.group(2, 2, 1), specs.side_by_side([specs.chain(2), specs.chain(1)], 5), specs.chain(4)):
    wanted = sum(j <= i < row[j] for i in range(len(row)) for j in range(len(row)))
    assert specs.visible_pairs(row) == wanted


@pytest.mark.parametrize("length", [192, 256, 1000])
def test_example_rows_are_whole_and_the_first_is_the_densest(length):
  table = specs.example_rows(length)
  assert {len(row) for row in table.values()} == {length}
  pairs = {name: specs.visible_pairs(row) for name, row in table.items()}
  assert max(pairs, key=pairs.__getitem__) == specs.ONE_CHAIN
  for row in table.values():
    inside = np.flatnonzero(row)
    assert (row[inside] > inside).all()  # a token sees itself
