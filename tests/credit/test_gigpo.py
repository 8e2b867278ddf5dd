"""Steps compared with those from the same state, against loops over all pairs."""

import dataclasses

import numpy as np
import pytest

from agentrl.credit.gigpo import gigpo
from agentrl.credit.group_baselines import dr_grpo
from tests.credit.conftest import dialogue


def sampled():
  """Three of one prompt and one of another, whose second states are partly the same."""
  return [
    dialogue(0, 5, [2, 1], [0.0, 1.0], observations=[(3, 4)]),
    dialogue(1, 5, [1, 2, 1], [0.5, 0.0, 0.0], observations=[(3, 4), (8,)]),
    dialogue(2, 5, [1, 1], [0.0, 0.0], observations=[(8,)]),
    dialogue(3, 9, [1, 1], [0.0, 2.0], observations=[(3, 4)]),
  ]


def naive(trajectories, discount, weight, normalise):
  """{(trajectory, turn): advantage}, by going through all steps for each."""
  steps = {}
  for n, t in enumerate(trajectories):
    following = 0.0
    for u in reversed(range(len(t.turns))):
      following = t.turns[u].reward + discount * following
      read = tuple(t.tokens[(t.turn == u - 1) & ~t.action_mask])
      steps[n, u] = (t.group_id, read), following

  def above(value, others):
    others = np.asarray(others)
    spread = others.std(ddof=1) + 1e-6 if normalise and len(others) > 1 else 1.0
    return (value - others.mean()) / spread

  out = {}
  for (n, u), (state, value) in steps.items():
    whole = [t.reward for t in trajectories if t.group_id == trajectories[n].group_id]
    beside = [v for s, v in steps.values() if s == state]
    out[n, u] = above(trajectories[n].reward, whole) + weight * above(value, beside)
  return out


@pytest.mark.parametrize("normalise", [False, True])
def test_against_loops(nobody, normalise):
  trajectories = sampled()
  credit = gigpo(nobody, trajectories, discount=0.9, weight=0.5, normalise=normalise)
  for (n, u), advantage in naive(trajectories, 0.9, 0.5, normalise).items():
    t, column = trajectories[n], credit.advantages[n]
    np.testing.assert_allclose(column[(t.turn == u) & t.action_mask], advantage, rtol=1e-4, atol=1e-5)
    assert not np.any(column[~t.action_mask])
  # of 9 steps the three first ones of the first prompt, both behind (3, 4) there, and both behind (8,)
  assert credit.metrics["advantage/steps_compared"] == pytest.approx(7 / 9)


def test_states_all_unlike_leave_the_mean_baseline(nobody):
  trajectories = [dataclasses.replace(t, tokens=t.tokens + 10 * n) for n, t in enumerate(sampled())]
  alone, whole = gigpo(nobody, trajectories), dr_grpo(nobody, trajectories)
  for t, a, b in zip(trajectories, alone.advantages, whole.advantages, strict=True):
    np.testing.assert_allclose(a[t.action_mask], b[t.action_mask], atol=1e-6)


def test_without_discount_a_shared_first_state_counts_the_reward_at_the_end_twice(nobody):
  trajectories = [dialogue(n, 0, [1], [float(n)]) for n in range(3)]
  credit = gigpo(nobody, trajectories, discount=1.0, weight=1.0)
  assert [column[-1] for column in credit.advantages] == [-2.0, 0.0, 2.0]
