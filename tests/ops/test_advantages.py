"""Group baselines against loops, by hand, and by the identities that tie them together."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.ops import advantages

NAMES = ("grpo", "dr_grpo", "leave_one_out", "batch_std", "reinforce_plus_plus_baseline")
REWARDS = np.array([1.0, 0.0, 0.5, np.nan, 2.0, 7.0, 3.0, 3.0, 0.25])
GROUP = np.array([0, 2, 0, 0, 2, 1, 0, 2, -5])
VALID = np.array([True, True, True, False, True, True, True, True, False])  # group 1 has one valid entry
GROUPS = 4  # and group 3 none at all


def _naive(name):
  out = np.zeros(len(REWARDS))
  for i in np.flatnonzero(VALID):
    members = [j for j in np.flatnonzero(VALID) if GROUP[j] == GROUP[i]]
    rewards = REWARDS[members]
    if len(members) == 1:
      continue
    out[i] = {
      "grpo": (REWARDS[i] - rewards.mean()) / (rewards.std(ddof=1) + 1e-6),
      "dr_grpo": REWARDS[i] - rewards.mean(),
      "leave_one_out": REWARDS[i] - np.mean([REWARDS[j] for j in members if j != i]),
      "batch_std": (REWARDS[i] - rewards.mean()) / (REWARDS[VALID].std(ddof=1) + 1e-6),
      "reinforce_plus_plus_baseline": REWARDS[i] - rewards.mean(),
    }[name]
  if name == "reinforce_plus_plus_baseline":
    out[VALID] = (out[VALID] - out[VALID].mean()) / (out[VALID].std(ddof=1) + 1e-6)
  return out


@pytest.fixture(params=NAMES)
def name(request):
  return request.param


@pytest.fixture
def estimator(name):
  return functools.partial(getattr(advantages, name), num_groups=GROUPS)


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit])
def test_matches_a_loop_over_ragged_groups(name, estimator, wrap):
  np.testing.assert_allclose(wrap(estimator)(REWARDS, GROUP, VALID), _naive(name), rtol=1e-5, atol=1e-6)


def test_by_hand():
  # Rewards 1, 0, 0, 1: mean 1/2, deviations 1/2, std sqrt(4 (1/4) / 3) = 1 / sqrt(3); leave one out 1 - 1/3 = 2/3.
  arrays = np.array([1.0, 0.0, 0.0, 1.0]), np.zeros(4, int), np.ones(4, bool)
  sign = np.array([1, -1, -1, 1])
  for name, size in {"dr_grpo": 0.5, "grpo": 0.5 * 3**0.5, "leave_one_out": 2 / 3}.items():
    np.testing.assert_allclose(getattr(advantages, name)(*arrays, num_groups=1), sign * size, rtol=1e-5)


def test_group_mean():
  mean = advantages.group_mean(REWARDS, GROUP, VALID, num_groups=GROUPS)
  np.testing.assert_allclose(mean[:3], [1.5, 5 / 3, 1.5], rtol=1e-6)


@pytest.mark.parametrize("reward", [0.1, 0.7, 1 / 3, -12345.678])
def test_equal_rewards_give_exactly_zero(estimator, reward):
  out = estimator(np.full(7, reward), np.array([0, 0, 0, 1, 1, 1, 1]), np.ones(7, bool))
  np.testing.assert_array_equal(out, 0.0)


def test_leave_one_out_is_the_mean_baseline_scaled():
  rng = np.random.default_rng(0)
  rewards, group, valid = rng.normal(size=12), np.repeat([0, 1, 2], 4), np.ones(12, bool)
  np.testing.assert_allclose(
    advantages.leave_one_out(rewards, group, valid, num_groups=3),
    4 / 3 * advantages.dr_grpo(rewards, group, valid, num_groups=3),
    rtol=1e-6,
  )


def test_a_reward_added_to_all_changes_nothing_and_grpo_ignores_scale(name, estimator):
  np.testing.assert_allclose(estimator(REWARDS + 5, GROUP, VALID), estimator(REWARDS, GROUP, VALID), atol=1e-5)
  if name == "grpo":
    np.testing.assert_allclose(estimator(REWARDS * 9, GROUP, VALID), estimator(REWARDS, GROUP, VALID), atol=1e-4)


def test_a_failed_environment_leaves_baseline_and_loss(estimator):
  kept = np.flatnonzero(VALID)
  out = estimator(REWARDS, GROUP, VALID)
  np.testing.assert_allclose(out[kept], estimator(REWARDS[kept], GROUP[kept], VALID[kept]), rtol=1e-6)
  np.testing.assert_array_equal(out[~VALID], 0.0)


def test_a_group_out_of_range_is_loud(estimator):
  out = estimator(np.ones(3), np.array([0, 0, GROUPS]), np.ones(3, bool))
  assert np.isnan(out[2])


def test_whiten():
  rng = np.random.default_rng(1)
  values, mask = rng.normal(3.0, 2.0, size=(4, 5)).astype(np.float32), rng.random((4, 5)) < 0.6
  out = np.asarray(advantages.whiten(jnp.where(mask, values, jnp.nan), jnp.asarray(mask)))
  kept = values[mask]
  np.testing.assert_allclose(out[mask], (kept - kept.mean()) / (kept.std(ddof=1) + 1e-6), rtol=1e-4, atol=1e-6)
  np.testing.assert_array_equal(out[~mask], 0.0)


def test_opo_takes_the_mean_by_length():
  lengths = np.array([1.0, 4.0, 2.0, 9.0, 1.0, 3.0, 5.0, 2.0, 9.0], np.float32)
  out = np.asarray(advantages.opo(REWARDS, GROUP, VALID, lengths=lengths, num_groups=GROUPS))
  for i in range(len(REWARDS)):
    members = [j for j in np.flatnonzero(VALID) if GROUP[j] == GROUP[i]]
    baseline = np.sum(lengths[members] * REWARDS[members]) / np.sum(lengths[members]) if VALID[i] else 0.0
    np.testing.assert_allclose(out[i], REWARDS[i] - baseline if VALID[i] else 0.0, rtol=1e-5, atol=1e-6)


def test_opo_without_any_length_is_the_plain_mean():
  out = advantages.opo(REWARDS, GROUP, VALID, lengths=np.zeros(len(REWARDS), np.float32), num_groups=GROUPS)
  np.testing.assert_array_equal(out, advantages.dr_grpo(REWARDS, GROUP, VALID, num_groups=GROUPS))


class TestGigpo:
  EPISODE = jnp.asarray([1.0, 1.0, -1.0, -1.0, 5.0])
  RETURNS = jnp.asarray([4.0, 1.0, 2.0, 3.0, jnp.nan])
  VALID = jnp.asarray([True, True, True, True, False])

  def test_by_hand(self):
    # Steps 0 and 2 start from the same state: mean 3, so +1 and -1, times weight 2. The others are alone in theirs.
    out = advantages.gigpo(
      self.EPISODE, self.RETURNS, jnp.asarray([0, 1, 0, 2, 0]), self.VALID, num_anchors=3, weight=2.0
    )
    np.testing.assert_allclose(out, [3.0, 1.0, -3.0, -1.0, 0.0])

  def test_normalised(self):
    out = advantages.gigpo(
      self.EPISODE, self.RETURNS, jnp.asarray([0, 1, 0, 2, 0]), self.VALID, num_anchors=3, normalise=True
    )
    np.testing.assert_allclose(out, [1 + 0.5**0.5, 1.0, -1 - 0.5**0.5, -1.0, 0.0], rtol=1e-5)

  def test_states_all_unlike_leave_the_episode_alone(self):
    out = advantages.gigpo(self.EPISODE, self.RETURNS, jnp.arange(5), self.VALID, num_anchors=5)
    np.testing.assert_array_equal(out, [1.0, 1.0, -1.0, -1.0, 0.0])

  def test_a_shared_first_state_with_one_reward_at_the_end_is_the_mean_baseline(self):
    arrays = jnp.asarray([1.0, 0.0, 0.0]), jnp.zeros(3, jnp.int32), jnp.ones(3, bool)
    out = advantages.gigpo(jnp.zeros(3), *arrays, num_anchors=1)
    np.testing.assert_array_equal(out, advantages.dr_grpo(*arrays, num_groups=1))


@pytest.mark.parametrize(
  ("arrays", "message"),
  [
    ((np.ones((2, 2)), np.zeros(4, int), np.ones(4, bool)), "alike"),
    ((np.ones(2), np.zeros(2), np.ones(2, bool)), "integer ids"),
    ((np.ones(2), np.zeros(2, int), np.ones(2)), "booleans"),
  ],
)
def test_bad_input_is_named(arrays, message):
  with pytest.raises(ValueError, match=message):
    advantages.grpo(*arrays, num_groups=1)
