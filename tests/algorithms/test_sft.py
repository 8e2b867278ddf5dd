"""Each setting of sft does what its comment says, against naive log-probs."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from agentrl.algorithms import forward, learner, sft
from agentrl.algorithms.objective import objective
from agentrl.training import config_values
from agentrl.types import StopReason

pytestmark = pytest.mark.usefixtures("forward_once")


def settings(**overrides):
  return config_values.resolve(sft.default_config(), overrides, where="test")


@pytest.fixture
def prepare(policy):
  """`prepare(trajectories, **settings) -> (batch, metrics)`."""
  return lambda trajectories, **overrides: sft.make(policy, optax.sgd(1.0), settings(**overrides)).prepare(
    None, trajectories
  )


@pytest.fixture
def loss(policy):
  """`loss(params, batch, **settings) -> LossOutput` of the one micro-batch in use."""

  def compute(params, batch, **overrides):
    micro = forward.micro_batch(batch, jnp.int32(0))
    cfg = settings(**overrides)
    return objective(policy, sft._terms(cfg), learner.reduction(cfg)).loss({"policy": params}, micro, ())

  return compute


def tokens_of(batch):
  """Sampled tokens of each trajectory kept, in the order given."""
  counts = np.asarray(batch.sequence_length)
  return counts[counts > 0].astype(int).tolist()


# Rewards 1, 0, 1/2, 1, 1, 0 and sampled tokens 3, 3, 5, 2, 4, 4.
@pytest.mark.parametrize(
  ("least", "kept"), [(0.0, [3, 3, 5, 2, 4, 4]), (0.5, [3, 5, 2, 4]), (0.6, [3, 2, 4]), (1.0, [3, 2, 4])]
)
def test_only_what_earned_the_least_reward_is_cloned(prepare, trajectories, least, kept):
  batch, metrics = prepare(trajectories, min_reward=least)
  assert tokens_of(batch) == kept
  np.testing.assert_allclose(metrics["sft/kept"], len(kept) / 6, rtol=1e-6)


# The best by reward, of equal ones the first: of six 1, 2, 3 and all.
@pytest.mark.parametrize(("share", "kept"), [(0.1, [3]), (0.3, [3, 2]), (0.5, [3, 2, 4]), (1.0, [3, 3, 5, 2, 4, 4])])
def test_the_best_share_is_cloned(prepare, trajectories, share, kept):
  assert tokens_of(prepare(trajectories, top_share=share)[0]) == kept


def test_branches_of_what_is_not_cloned_share_their_tokens_still(prepare, trajectories):
  """Two branches leave a trajectory of no reward behind its fifth token, the third sampled one; it is listed once."""
  trunk = trajectories[1]
  tails = (1, 2)
  tokens = [np.append(trunk.tokens[:5], np.full(len(trunk.tokens) - 5, tail, np.int32)) for tail in tails]
  branches = [
    dataclasses.replace(trunk, tokens=ids, uid=70 + tail, parent=trunk.uid, fork_at=5, reward=1.0)
    for tail, ids in zip(tails, tokens, strict=True)
  ]
  shared, own = np.sum(trunk.action_mask[:5]), np.sum(trunk.action_mask[5:])
  for setting in ({"min_reward": 0.5}, {"top_share": 0.5}):
    assert sum(tokens_of(prepare([trunk, *branches], **setting)[0])) == shared + 2 * own


def test_a_share_needs_rewards(prepare, trajectories):
  authored = dataclasses.replace(trajectories[1], reward=None, reward_parts=None)
  with pytest.raises(ValueError, match=f"trajectory {authored.uid} has none"):
    prepare([trajectories[0], authored], top_share=0.5)


def test_authored_trajectories_count_and_failed_ones_do_not(prepare, trajectories):
  authored = dataclasses.replace(trajectories[1], reward=None, reward_parts=None)
  failed = dataclasses.replace(trajectories[2], reward=None, stop=StopReason.ENVIRONMENT_FAILED)
  batch, metrics = prepare([trajectories[0], authored, failed, trajectories[5]], min_reward=0.5)
  assert tokens_of(batch) == [3, 3]
  np.testing.assert_allclose(metrics["sft/kept"], 2 / 4)


def test_nothing_good_enough_is_an_error(prepare, trajectories):
  with pytest.raises(ValueError, match="every one was filtered out"):
    prepare(trajectories, min_reward=2.0)


def test_the_loss_is_the_mean_of_minus_log_p_over_sampled_tokens(prepare, loss, trajectories, params, naive):
  batch, _ = prepare(trajectories)
  scored = [naive(params, t) for t in trajectories]
  tokens = np.concatenate([s.logp[t.action_mask] for s, t in zip(scored, trajectories, strict=True)])
  assert len(tokens) == 21
  out = loss(params, batch)
  np.testing.assert_allclose(out.loss, -tokens.mean(), rtol=1e-5)
  np.testing.assert_allclose(out.sums["policy/entropy"], sum(s.entropy.sum() for s in scored) / 21, rtol=1e-5)
  by_sequence = np.mean([s.logp[t.action_mask].mean() for s, t in zip(scored, trajectories, strict=True)])
  np.testing.assert_allclose(loss(params, batch, reduction="sequence_mean").loss, -by_sequence, rtol=1e-5)
  summed = loss(params, batch, reduction="sequence_sum_norm", reduction_options={"constant": 8.0}).loss
  np.testing.assert_allclose(summed, -tokens.sum() / (6 * 8), rtol=1e-5)


def test_rewards_and_the_sampler_do_not_weigh(prepare, loss, trajectories, params):
  """Cloning asks what was written; who wrote it, and for which reward above the least, is nothing to it."""
  others = [dataclasses.replace(t, reward=t.reward + 3, sampler_logp=t.sampler_logp - 1) for t in trajectories]
  (batch, _), (other, _) = prepare(trajectories), prepare(others)
  gradient = jax.grad(lambda p, b: loss(p, b).loss)
  a, b = gradient(params, batch), gradient(params, other)
  assert optax.tree.norm(a) > 0.1
  jax.tree.map(np.testing.assert_array_equal, a, b)


def test_an_unknown_reduction_is_refused_when_the_algorithm_is_built(policy):
  with pytest.raises(ValueError, match="no reduction is called 'mean'"):
    sft.make(policy, optax.sgd(1.0), settings(reduction="mean"))
