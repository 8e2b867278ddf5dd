"""Shares of a search's visits."""

import dataclasses

import numpy as np
import pytest

from agentrl.credit.visits import visits
from agentrl.types import VisitShares
from tests.credit.conftest import Told, dialogue


def branch_of(path, uid, fork_at, count, share, path_share, step, q):
  """A sibling step of `path` from `fork_at` on, of `count` tokens."""
  other = dialogue(uid, path.group_id, [fork_at - 1 + count], [q])
  mask = np.append(path.action_mask[:fork_at], np.ones(count, bool))
  tokens = np.append(path.tokens[:fork_at], other.tokens[fork_at:])
  shares = VisitShares(share, path_share, step)
  return dataclasses.replace(other, parent=path.uid, fork_at=fork_at, visits=shares, action_mask=mask, tokens=tokens)


def test_a_token_has_the_share_of_its_step_and_branches_repeat_their_paths():
  path, alone = dialogue(0, 0, [2, 1], [0.0, 1.0]), dialogue(1, 1, [2], [0.5])
  siblings = [
    branch_of(path, 100, 1, 1, 0.25, 0.5, 2, 0.1),
    branch_of(path, 101, 1, 2, 0.25, 0.5, 2, -0.2),
    branch_of(path, 102, 4, 1, 0.125, 0.875, 1, 0.3),
  ]
  everyone = [path, *siblings, alone]
  zeros = Told({"value": [np.zeros(len(t.tokens), np.float32) for t in everyone]})
  credit = visits(zeros, everyone)
  wanted = [[1, 0.5, 0.5, 1, 0.875], [1, 0.25], [1, 0.25, 0.25], [1, 0.5, 0.5, 1, 0.125], [1, 1, 1]]
  for column, shares in zip(credit.advantages, wanted, strict=True):
    np.testing.assert_array_equal(column, np.asarray(shares, np.float32))
  for t, column in zip(everyone, credit.returns, strict=True):
    np.testing.assert_array_equal(column, np.full(len(t.tokens), np.float32(t.reward)))


def test_a_branch_that_is_no_step_of_a_search_is_refused():
  path = dialogue(0, 0, [2, 1], [0.0, 1.0])
  branch = dataclasses.replace(dialogue(7, 0, [3], [0.0]), parent=0, fork_at=2)
  for everyone in ([path, branch], [branch_of(path, 7, 1, 1, 0.5, 0.5, 2, 0.0)]):
    with pytest.raises(ValueError, match="trajectory 7 is no sibling step of a visited path in this batch"):
      visits(Told({}), everyone)
