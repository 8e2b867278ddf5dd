"""Discounted returns of turns."""

import numpy as np
import pytest

from agentrl.credit.turn_returns import turn_returns
from tests.credit.conftest import dialogue, whitened


@pytest.mark.parametrize(
  ("settings", "first"),
  [({}, 1.0 - 2.0 + 4.0), ({"discount": 0.5}, 1.0 + 0.5 * (-2.0 + 0.5 * 4.0)),
   # behind the first turn lie 2 tokens, behind the second 1
   ({"discount": 0.5, "per_token": True}, 1.0 + 0.25 * (-2.0 + 0.5 * 4.0))],
)  # fmt: skip
def test_by_hand(nobody, settings, first):
  t = dialogue(0, 0, [2, 1, 1], [1.0, -2.0, 4.0])
  credit = turn_returns(nobody, [t], whiten=False, **settings)
  second = -2.0 + settings.get("discount", 1.0) * 4.0
  np.testing.assert_allclose(credit.advantages[0], [0, first, first, 0, second, 0, 4.0])
  np.testing.assert_allclose(credit.metrics["return/mean"], (2 * first + second + 4.0) / 4)


def test_without_discount_a_reward_at_the_end_is_every_tokens(dialogues, nobody):
  ends = [dialogue(n, 0, [2, 1], [0.0, float(n)]) for n in range(3)]
  credit = turn_returns(nobody, ends, whiten=False)
  for n, (t, column) in enumerate(zip(ends, credit.advantages, strict=True)):
    np.testing.assert_array_equal(column, n * t.action_mask)


def test_they_are_whitened_by_token(dialogues, nobody, taken):
  plain, white = (turn_returns(nobody, dialogues, discount=0.9, whiten=w) for w in (False, True))
  wanted = whitened(taken(dialogues, plain.advantages))
  np.testing.assert_allclose(taken(dialogues, white.advantages), wanted, atol=1e-5)
