"""The ops put together: estimators are unbiased where the papers say so, and find optima that are known in closed form.

Everything is enumerated, nothing sampled: an expectation is a sum over outcomes, weighted by their probabilities as
constants.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.ops import advantages, imitation_losses, kl, losses, returns
from agentrl.ops.reduce import REDUCTIONS

# ---- a bandit of three arms whose optimum under a KL penalty is ref exp(reward / beta) -------------------------

REWARD = jnp.asarray([1.0, 0.0, 0.4])
REF = jax.nn.log_softmax(jnp.asarray([-1.0, 0.5, 0.2]))
BETA = 0.5
OPTIMUM = jax.nn.softmax(REF + REWARD / BETA)

ONE_TOKEN_EACH = jnp.ones((1, 3), bool), jnp.arange(3)[None], jnp.ones(3)


def _descend(loss, *, steps=600, rate=1.0):
  step = lambda theta, _: (theta - rate * jax.grad(loss)(theta), None)
  return jax.nn.softmax(jax.jit(lambda theta: jax.lax.scan(step, theta, length=steps)[0])(jnp.zeros(3)))


def _expected_loss(policy_loss, *, kl_in_reward=None, kl_in_loss=None):
  """Over the arms that the policy draws, each a sequence of one token."""

  def loss(theta):
    logp = jax.nn.log_softmax(theta)
    old_logp = jax.lax.stop_gradient(logp)
    reward = REWARD if kl_in_reward is None else REWARD - BETA * kl_in_reward(logp, REF, jnp.ones(3, bool))
    per_arm = policy_loss(logp[None], old_logp[None], reward[None], *ONE_TOKEN_EACH)[0][0]
    if kl_in_loss is not None:
      per_arm += BETA * kl_in_loss(logp, REF, jnp.ones(3, bool))
    return jnp.sum(jnp.exp(old_logp) * per_arm)

  return loss


# The others begin with the gradient of these, see test_losses.py.
@pytest.mark.parametrize("name", ["ppo", "gspo", "cispo", "reinforce", "dro"])
@pytest.mark.parametrize(
  "penalty",
  [{"kl_in_reward": kl.k1}, {"kl_in_loss": kl.k2}, {"kl_in_loss": kl.k3_plus}],
  ids=["k1 in reward", "k2 in loss", "k3_plus in loss"],
)
def test_policy_losses_find_the_regularised_optimum(name, penalty):
  np.testing.assert_allclose(_descend(_expected_loss(losses.POLICY_LOSSES[name], **penalty)), OPTIMUM, atol=1e-4)


@pytest.mark.parametrize("penalty", [{"kl_in_loss": kl.k1}, {"kl_in_loss": kl.k3}], ids=["k1", "k3"])
def test_other_estimators_in_the_loss_end_elsewhere(penalty):
  """k1 has no gradient in expectation, k3 that of the other divergence."""
  assert np.abs(_descend(_expected_loss(losses.reinforce, **penalty)) - OPTIMUM).max() > 0.02


def test_dpo_finds_the_regularised_optimum_from_preferences():
  def loss(theta):
    logp = jax.nn.log_softmax(theta)
    total = 0.0
    for chosen, rejected in itertools.permutations(range(3), 2):
      pair = (x[i][None] for x in (logp, REF) for i in (chosen, rejected))
      preferred = jax.nn.sigmoid(REWARD[chosen] - REWARD[rejected])  # Bradley and Terry
      total += preferred * imitation_losses.dpo(*pair, beta=BETA)[0]
    return total

  np.testing.assert_allclose(_descend(loss, steps=2000), OPTIMUM, atol=1e-3)


# ---- an episode of one or two tokens: stop, or go on and choose once more ---------------------------------------

PATHS = [(0,), (1, 0), (1, 1)]  # 0 as the first token stops
PATH_REWARD = jnp.asarray([0.3, 1.0, -0.6])
LENGTHS = jnp.asarray([1.0, 2.0, 2.0])
MASK = jnp.asarray([[True, False], [True, True], [True, True]])
THETA = jnp.asarray([[0.4, -0.1], [0.2, 0.7]])  # logits of the first and of the second choice


def _path_logp(theta):
  """`[3, 2]`: log-probs of the tokens of each path, 0 where it has ended."""
  first, second = jax.nn.log_softmax(theta)
  return jnp.stack([jnp.stack([first[0], 0.0 * first[0]]), *(jnp.stack([first[1], second[i]]) for i in range(2))])


def _path_probability(theta):
  return jnp.exp(jnp.sum(_path_logp(theta), axis=1))


TRUE_GRADIENT = jax.grad(lambda theta: -jnp.sum(_path_probability(theta) * PATH_REWARD))(THETA)
TRUE_VALUES = jnp.stack(
  [
    jnp.sum(_path_probability(THETA) * PATH_REWARD),
    jnp.sum(jax.nn.softmax(THETA[1]) * PATH_REWARD[1:]),
  ]
)


def _gae_gradient(values, gae_lambda):
  rewards = jnp.asarray([[0.3, 0.0], [0.0, 1.0], [0.0, -0.6]])
  discounts = jnp.asarray([[0.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
  per_path = jnp.broadcast_to(values, (3, 2))
  advantage = returns.gae(rewards, per_path, discounts, jnp.zeros(3), gae_lambda=gae_lambda, mask=MASK)

  def loss(theta):
    logp, sequence = _path_logp(theta), jnp.broadcast_to(jnp.arange(3)[:, None], (3, 2))
    per_token, _ = losses.ppo(logp, logp, advantage, MASK, sequence, LENGTHS)
    return jnp.sum(jax.lax.stop_gradient(_path_probability(theta))[:, None] * per_token)

  return jax.grad(loss)(THETA)


def test_gae_with_lambda_one_is_unbiased_for_any_values():
  np.testing.assert_allclose(_gae_gradient(jnp.asarray([5.0, -3.0]), 1.0), TRUE_GRADIENT, atol=1e-6)


@pytest.mark.parametrize("gae_lambda", [0.0, 0.5])
def test_gae_with_a_smaller_lambda_needs_true_values(gae_lambda):
  np.testing.assert_allclose(_gae_gradient(TRUE_VALUES, gae_lambda), TRUE_GRADIENT, atol=1e-6)
  assert np.abs(_gae_gradient(jnp.asarray([5.0, -3.0]), gae_lambda) - TRUE_GRADIENT).max() > 0.1


def _group_gradient(advantage, reduction, **settings):
  """Expected gradient over every group of two paths."""

  def group_loss(theta, members):
    members = np.array(members)
    per_path = advantage(PATH_REWARD[members], np.zeros(2, int), np.ones(2, bool), num_groups=1)
    logp, mask, length = _path_logp(theta)[members], MASK[members], LENGTHS[members]
    sequence = jnp.where(mask, jnp.asarray([[0, 0], [1, 1]]), 2)
    spread = jnp.broadcast_to(per_path[:, None], (2, 2))
    per_token, _ = losses.ppo(logp, logp, spread, mask, sequence, length)
    return REDUCTIONS[reduction](per_token, mask, sequence, length, jnp.zeros(len(length), jnp.int32), **settings)

  def loss(theta):
    probability = jax.lax.stop_gradient(_path_probability(theta))
    groups = itertools.product(range(3), repeat=2)
    return sum(probability[i] * probability[j] * group_loss(theta, (i, j)) for i, j in groups)

  return jax.jit(jax.grad(loss))(THETA)


def test_leave_one_out_with_a_constant_divisor_is_unbiased():
  gradient = _group_gradient(advantages.leave_one_out, "sequence_sum_norm", constant=1.0)
  np.testing.assert_allclose(gradient, TRUE_GRADIENT, atol=1e-6)


def test_the_mean_of_the_group_shrinks_the_gradient_by_one_less_one_over_its_size():
  gradient = _group_gradient(advantages.dr_grpo, "sequence_sum_norm", constant=1.0)
  np.testing.assert_allclose(gradient, TRUE_GRADIENT / 2, atol=1e-6)


@pytest.mark.parametrize("reduction", ["token_mean", "sequence_mean"])
def test_dividing_by_a_length_that_the_policy_chose_turns_the_gradient(reduction):
  gradient = _group_gradient(advantages.leave_one_out, reduction)
  cosine = jnp.sum(gradient * TRUE_GRADIENT) / (jnp.linalg.norm(gradient) * jnp.linalg.norm(TRUE_GRADIENT))
  assert cosine < 0.9995  # an unbiased one gives 1 to six digits
