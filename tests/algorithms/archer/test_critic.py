"""The critics: what they converge to, their targets, and what else they see."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from archer_probe import (
  DISCOUNT,
  MODEL,
  OBSERVATION,
  PACK,
  PROMPTS,
  SMALL,
  log_probabilities,
  make,
  play,
  sampler,
  train,
)

from agentrl.algorithms import archer
from agentrl.algorithms.archer import critic as critics
from agentrl.algorithms.archer.rows import lay_out
from agentrl.algorithms.contract import Policy
from agentrl.models import heads, transformer
from agentrl.ops.finite import NonFinite
from agentrl.training import config_values


@pytest.mark.parametrize(
  ("where", "named"),
  [
    ("replay", "the critic's steps: reward is not finite"),
    ("policy", "the critic's steps: loss/critic/q is not finite"),
  ],
)
def test_critic_steps_that_are_not_finite_are_named(params, where, named):
  """A reward that is infinite, and weights from which every hidden state is NaN."""
  algorithm, rng = make(critic={"encoder": "policy"}), np.random.default_rng(0)
  state = algorithm.init(jax.random.key(0), jax.tree.map(jnp.copy, params))
  batch, _ = algorithm.prepare(state, play(params, rng))
  if where == "replay":
    batch = batch._replace(reward=np.where(batch.taken, np.inf, 0.0).astype(np.float32))
  else:
    spoiled = {**params, "final_norm": params["final_norm"] * jnp.nan}
    state = state._replace(params={**state.params, "policy": spoiled})
  with pytest.raises(NonFinite, match=named):
    algorithm.update(state, jax.random.key(1), batch)


def test_targets_of_bfloat16_critics_are_averages_in_float32():
  """Target networks that moved a tenth of the way in each of 20 steps lie between the critic's start and its end."""
  narrow = dataclasses.replace(MODEL, param_dtype="bfloat16")
  cfg = config_values.resolve(archer.default_config(), SMALL, where="test")
  cfg = config_values.resolve(cfg, {"critic": {"learning_rate": 1e-5}}, where="test")
  algorithm = archer.make(Policy(narrow, PACK, 2, sampler), optax.adam(1e-2, eps=1e-3), cfg)
  params = transformer.init_params(jax.random.key(0), narrow)
  state = algorithm.init(jax.random.key(0), params)
  start = jax.tree.map(np.float32, state.params["critic"]["encoder"]["layers"]["gate"])
  batch, _ = algorithm.prepare(state, play(params, np.random.default_rng(0)))
  state, metrics = algorithm.update(state, jax.random.key(1), batch)
  target = state.memory.target["encoder"]["layers"]["gate"]
  assert target.dtype == jnp.float32 and np.isfinite(metrics["critic/q_loss"])
  moved = np.abs(np.float32(state.params["critic"]["encoder"]["layers"]["gate"]) - start).mean()
  followed = np.abs(np.float32(target) - start).mean()
  # At a constant pace targets come 1 - sum_t 0.9^t / 20 = 0.6 of the way; in bfloat16 they would hardly leave.
  assert moved > 1e-4
  np.testing.assert_allclose(followed / moved, 0.6, atol=0.06)


def exact_values(params):
  """V of the first state and Q of every (prompt, first token), for a policy that does not move."""
  prompts = np.arange(PROMPTS, dtype=np.int32)
  first = np.exp(np.asarray(log_probabilities(params, jnp.asarray(prompts[:, None]))))
  pairs = np.stack(np.meshgrid(prompts, np.arange(9), indexing="ij"), axis=-1).reshape(-1, 2).astype(np.int32)
  after = np.concatenate([pairs, np.full((len(pairs), 1), OBSERVATION, np.int32)], axis=1)
  second = np.exp(np.asarray(log_probabilities(params, jnp.asarray(after)))).reshape(PROMPTS, 9, 9)
  hit = second[prompts[:, None], np.arange(9)[None], prompts[:, None]]
  q = 0.5 * (prompts[:, None] == np.arange(9)[None]) + DISCOUNT * 0.5 * hit
  return np.sum(first * q, axis=1), q, first


