"""Who branches from whom, and sums over those who hold a token."""

import dataclasses

import numpy as np
import pytest

from agentrl.batching.forest import Forest
from agentrl.types import StopReason, Trajectory


def trajectory(uid, length, parent=None, fork_at=0):
  """A prompt of two tokens and then sampled ones, all of them 7."""
  mask = np.arange(length) >= 2
  zeros = np.zeros(length, np.float32)
  turn = np.where(mask, 0, -1).astype(np.int32)
  return Trajectory(
    np.full(length, 7, np.int32), mask, zeros, zeros, turn, turn, (), "t", 0, uid, StopReason.ANSWERED,
    {}, 1.0, parent, fork_at,
  )  # fmt: skip


# 1 leaves 0 before its fifth token and 2 leaves 1 before its sixth; 3 leaves 1 before 1 itself left 0.
FOREST = [trajectory(0, 6), trajectory(1, 7, 0, 4), trajectory(2, 8, 1, 5), trajectory(3, 5, 1, 3), trajectory(4, 4)]


def test_a_branch_hangs_from_the_trajectory_that_owns_the_last_token_which_they_share():
  forest = Forest(FOREST)
  assert forest.roots == [0, 4]
  assert forest.children == [[3, 1], [2], [], [], []]
  assert list(forest.descendants(0)) == [0, 3, 1, 2]
  assert [forest.own_start(n) for n in range(5)] == [0, 4, 5, 3, 0]


def test_a_branch_without_its_parent_is_a_root():
  assert Forest(FOREST[1:]).roots == [0, 3]


def test_sums_and_means_by_hand():
  values = [np.full(len(t.tokens), 10.0**n) for n, t in enumerate(FOREST)]
  sums = Forest(FOREST).sums(values)
  np.testing.assert_array_equal(sums[0], [1111, 1111, 1111, 111, 1, 1])
  np.testing.assert_array_equal(sums[1][4:], [110, 10, 10])
  np.testing.assert_array_equal(sums[2][5:], [100, 100, 100])
  np.testing.assert_array_equal(sums[4], [10000] * 4)
  np.testing.assert_allclose(Forest(FOREST).means(values)[0], [1111 / 4] * 3 + [111 / 3, 1, 1])


def test_size_counts_what_stands_behind_the_prefix_once():
  assert Forest(FOREST).size(0, 2) == (4 + 3 + 3 + 2, 4 + 3 + 3 + 2)
  assert Forest(FOREST).size(4, 0) == (4, 2)


def test_a_branch_that_shares_other_tokens_is_refused():
  changed = dataclasses.replace(FOREST[1], tokens=np.arange(7, dtype=np.int32))
  with pytest.raises(ValueError, match=r"trajectory 1 .* is said to share its first 4 tokens with trajectory 0"):
    Forest([FOREST[0], changed])
