"""ArCHer on two-turn dialogues whose values are known exactly."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from agentrl.algorithms import archer
from agentrl.algorithms.contract import Policy
from agentrl.batching.pack import PackConfig
from agentrl.models import heads, transformer
from agentrl.ops.finite import NonFinite
from agentrl.training import config as config_lib
from agentrl.types import StopReason, Trajectory, Turn, TurnKind

MODEL = transformer.ModelConfig(vocab_size=9, width=16, layers=1, heads=2, kv_heads=1, head_dim=8, ffn=24)
PACK = PackConfig(row_tokens=16, row_actions=8, rows=4, sequences=24)
PROMPTS, SAMPLES, OBSERVATION, DISCOUNT = 4, 6, 8, 0.9
SMALL = {
  "discount": DISCOUNT,
  "replay_capacity": 300,
  "critic": {"hidden": 32, "learning_rate": 1e-2, "updates": 20, "batch": 16, "dialogues": 32},
  "actor": {"updates": 4, "batch": 24, "warmup": 5},
}


@jax.jit
def log_probabilities(params, tokens):
  """f32 [N, V] of the token after each row of equal length."""
  positions = jnp.broadcast_to(jnp.arange(tokens.shape[1], dtype=jnp.int32)[None], tokens.shape)
  hidden = transformer.forward(params, tokens, positions, jnp.full_like(tokens, tokens.shape[1]), config=MODEL)
  return jax.nn.log_softmax(hidden[:, -1] @ transformer.unembedding(params, MODEL))


def speak(params, states, rng):
  """One token after each state, and its log-probability; states of one length."""
  logp = np.asarray(log_probabilities(params, jnp.asarray(states)))
  token = np.argmax(logp + rng.gumbel(size=logp.shape), axis=-1).astype(np.int32)
  return token, np.take_along_axis(logp, token[:, None], axis=1)[:, 0]


def dialogue(uid, tokens, spans, logp, rewards):
  """A trajectory whose sampled tokens are at `spans`; each turn earned its reward."""
  mask, turn = np.zeros(len(tokens), bool), np.full(len(tokens), -1, np.int32)
  for number, start in enumerate(spans):
    mask[start], turn[start:] = True, number
  spread = np.zeros(len(tokens), np.float32)
  spread[mask] = logp
  turns = tuple(
    Turn(TurnKind.ANSWER, start, start + 1, "", reward=float(r)) for start, r in zip(spans, rewards, strict=True)
  )
  return Trajectory(
    np.asarray(tokens, np.int32), mask, spread, np.zeros(len(tokens), np.float32), turn,
    np.where(mask, 0, -1).astype(np.int32), turns, "t", uid, uid, StopReason.ANSWERED, {}, float(sum(rewards)),
  )  # fmt: skip


def sampler(params, key, states):
  """Stands in for the engine: one token from each state, of length 1 or 3."""
  rng, out = np.random.default_rng(np.asarray(jax.random.key_data(key))), [None] * len(states)
  for length in {len(s) for s in states}:
    index = [n for n, s in enumerate(states) if len(s) == length]
    token, logp = speak(params, np.stack([states[n] for n in index]), rng)
    for n, one, lp in zip(index, token, logp, strict=True):
      out[n] = dialogue(n, [*states[n], one], [length], [lp], [0.0])
  return out


def play(params, rng, samples=SAMPLES):
  """[prompt, turn, observation, turn]; half a point for each turn that repeats the prompt."""
  prompts = np.repeat(np.arange(PROMPTS), samples).astype(np.int32)
  first, first_logp = speak(params, prompts[:, None], rng)
  rows = np.stack([prompts, first, np.full_like(first, OBSERVATION)], axis=1)
  second, second_logp = speak(params, rows, rng)
  rows = np.concatenate([rows, second[:, None]], axis=1)
  return [
    dialogue(n, row, [1, 3], lp, [0.5 * (row[1] == row[0]), 0.5 * (row[3] == row[0])])
    for n, (row, lp) in enumerate(zip(rows, np.stack([first_logp, second_logp], axis=1), strict=True))
  ]


def make(**overrides):
  cfg = config_lib.resolve(archer.default_config(), SMALL, where="test")
  return archer.make(
    Policy(MODEL, PACK, 2, sampler), optax.adam(1e-2, eps=1e-3), config_lib.resolve(cfg, overrides, where="test")
  )


@pytest.fixture(scope="module")
def params():
  return transformer.init_params(jax.random.key(0), MODEL)


def train(algorithm, params, updates, seed=0, samples=SAMPLES):
  """Returns the state, the returns of every round, and the last metrics."""
  rng = np.random.default_rng(seed)
  state, returns = algorithm.init(jax.random.key(seed), jax.tree.map(jnp.copy, params)), []
  for n in range(updates):
    played = play(state.params["policy"], rng, samples)
    returns.append(np.mean([sum(turn.reward for turn in t.turns) for t in played]))
    batch, _ = algorithm.prepare(state, played)
    state, metrics = algorithm.update(state, jax.random.key(1000 * seed + n), batch)
  return state, returns, {name: float(value) for name, value in metrics.items()}


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
  cfg = config_lib.resolve(archer.default_config(), SMALL, where="test")
  cfg = config_lib.resolve(cfg, {"critic": {"learning_rate": 1e-5}}, where="test")
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


@pytest.mark.parametrize(("updates", "steps"), [(3, 0), (10, 0), (12, 6)])
def test_the_schedule_counts_no_steps_while_the_critic_is_alone(updates, steps):
  assert archer.optimizer_steps(ConfigDict({"actor": {"updates": 3, "warmup": 10}}), updates) == steps


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


@pytest.mark.parametrize(
  "overrides",
  [
    {},
    {"critic": {"encoder": "policy"}},
    {"actor": {"token_baseline": True}},
    {"critic": {"expectile": 0.7, "clipped_double_q": True}},
    {"critic": {"likelihood": True}},
  ],
  ids=["plain", "trunk", "token_baseline", "expectile_clipped", "likelihood"],
)
def test_learns_to_repeat_the_prompt(params, overrides):
  _, returns, metrics = train(make(**overrides), params, 40)
  assert np.mean(returns[:5]) < 0.4
  assert np.mean(returns[-5:]) > 0.85, returns
  assert all(np.isfinite(value) for value in metrics.values())
  assert metrics["sampler/logp_diff_max"] < 0.5  # at most what the steps of one micro-batch may move


def test_the_policy_waits_for_its_critic(params):
  algorithm = make(actor={"warmup": 2})
  state, _, metrics = train(algorithm, params, 2)
  jax.tree.map(np.testing.assert_array_equal, state.params["policy"], params)
  assert "actor/advantage" not in metrics
  state, _, metrics = train(algorithm, params, 3)
  assert not np.array_equal(state.params["policy"]["embed"], params["embed"]) and "actor/advantage" in metrics


def test_without_actor_steps_the_policy_stays_as_it_is(params):
  algorithm = make(actor={"updates": 0, "warmup": 0})
  state, _, metrics = train(algorithm, params, 2)
  jax.tree.map(np.testing.assert_array_equal, state.params["policy"], params)
  assert "actor/advantage" not in metrics and metrics["critic/grad_norm"] > 0.0
  assert archer.optimizer_steps(ConfigDict({"actor": {"updates": 0, "warmup": 0}}), 9) == 0


def test_utterances_are_judged_one_by_one_as_in_their_dialogues(params, monkeypatch):
  """min Q of turns cut out of dialogues, in any order and number at once, is that of the turns where they stand."""
  algorithm = make(actor={"warmup": 10})
  state, _, _ = train(algorithm, params, 2)
  played = play(params, np.random.default_rng(3))
  dialogues, _ = algorithm.prepare(state, played)
  rows = archer._lay_out(dialogues, None)
  q, _ = archer._judge(Policy(MODEL, PACK, 2, sampler), state.params["critic"], params, rows)
  assert np.std(q) > 1e-3 and q.shape == (len(played), 2)
  cut = [dialogue(n, t.tokens[: end + 1], [end], [0.0], [0.0]) for n, t in enumerate(played) for end in (1, 3)]
  cut = [dataclasses.replace(t, reward=None) for t in cut]  # nobody rewards what nobody has said
  order = np.random.default_rng(0).permutation(len(cut))
  monkeypatch.setattr(archer, "JUDGED_ROWS", 20)  # three calls, the last one of 8
  got = algorithm.judge(state.params, [cut[n] for n in order])
  assert got.dtype == np.float32
  np.testing.assert_allclose(got, np.asarray(q).reshape(-1)[order], atol=1e-5)


def test_a_state_carries_all_that_an_update_needs(params):
  """What a checkpoint keeps is enough: the same update from a copy that went through the host."""
  algorithm = make()
  state, _, _ = train(algorithm, params, 6)
  copy = jax.tree.map(lambda a: jnp.asarray(np.asarray(a)), state)
  batch, _ = algorithm.prepare(state, play(params, np.random.default_rng(9)))
  one, _ = algorithm.update(state, jax.random.key(5), batch)
  two, _ = algorithm.update(copy, jax.random.key(5), batch)
  jax.tree.map(np.testing.assert_array_equal, one, two)


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
  rows = archer._lay_out(dialogues, None)
  cfg = config_lib.resolve(archer.default_config(), {"critic": {"clipped_double_q": clipped}}, where="test")
  policy, critic, target = Policy(MODEL, PACK, 2, sampler), state.params["critic"], state.memory.target
  _, metrics = archer._critic_loss(policy, cfg, critic, target, params, rows)
  encoded = [archer._encode(policy, which, params, rows, rows.at_state, rows.at_action) for which in (critic, target)]
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
  rows = archer._likelihoods(policy, params, jax.tree.map(jnp.asarray, archer._lay_out(dialogues, fresh)))

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


@pytest.mark.parametrize(
  ("overrides", "message"),
  [
    ({"replay_capacity": 8}, "replay_capacity=8 is smaller than a batch, algo.critic.batch=16"),
    ({"critic": {"encoder": "roberta"}}, "critic.encoder='roberta'"),
  ],
)
def test_wrong_settings_are_named(overrides, message):
  with pytest.raises(ValueError, match=message):
    make(**overrides)


def test_a_policy_without_sampler_is_refused():
  with pytest.raises(ValueError, match="sampler"):
    archer.make(Policy(MODEL, PACK), optax.sgd(1.0), ConfigDict(archer.default_config()))
