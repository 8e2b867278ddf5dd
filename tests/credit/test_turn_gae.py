"""GAE over turns against a walk over the turns."""

import numpy as np
import pytest

from agentrl.credit.turn_gae import turn_gae
from tests.credit.conftest import Told, dialogue, whitened


def naive(t, values, discount, gae_lambda, per_token):
  """(advantage, value) of each turn of a trajectory, the value in front of its first token."""
  starts = [values[turn.start] for turn in t.turns]
  out, following, trace = [], 0.0, 0.0
  for turn, value in zip(reversed(t.turns), reversed(starts), strict=True):
    weight = discount ** (turn.end - turn.start if per_token else 1)
    trace = turn.reward + weight * following - value + weight * gae_lambda * trace
    out, following = [(trace, value), *out], value
  return out


@pytest.mark.parametrize("per_token", [False, True])
def test_against_a_walk_over_the_turns(dialogues, critic, taken, per_token):
  credit = turn_gae(critic, dialogues, discount=0.9, gae_lambda=0.8, per_token=per_token, whiten=False)
  advantages, targets = [], []
  for t, values in zip(dialogues, critic.values(), strict=True):
    for turn, (advantage, value) in zip(t.turns, naive(t, values, 0.9, 0.8, per_token), strict=True):
      advantages += [advantage] * (turn.end - turn.start)
      targets += [advantage + value] * (turn.end - turn.start)
  np.testing.assert_allclose(taken(dialogues, credit.advantages), advantages, atol=1e-5)
  np.testing.assert_allclose(taken(dialogues, credit.returns), targets, atol=1e-5)
  error = np.asarray(targets) - taken(dialogues, critic.values())
  explained = 1 - np.var(error) / np.var(targets)
  np.testing.assert_allclose(credit.metrics["value/explained_variance"], explained, atol=1e-5)


def test_by_hand():
  # Turns of 2 and 1 tokens, rewards 1 and 4, gamma 1/2 per turn, V = 2 and 6: delta_1 = 4 - 6 = -2,
  # delta_0 = 1 + 1/2 6 - 2 = 2, and A_0 = 2 + 1/2 (-2) = 1.
  t = dialogue(0, 0, [2, 1], [1.0, 4.0])
  values = np.asarray([0, 2, 9, 0, 6], np.float32)  # 9 stands in the middle of a turn
  credit = turn_gae(Told({"value": [values]}), [t], discount=0.5, gae_lambda=1.0, whiten=False)
  np.testing.assert_array_equal(credit.advantages[0], [0, 1, 1, 0, -2])
  np.testing.assert_array_equal(credit.returns[0], [0, 3, 3, 0, 4])


def test_advantages_are_whitened_by_token(dialogues, critic, taken):
  plain, white = (turn_gae(critic, dialogues, whiten=w) for w in (False, True))
  wanted = whitened(taken(dialogues, plain.advantages))
  np.testing.assert_allclose(taken(dialogues, white.advantages), wanted, atol=1e-5)
