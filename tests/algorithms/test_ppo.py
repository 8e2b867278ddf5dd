"""Each setting of ppo does what its comment says, against arithmetic on naive log-probs and values."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from agentrl.algorithms import forward, learner, ppo
from agentrl.algorithms.objective import objective
from agentrl.training import config_values

pytestmark = pytest.mark.usefixtures("forward_once")


def settings(**overrides):
  return config_values.resolve(ppo.default_config(), overrides, where="test")


def value_head(seed):
  rng = np.random.default_rng(seed)
  return {"weight": jnp.asarray(rng.normal(0, 0.3, 16), jnp.float32), "bias": jnp.float32(0.1 * seed)}


@pytest.fixture(scope="module")
def prepare(policy, params, other_params):
  """`prepare(trajectories, value head, **settings) -> (batch, metrics)`, the reference other than the policy."""

  def run(trajectories, value=None, **overrides):
    algorithm = ppo.make(policy, optax.sgd(1.0), settings(**overrides))
    state = algorithm.init(jax.random.key(0), other_params)
    trained = {"policy": params, "value": state.params["value"] if value is None else value}
    return algorithm.prepare(state._replace(params=trained), trajectories)

  return run


@pytest.fixture(scope="module")
def prepared(prepare, trajectories):
  """A batch to take losses of, with a reference, and its metrics: Monte Carlo returns, advantages as they are."""
  batch, metrics = prepare(trajectories, value_head(1), credit_options={"gae_lambda": 1.0, "whiten": False})
  penalised, _ = prepare(trajectories, value_head(1), credit_options={"kl_coef": 0.3})
  return batch.with_columns(ref_logp=penalised.columns["ref_logp"]), metrics


@pytest.fixture(scope="module")
def batch(prepared):
  return jax.tree.map(np.asarray, prepared[0])


@pytest.fixture(scope="module")
def outputs(batch, trajectories, naive, listed):
  """`outputs(params, value head) -> (logp, entropy, values)`, naive, each [M, B, A]."""

  def of(params, value):
    scored = [naive(params, t) for t in trajectories]
    values = [s.hidden @ np.asarray(value["weight"], np.float64) + float(value["bias"]) for s in scored]
    return tuple(listed(batch, x) for x in ([s.logp for s in scored], [s.entropy for s in scored], values))

  return of


@pytest.fixture
def loss(policy, batch, params):
  """`loss(trained params, batch columns, **settings) -> LossOutput` of the one micro-batch in use."""

  def compute(trained=None, columns=None, **overrides):
    micro = forward.micro_batch(batch.with_columns(**(columns or {})), jnp.int32(0))
    trained = {"policy": params, "value": value_head(2)} if trained is None else trained
    cfg = settings(**overrides)
    return objective(policy, ppo._terms(cfg), learner.reduction(cfg)).loss(trained, micro, ())

  return compute


# ---- credit -----------------------------------------------------------------------------------------------------


def own_rewards(trajectory):
  """f64 [T]: what the turns earned, at their last tokens."""
  rewards = np.zeros(len(trajectory.tokens))
  for turn in trajectory.turns:
    rewards[turn.end - 1] += turn.reward
  return rewards


def test_rewards_stand_at_the_end_of_their_turn(prepare, trajectories, listed):
  """Without value and without trace the advantage of a token is its reward."""
  whole = trajectories[2]  # prompt, 3 sampled, observation, 2 sampled; 0.375 and 0.125 for the turns
  cut = dataclasses.replace(
    trajectories[0],  # prompt, 2 sampled, observation: stopped before its second turn; 0.25
    turns=trajectories[0].turns[:1],
    reward=0.25,
    **{
      name: getattr(trajectories[0], name)[:5]
      for name in ("tokens", "action_mask", "sampler_logp", "entropy", "turn", "policy_version")
    },
  )
  batch, _ = prepare([whole, cut], credit_options={"gae_lambda": 0.0, "whiten": False})
  rewards = [[0, 0, 0, 0, 0.375, 0, 0, 0.125], [0, 0, 0, 0.25, 0]]
  np.testing.assert_allclose(batch.columns["advantages"], listed(batch, rewards), atol=1e-6)
  np.testing.assert_allclose(batch.columns["returns"], listed(batch, rewards), atol=1e-6)
  np.testing.assert_array_equal(batch.columns["old_values"], 0.0)  # a new critic knows nothing


def credit_by_hand(rewards, values, sampled, discount, gae_lambda):
  """GAE from the last sampled token to the first, as if nothing stood between them."""
  advantages, next_value, trace = np.zeros(len(rewards)), 0.0, 0.0
  for t in np.flatnonzero(sampled)[::-1]:
    trace = rewards[t] + discount * next_value - values[t] + discount * gae_lambda * trace
    advantages[t], next_value = trace, values[t]
  return advantages


def test_credit_is_estimated_over_sampled_tokens_alone_and_kl_lowers_their_reward(
  prepare, trajectories, params, other_params, naive, listed
):
  coef, discount, gae_lambda, head = 0.3, 0.9, 0.8, value_head(1)
  batch, metrics = prepare(
    trajectories, head, credit_options={"kl_coef": coef, "discount": discount, "gae_lambda": gae_lambda}
  )
  scored, reference = ([naive(p, t) for t in trajectories] for p in (params, other_params))
  values = [
    (s.hidden @ np.asarray(head["weight"]) + float(head["bias"])) * t.action_mask
    for s, t in zip(scored, trajectories, strict=True)
  ]
  advantages = [
    credit_by_hand(own_rewards(t) - coef * (s.logp - r.logp), v, t.action_mask, discount, gae_lambda)
    for t, s, r, v in zip(trajectories, scored, reference, values, strict=True)
  ]
  targets = [a + v for a, v in zip(advantages, values, strict=True)]
  np.testing.assert_allclose(batch.columns["old_logp"], listed(batch, [s.logp for s in scored]), atol=1e-5)
  np.testing.assert_allclose(batch.columns["ref_logp"], listed(batch, [s.logp for s in reference]), atol=1e-5)
  np.testing.assert_allclose(batch.columns["old_values"], listed(batch, values), atol=1e-5)
  np.testing.assert_allclose(batch.columns["returns"], listed(batch, targets), atol=1e-5)
  mask = np.asarray(batch.action_mask)
  raw, goal, known = (listed(batch, x)[mask] for x in (advantages, targets, values))
  np.testing.assert_allclose(
    np.asarray(batch.columns["advantages"])[mask], (raw - raw.mean()) / raw.std(ddof=1), atol=1e-4
  )
  np.testing.assert_array_equal(np.asarray(batch.columns["advantages"])[~mask], 0.0)
  np.testing.assert_allclose(metrics["value/explained_variance"], 1 - np.var(goal - known) / np.var(goal), rtol=1e-4)


def test_without_a_penalty_rewards_are_left_alone(prepared, batch, trajectories, outputs, other_params, listed):
  """Returns of lambda 1 do not depend on values: what is still to come, and nothing of the reference."""
  to_go = [np.cumsum(own_rewards(t)[::-1])[::-1] * t.action_mask for t in trajectories]
  np.testing.assert_allclose(batch.columns["returns"], listed(batch, to_go), atol=1e-5)
  np.testing.assert_allclose(
    batch.columns["advantages"], batch.columns["returns"] - batch.columns["old_values"], atol=1e-6
  )
  np.testing.assert_allclose(batch.columns["ref_logp"], outputs(other_params, value_head(1))[0], atol=1e-5)
  mask = batch.action_mask
  explained = 1 - np.var((batch.columns["returns"] - batch.columns["old_values"])[mask]) / np.var(
    batch.columns["returns"][mask]
  )
  np.testing.assert_allclose(prepared[1]["value/explained_variance"], explained, rtol=1e-4)


def test_branches_are_refused(policy, params, trajectories):
  algorithm = ppo.make(policy, optax.sgd(1.0), settings())
  state = algorithm.init(jax.random.key(0), params)
  branch = dataclasses.replace(trajectories[1], parent=trajectories[0].uid, fork_at=3)
  with pytest.raises(ValueError, match="in one piece, and some are branches"):
    algorithm.prepare(state, [trajectories[0], branch])


# ---- terms of the loss ------------------------------------------------------------------------------------------


def per_token(batch, values):
  return values[batch.action_mask].mean()


def test_at_ratio_one_the_surrogate_is_minus_the_mean_advantage(batch, loss):
  np.testing.assert_allclose(loss(value_coef=0.0).loss, -per_token(batch, batch.columns["advantages"]), rtol=1e-4)
  # 21 tokens of 6 trajectories.
  summed = loss(value_coef=0.0, reduction="sequence_sum_norm", reduction_options={"constant": 10.0}).loss
  np.testing.assert_allclose(summed, -batch.columns["advantages"].sum() / (6 * 10), rtol=1e-4)


def test_bounds_of_the_ratio_reach_the_surrogate(batch, loss):
  ratio = np.exp(batch.columns["old_logp"] - batch.columns["sampler_logp"])
  bounded = np.minimum(ratio * batch.columns["advantages"], np.clip(ratio, 0.9, 1.05) * batch.columns["advantages"])
  out = loss(
    None, {"old_logp": batch.columns["sampler_logp"]}, value_coef=0.0, loss={"clip_low": 0.1, "clip_high": 0.05}
  )
  np.testing.assert_allclose(out.loss, -per_token(batch, bounded), rtol=1e-4)
  assert out.sums["policy/clipped_low"] > 0
  assert out.sums["policy/clipped_high"] > 0


@pytest.mark.parametrize("clip", [0.05, 10.0])
def test_the_value_loss_is_weighed_and_clipped_around_the_old_values(batch, loss, outputs, params, clip):
  _, _, values = outputs(params, value_head(2))
  moved = values - batch.columns["old_values"]
  assert 0.05 < np.abs(moved[batch.action_mask]).max() < 10
  held = batch.columns["old_values"] + np.clip(moved, -clip, clip)
  value_loss = np.maximum((values - batch.columns["returns"]) ** 2, (held - batch.columns["returns"]) ** 2) / 2
  without, out = loss(value_coef=0.0), loss(value_coef=0.7, value_clip=clip)
  np.testing.assert_allclose(out.loss - without.loss, 0.7 * per_token(batch, value_loss), rtol=1e-4)
  np.testing.assert_allclose(out.sums["value/loss"], per_token(batch, value_loss), rtol=1e-4)


def test_the_entropy_bonus_is_the_coefficient_times_the_entropy(batch, loss, outputs, params):
  _, entropy, _ = outputs(params, value_head(2))
  difference = loss(entropy_coef=0.25).loss - loss().loss
  np.testing.assert_allclose(difference, -0.25 * per_token(batch, entropy), rtol=1e-4)


def test_the_kl_term_is_the_coefficient_times_the_estimate(batch, loss):
  d = batch.columns["old_logp"] - batch.columns["ref_logp"]
  difference = loss(kl_coef=0.5, kl="k3").loss - loss(credit_options={"kl_coef": 0.5}).loss
  np.testing.assert_allclose(difference, 0.5 * per_token(batch, np.exp(-d) + d - 1), rtol=1e-4)


# ---- who gets a gradient ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("detach", [True, False])
def test_value_detach_stops_the_critic_at_the_trunk(batch, loss, params, detach):
  """Without advantages all that could move the policy is the critic."""
  trained = {"policy": params, "value": value_head(2)}
  columns = {"advantages": np.zeros_like(batch.columns["advantages"])}
  gradient = jax.grad(lambda p: loss(p, columns, value_detach=detach, value_clip=10.0).loss)(trained)
  assert optax.tree.norm(gradient["value"]) > 0.01
  if detach:
    jax.tree.map(lambda x: np.testing.assert_array_equal(x, 0.0), gradient["policy"])
  else:
    assert all(np.any(x) for x in jax.tree.leaves(gradient["policy"]))


def test_what_prepare_and_the_sampler_recorded_are_constants(batch, loss, params):
  columns = ("old_logp", "ref_logp", "sampler_logp", "advantages", "old_values", "returns")
  columns = {name: jnp.asarray(batch.columns[name]) for name in columns}
  columns["old_logp"] = columns["old_logp"] + 0.1
  everything = {"kl_coef": 0.5, "entropy_coef": 0.1}
  trained = {"policy": params, "value": value_head(2)}
  of_params, of_columns = jax.grad(lambda p, c: loss(p, c, **everything).loss, argnums=(0, 1))(trained, columns)
  assert all(np.any(x) for x in jax.tree.leaves(of_params))
  for name, value in of_columns.items():
    np.testing.assert_array_equal(value, 0.0, err_msg=name)


# ---- construction -----------------------------------------------------------------------------------------------


def test_a_new_learner_has_a_critic_and_a_reference_only_for_kl(policy, params):
  states = [ppo.make(policy, optax.sgd(1.0), settings(kl_coef=c)).init(jax.random.key(0), params) for c in (0.0, 0.1)]
  assert set(states[0].params) == {"policy", "value"}
  assert states[0].reference is None
  jax.tree.map(np.testing.assert_array_equal, states[1].reference, params)
  assert states[1].reference["embed"] is not params["embed"]  # an update donates the params


@pytest.mark.parametrize("width", [0, 5])
def test_the_value_head_is_as_wide_as_the_settings_say(policy, params, loss, width):
  state = ppo.make(policy, optax.sgd(1.0), settings(value_hidden=width)).init(jax.random.key(0), params)
  assert state.params["value"]["weight"].shape == (width or policy.model.width,)
  gradient = jax.grad(lambda p: loss(p, value_clip=10.0).loss)(state.params)
  assert np.any(gradient["value"]["weight"])


@pytest.mark.parametrize(
  ("wrong", "message"),
  [
    ({"credit": "gea"}, "no credit is called 'gea': did you mean 'gae'"),
    ({"kl": "k4"}, "no KL estimator is called 'k4'"),
    ({"reduction": "mean"}, "no reduction is called 'mean'"),
    ({"loss": {"clip": 0.2}}, r"algo\.loss\.clip: did you mean 'clip_low'"),
  ],
)
def test_a_wrong_name_is_refused_when_the_algorithm_is_built(policy, wrong, message):
  with pytest.raises(ValueError, match=message):
    ppo.make(policy, optax.sgd(1.0), settings(**wrong))
