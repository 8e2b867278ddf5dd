"""Group baselines against loops over the members of each group."""

import dataclasses

import numpy as np
import pytest

from agentrl.credit import CREDIT, group_baselines
from tests.credit.conftest import dialogue, whitened

NAMES = ("grpo", "dr_grpo", "leave_one_out", "batch_std", "reinforce_plus_plus_baseline", "whitened_reward")


def naive(name, trajectories):
  """f64 [N], one trajectory after another."""
  everyone = np.asarray([t.reward for t in trajectories])
  out = []
  for t in trajectories:
    others = [o.reward for o in trajectories if o.group_id == t.group_id and o.uid != t.uid]
    group = np.asarray([t.reward, *others])
    centred = t.reward - group.mean()
    out.append({
      "grpo": centred / (group.std(ddof=1) + 1e-6),
      "dr_grpo": centred,
      "leave_one_out": t.reward - np.mean(others),
      "batch_std": centred / (everyone.std(ddof=1) + 1e-6),
      "reinforce_plus_plus_baseline": centred,
      "whitened_reward": (t.reward - everyone.mean()) / (everyone.std(ddof=1) + 1e-6),
    }[name])  # fmt: skip
  out = np.asarray(out)
  return whitened(out) if name == "reinforce_plus_plus_baseline" else out


@pytest.mark.parametrize("name", NAMES)
def test_every_token_has_the_advantage_of_its_trajectory(name, dialogues, nobody):
  credit = CREDIT[name](nobody, dialogues)
  wanted = naive(name, dialogues)
  for t, column, advantage in zip(dialogues, credit.advantages, wanted, strict=True):
    assert column.dtype == np.float32 and column.shape == t.tokens.shape
    np.testing.assert_allclose(column, advantage, rtol=1e-5, atol=1e-6)
  assert credit.returns is None
  np.testing.assert_allclose(credit.metrics["advantage/mean_abs"], np.mean(np.abs(wanted)), rtol=1e-5)
  assert credit.metrics["advantage/nonzero"] == 1.0


@pytest.mark.parametrize("name", NAMES)
def test_a_group_that_agrees_teaches_nothing(name, nobody):
  same = [dialogue(n, 3, [n + 1], [0.7]) for n in range(3)]
  credit = CREDIT[name](nobody, same)
  assert not any(np.any(column) for column in credit.advantages) and credit.metrics["advantage/nonzero"] == 0.0


def test_maximum_likelihood_divides_by_the_mean_reward(nobody):
  # Means 1/4 and 1/2: (1 - 1/4) / (1/4) = 3 and -1; (1 - 1/2) / (1/2) = 1 and -1; a prompt nobody solves has 0.
  worth = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]
  groups = [0, 0, 0, 0, 1, 1, 2, 2]
  sampled = [
    dialogue(n, group, [1 + n % 2], [reward]) for n, (group, reward) in enumerate(zip(groups, worth, strict=True))
  ]
  found = [column[0] for column in group_baselines.max_rl(nobody, sampled).advantages]
  np.testing.assert_allclose(found, [3, -1, -1, -1, 1, -1, 0, 0], rtol=1e-5)


def test_maximum_likelihood_refuses_negative_rewards(dialogues, nobody):
  with pytest.raises(ValueError, match=r"trajectory 1 \(task t7\) has the reward -1: give rewards of at least 0"):
    group_baselines.max_rl(nobody, dialogues)


def test_a_spread_may_be_padded_by_more(dialogues, nobody):
  tame, wild = (group_baselines.grpo(nobody, dialogues, epsilon=e).advantages[3][0] for e in (1.0, 1e-6))
  assert 0 < tame < wild


def test_branches_are_members_like_others(nobody):
  trunk = dialogue(0, 0, [2, 1], [0.0, 1.0])
  branch = dataclasses.replace(dialogue(1, 0, [2, 2], [0.0, 0.0]), parent=0, fork_at=4)
  alone = dialogue(2, 0, [1], [0.5])
  credit = group_baselines.leave_one_out(nobody, [trunk, branch, alone])
  # 1 - (0 + 0.5) / 2, 0 - (1 + 0.5) / 2, 0.5 - (1 + 0) / 2
  assert [column[0] for column in credit.advantages] == [0.75, -0.75, 0.0]
