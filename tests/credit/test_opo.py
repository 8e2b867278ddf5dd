"""The length-weighted baseline."""

import numpy as np

from agentrl.credit.opo import opo
from tests.credit.conftest import dialogue


def test_the_baseline_is_the_mean_reward_by_token(dialogues, nobody):
  credit = opo(nobody, dialogues)
  for t, column in zip(dialogues, credit.advantages, strict=True):
    group = [o for o in dialogues if o.group_id == t.group_id]
    lengths = np.asarray([o.action_mask.sum() for o in group])
    baseline = np.sum(lengths * [o.reward for o in group]) / np.sum(lengths)
    np.testing.assert_allclose(column, t.reward - baseline, rtol=1e-5, atol=1e-6)


def test_by_hand(nobody):
  # lengths 1 and 3, rewards 1 and 0: b = 1 / 4
  credit = opo(nobody, [dialogue(0, 0, [1], [1.0]), dialogue(1, 0, [3], [0.0])])
  assert [column[0] for column in credit.advantages] == [0.75, -0.25]


def test_equal_rewards_are_exactly_nothing_and_equal_lengths_the_mean(nobody):
  same = [dialogue(n, 3, [n + 1], [0.7]) for n in range(3)]
  assert not any(np.any(column) for column in opo(nobody, same).advantages)
  equal = [dialogue(n, 3, [2], [float(n)]) for n in range(3)]
  assert [column[0] for column in opo(nobody, equal).advantages] == [-1.0, 0.0, 1.0]
