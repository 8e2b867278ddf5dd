"""The reward of the whole, with and without a value."""

import numpy as np

from agentrl.credit.value_baseline import reward, value_baseline


def test_the_value_in_front_of_a_token_is_taken_off(dialogues, critic, taken):
  credit = value_baseline(critic, dialogues)
  whole = taken(dialogues, [np.full(len(t.tokens), t.reward) for t in dialogues])
  wanted = whole - taken(dialogues, critic.values())
  np.testing.assert_allclose(taken(dialogues, credit.advantages), wanted, atol=1e-6)
  np.testing.assert_array_equal(taken(dialogues, credit.returns), whole)
  np.testing.assert_allclose(credit.metrics["value/error"], np.mean(wanted**2), rtol=1e-5)
  np.testing.assert_allclose(credit.metrics["advantage/mean"], np.mean(wanted), rtol=1e-4)


def test_or_is_not(dialogues, critic, taken):
  credit = reward(critic, dialogues)
  np.testing.assert_array_equal(taken(dialogues, credit.advantages), taken(dialogues, credit.returns))
  np.testing.assert_allclose(credit.metrics["advantage/mean"], np.mean(taken(dialogues, credit.returns)), rtol=1e-5)
