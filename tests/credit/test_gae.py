"""GAE over sampled tokens against a walk from the last token to the first."""

import numpy as np
import pytest

from agentrl.credit.gae import gae
from tests.credit.conftest import whitened


def by_hand(rewards, values, discount, gae_lambda):
  """Of the sampled tokens of one trajectory."""
  advantages, following, trace = np.zeros(len(rewards)), 0.0, 0.0
  for t in reversed(range(len(rewards))):
    trace = rewards[t] + discount * following - values[t] + discount * gae_lambda * trace
    advantages[t], following = trace, values[t]
  return advantages


def naive(dialogues, values, discount, gae_lambda, penalty=None):
  """[total] of all dialogues; what their turns earned stands at the last token of each."""
  out = []
  for n, t in enumerate(dialogues):
    rewards = np.zeros(len(t.tokens))
    for turn in t.turns:
      rewards[turn.end - 1] = turn.reward
    rewards = rewards - (0.0 if penalty is None else penalty[n])
    out.append(by_hand(rewards[t.action_mask], values[n][t.action_mask].astype(float), discount, gae_lambda))
  return np.concatenate(out)


SETTINGS = {"discount": 0.9, "gae_lambda": 0.8, "whiten": False}


def test_against_a_walk_over_the_tokens(dialogues, critic, taken):
  credit = gae(critic, dialogues, **SETTINGS)
  wanted = naive(dialogues, critic.values(), 0.9, 0.8)
  targets = wanted + taken(dialogues, critic.values())
  np.testing.assert_allclose(taken(dialogues, credit.advantages), wanted, atol=1e-5)
  np.testing.assert_allclose(taken(dialogues, credit.returns), targets, atol=1e-5)
  explained = 1 - np.var(wanted) / np.var(targets)
  np.testing.assert_allclose(credit.metrics["value/explained_variance"], explained, atol=1e-5)
  for t, column in zip(dialogues, credit.advantages, strict=True):
    assert column.dtype == np.float32 and not np.any(column[~t.action_mask])


def test_whitened_over_all_tokens_the_targets_stay_as_they_are(dialogues, critic, taken):
  plain, white = (gae(critic, dialogues, **{**SETTINGS, "whiten": w}) for w in (False, True))
  wanted = whitened(taken(dialogues, plain.advantages))
  np.testing.assert_allclose(taken(dialogues, white.advantages), wanted, atol=1e-5)
  np.testing.assert_array_equal(taken(dialogues, white.returns), taken(dialogues, plain.returns))


def test_the_penalty_lowers_every_tokens_reward(dialogues, critic, taken):
  credit = gae(critic, dialogues, **SETTINGS, kl_coef=0.3)
  penalty = [0.3 * (a.astype(float) - b.astype(float)) for a, b in zip(critic.logp(), critic.ref_logp(), strict=True)]
  wanted = naive(dialogues, critic.values(), 0.9, 0.8, penalty)
  np.testing.assert_allclose(taken(dialogues, credit.advantages), wanted, atol=1e-5)


def test_the_targets_may_have_a_lambda_of_their_own(dialogues, critic, taken):
  credit = gae(critic, dialogues, **SETTINGS, target_lambda=1.0)
  np.testing.assert_allclose(
    taken(dialogues, credit.advantages), naive(dialogues, critic.values(), 0.9, 0.8), atol=1e-5
  )
  monte_carlo = naive(dialogues, [0.0 * v for v in critic.values()], 0.9, 1.0)
  np.testing.assert_allclose(taken(dialogues, credit.returns), monte_carlo, atol=1e-5)


@pytest.mark.parametrize("order", [[4, 2, 0, 1, 3], [3]])
def test_a_trajectory_has_the_same_advantages_in_whatever_company(dialogues, critic, order):
  everyone = gae(critic, dialogues, **SETTINGS)
  critic.told = {"value": [critic.values()[n] for n in order]}
  some = gae(critic, [dialogues[n] for n in order], **SETTINGS)
  for n, column in zip(order, some.advantages, strict=True):
    np.testing.assert_array_equal(column, everyone.advantages[n])
