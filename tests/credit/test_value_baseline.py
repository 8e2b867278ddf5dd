"""The reward of the whole, with and without a value."""

import numpy as np

from agentrl.credit.value_baseline import reward, value_baseline
from tests.credit.conftest import Told, dialogue


def test_the_value_in_front_of_a_token_is_taken_off(dialogues, critic, taken):
  credit = value_baseline(critic, dialogues)
  whole = taken(dialogues, [np.full(len(t.tokens), t.reward) for t in dialogues])
  wanted = whole - taken(dialogues, critic.values())
  np.testing.assert_allclose(taken(dialogues, credit.advantages), wanted, atol=1e-6)
  np.testing.assert_array_equal(taken(dialogues, credit.returns), whole)
  np.testing.assert_allclose(credit.metrics["value/error"], np.mean(wanted**2), rtol=1e-5)
  np.testing.assert_allclose(credit.metrics["advantage/mean"], np.mean(wanted), rtol=1e-4)


def test_metrics_count_a_token_once_that_branches_share():
  path = dialogue(0, 7, [2, 1], [0.0, 2.0])  # tokens 7 | 2 2 | 1 | 2
  branch = dialogue(1, 7, [3], [-1.0], parent=0, fork_at=2)  # 7 | 2 | 2 2: holds one token of the path
  told = Told({"value": [np.float32([0, 1, 0, 0, 1]), np.float32([0, 1, 2, 0])]})
  metrics = value_baseline(told, [path, branch]).metrics
  # R - V of the path 1, 2, 1, of the branch -2, -3, -1; the first token has both: means -0.5, 2, 1, -3, -1 of A, and
  # 2.5, 4, 1, 9, 1 of the squares.
  np.testing.assert_allclose(metrics["advantage/mean"], -1.5 / 5)
  np.testing.assert_allclose(metrics["value/error"], 17.5 / 5)


def test_or_is_not(dialogues, critic, taken):
  credit = reward(critic, dialogues)
  np.testing.assert_array_equal(taken(dialogues, credit.advantages), taken(dialogues, credit.returns))
  np.testing.assert_allclose(credit.metrics["advantage/mean"], np.mean(taken(dialogues, credit.returns)), rtol=1e-5)