@pytest.mark.parametrize(("encoder", "tolerance"), [("own", 0.04), ("policy", 0.12)])  # a trunk of random features
def test_the_critics_of_a_policy_at_rest_are_its_values(params, encoder, tolerance):
  critic = {"encoder": encoder, "updates": 100, "dialogues": 1000, "learning_rate": 3e-3}
  algorithm = make(replay_capacity=2000, critic=critic, actor={"warmup": 1000})
  state, _, metrics = train(algorithm, params, 6, samples=80)
  jax.tree.map(np.testing.assert_array_equal, state.params["policy"], params)
  v, q, first = exact_values(params)
  prompts = np.arange(PROMPTS, dtype=np.int32)
  critic = state.params["critic"]
  trunk = critic.get("encoder", params)

  def states(tokens):
    positions = jnp.broadcast_to(jnp.arange(tokens.shape[1], dtype=jnp.int32)[None], tokens.shape)
    return transformer.forward(
      trunk, jnp.asarray(tokens), positions, jnp.full_like(tokens, tokens.shape[1]), config=MODEL
    )

  start = states(prompts[:, None])[:, -1]
  assert np.abs(heads.apply_v(critic["heads"], start) - v[None]).mean() < tolerance
  pairs = np.stack(np.meshgrid(prompts, np.arange(9), indexing="ij"), axis=-1).reshape(-1, 2).astype(np.int32)
  hidden, unseen = states(pairs), jnp.zeros((len(pairs), 0))
  got = np.asarray(heads.apply_q(critic["heads"], hidden[:, 0], hidden[:, 1], unseen)).reshape(2, PROMPTS, 9)
  # What is hardly ever said is hardly ever learned: weighed by how often it is.
  assert (first * np.abs(got - q)).sum(axis=2).mean() < tolerance
  assert np.std(v) > 0.05  # else a constant would do
  assert abs(metrics["critic/q_bias"]) < 0.1 and abs(metrics["critic/v_bias"]) < 0.1


def test_the_target_follows_its_critic(params):
  algorithm = make(critic={"target_rate": 1.0, "updates": 1}, actor={"warmup": 10})
  state, _, _ = train(algorithm, params, 1)
  jax.tree.map(np.testing.assert_array_equal, state.memory.target, state.params["critic"])
  frozen, _, _ = train(make(critic={"target_rate": 0.0, "updates": 1}, actor={"warmup": 10}), params, 1)
  with pytest.raises(AssertionError):
    jax.tree.map(np.testing.assert_array_equal, frozen.memory.target, frozen.params["critic"])


@pytest.mark.parametrize("clipped", [False, True])
def test_the_twins_targets(params, clipped):
  """V's targets against the heads themselves: each twin's own Q, or the smaller of the two."""
  algorithm = make(critic={"updates": 3, "clipped_double_q": clipped}, actor={"warmup": 10})
  state, _, _ = train(algorithm, params, 2)
  dialogues, _ = algorithm.prepare(state, play(params, np.random.default_rng(3)))
  rows = lay_out(dialogues, None)
  cfg = config_values.resolve(archer.default_config(), {"critic": {"clipped_double_q": clipped}}, where="test")
  policy, critic, target = Policy(MODEL, PACK, 2, sampler), state.params["critic"], state.memory.target
  encode = functools.partial(critics.encode, policy, critics.ENCODERS["own"])
  _, metrics = critics.critic_loss(encode, cfg, critic, target, params, rows)
  encoded = [encode(which, params, rows, rows.at_state, rows.at_action) for which in (critic, target)]
  v = heads.apply_v(critic["heads"], encoded[0][0])
  q = heads.apply_q(target["heads"], *encoded[1], rows.said)  # here the fresh utterance is what was said
  q = jnp.minimum(q[:1], q[1:]) if clipped else q
  expected = np.mean(np.sum(np.square(np.asarray(q - v)), axis=0)[rows.taken])
  np.testing.assert_allclose(float(metrics["critic/v_loss"]), expected, rtol=1e-4)


def test_the_likelihoods_of_utterances_are_those_behind_their_states(params):
  """Of what was said and of branches of one to three tokens, against one token after another without a tree."""
  algorithm, rng = make(), np.random.default_rng(4)
  dialogues, _ = algorithm.prepare(algorithm.init(jax.random.key(0), params), play(params, rng))
  fresh = [rng.integers(0, 9, rng.integers(1, 4)).astype(np.int32) for _ in range(int(dialogues.taken.sum()))]
  policy = Policy(MODEL, PACK, 2, sampler)
  rows = critics.with_likelihoods(policy, params, jax.tree.map(jnp.asarray, lay_out(dialogues, fresh)))

  def naive(state, utterance):
    logp = 0.0
    for n, token in enumerate(utterance):
      logp += float(log_probabilities(params, jnp.asarray(np.append(state, utterance[:n])[None]))[0, token])
    return 0.1 * logp, np.exp(logp)

  branches = iter(fresh)
  for n in range(6):
    for u in range(int(dialogues.taken[n].sum())):
      tokens, start, end = dialogues.tokens[n], dialogues.state_end[n, u], dialogues.action_end[n, u]
      np.testing.assert_allclose(rows.said[n, u], naive(tokens[:start], tokens[start:end]), rtol=1e-4)
      np.testing.assert_allclose(rows.fresh[n, u], naive(tokens[:start], next(branches)), rtol=1e-4)
