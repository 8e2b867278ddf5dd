"""What every algorithm owes: one line in `ALGORITHMS` gives it all of these tests."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from agentrl import algorithms
from agentrl.algorithms import forward
from agentrl.algorithms.contract import Policy
from agentrl.batching.pack import PackConfig
from agentrl.models import transformer
from agentrl.training import config_values
from agentrl.types import Batch, StopReason, Trajectory

# name: (module, overrides of its default_config)
ALGORITHMS = {
  "grpo": ("grpo", {}),
  "grpo_kl": ("grpo", {"kl_coef": 0.01, "correction": "truncated"}),
  "dr_grpo": (
    "grpo",
    {"credit": "dr_grpo", "reduction": "sequence_sum_norm", "reduction_options": {"constant": 2.0}},
  ),
  "rloo": ("grpo", {"credit": "leave_one_out", "policy_loss": "reinforce", "loss": {}}),
  "loop": ("grpo", {"credit": "leave_one_out", "epochs": 2}),
  "dapo": ("grpo", {"reduction": "token_mean", "loss": {"clip_high": 0.28}}),
  "gspo": ("grpo", {"policy_loss": "gspo", "loss": {"clip_low": 3e-4, "clip_high": 4e-4}}),
  "cispo": ("grpo", {"policy_loss": "cispo", "reduction": "token_mean", "loss": {"clip_low": 1.0, "clip_high": 4.0}}),
  "lite_ppo": ("grpo", {"credit": "batch_std", "reduction": "token_mean", "entropy_coef": 1e-3}),
  "sapo": ("grpo", {"policy_loss": "sapo"}),
  "gmpo": ("grpo", {"policy_loss": "gmpo", "epochs": 2}),
  "dro": ("grpo", {"credit": "leave_one_out", "policy_loss": "dro", "epochs": 2}),
  "loop_turns": ("grpo", {"credit": "leave_one_out", "policy_loss": "turn_ratio", "epochs": 2}),
  "loop_trajectories": ("grpo", {"credit": "leave_one_out", "policy_loss": "trajectory_ratio", "epochs": 2}),
  "max_rl": ("grpo", {"credit": "max_rl", "policy_loss": "reinforce", "reduction": "prompt_mean"}),
  "pass_at_k": ("grpo", {"credit": "pass_at_k", "credit_options": {"k": 2}}),
  "clip_cov": ("grpo", {"policy_loss": "clip_cov", "loss": {"low": 0.1, "share": 0.02}, "epochs": 2}),
  "kl_cov": ("grpo", {"policy_loss": "kl_cov", "loss": {"share": 0.05}, "epochs": 2}),
  "echo": ("grpo", {"terms": {"world": {"term": "observations", "weight": 0.1}}, "entropy_coef": 0.01}),
  "ppo": ("ppo", {"minibatches": 1}),
  # Four steps to a batch: with a KL weight of 0.01 one seed of three settled on a wrong answer to one of the prompts.
  "ppo_kl": ("ppo", {"credit_options": {"kl_coef": 0.05}, "epochs": 2, "minibatches": 2}),
  "ppo_turns": ("ppo", {"credit": "turn_gae", "minibatches": 1}),
  "sft": ("sft", {"min_reward": 0.5}),
  "tree_distill": ("tree_distill", {"kl_coef": 0.01}),
  "archer": (
    "archer",
    {
      "discount": 0.9,
      "replay_capacity": 300,
      "critic": {"hidden": 32, "learning_rate": 1e-2, "updates": 20, "batch": 16, "dialogues": 32},
      # Without a warm-up, or without the bonus, the policy settles before the critics know anything.
      "actor": {"updates": 2, "batch": 24, "warmup": 10, "entropy_coef": 0.05},
    },
  ),
  # Those of a fork, see tests/fork.
  "own_loss_and_baseline": ("grpo", {"policy_loss": "my_method.topr_opo:topr", "credit": "my_method.topr_opo:opo"}),
  "own_head": (
    "grpo",
    {
      "credit": "my_method.progress:beyond_forecast",
      "terms": {"progress": {"term": "my_method.progress:progress", "weight": 0.5}},
    },
  ),
  "tree_distill_sampler": ("tree_distill", {"policy_loss": "ppo", "correction": "sampler", "kl_coef": 0.0}),
}
# Those that differ from a line above in one function of `ops` or `credit`, which has tests of its own.
SLOW = ("sapo", "gmpo", "dro", "loop_trajectories", "max_rl", "pass_at_k", "kl_cov")
IMITATORS = ("sft",)  # learn the probe task from demonstrations, not from rewards: name yours here if it does
MODEL = transformer.ModelConfig(vocab_size=9, width=16, layers=1, heads=2, kv_heads=1, head_dim=8, ffn=24)
PROMPTS, SAMPLES, OBSERVATION = 4, 6, 8
# Two groups to a row, and so two micro-batches.
PACK = PackConfig(row_tokens=40, row_actions=24, rows=1, sequences=PROMPTS * SAMPLES)
ROOM = {"echo": 36}  # `row_actions` of those whose batches list observation tokens too
EVALUATE = forward.make_evaluator(Policy(MODEL, PACK), {})


@pytest.fixture(
  params=[pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in ALGORITHMS], scope="module"
)
def name(request):
  return request.param


@pytest.fixture(scope="module")
def settings(name):
  module_name, overrides = ALGORITHMS[name]
  return config_values.resolve(algorithms.load(module_name).default_config(), overrides, where="test")


@pytest.fixture(scope="module")
def make(name, settings):
  """`make(settings, **pack changes) -> Algorithm`, built once where they are the same; one optimiser for all."""
  module = algorithms.load(ALGORITHMS[name][0])

  @functools.cache
  def built(overrides, pack):
    chosen = config_values.resolve(settings, dict(overrides), where="test")
    # An epsilon large enough for rounding of a gradient near 0 to stay rounding in the step.
    return module.make(Policy(MODEL, pack, 2, _sampler), optax.adam(3e-2, eps=1e-3), chosen)

  def build(overrides=None, **changes):
    differing = {key: value for key, value in (overrides or {}).items() if settings[key] != value}
    room = {"row_actions": ROOM.get(name, PACK.row_actions)}
    return built(tuple(differing.items()), dataclasses.replace(PACK, **{**room, **changes}))

  return build


@pytest.fixture(scope="module")
def algorithm(make):
  return make()


@pytest.fixture(scope="module")
def params():
  return transformer.init_params(jax.random.key(0), MODEL)


@jax.jit
def _log_probabilities(policy, tokens, length):
  """f32 [B, V] of the token after the first `length` [B] of each row."""
  positions = jnp.broadcast_to(jnp.arange(tokens.shape[1], dtype=jnp.int32)[None], tokens.shape)
  hidden = transformer.forward(policy, tokens, positions, jnp.full_like(tokens, tokens.shape[1]), config=MODEL)
  last = jnp.take_along_axis(hidden, (length - 1)[:, None, None], axis=1)[:, 0]
  return jax.nn.log_softmax(last @ transformer.unembedding(policy, MODEL))


def sample(policy, rng, *, demonstrate=False):
  """Trajectories [prompt, action, observation, action]; half the reward for each action that repeats the prompt."""
  prompts = np.repeat(np.arange(PROMPTS), SAMPLES).astype(np.int32)
  first, first_logp = _draw(policy, prompts[:, None], rng)
  first = prompts if demonstrate else first
  tokens = np.stack([prompts, first, np.full_like(first, OBSERVATION)], axis=1)
  second, second_logp = _draw(policy, tokens, rng)
  second = prompts if demonstrate else second
  rewards = 0.5 * (first == prompts) + 0.5 * (second == prompts)
  rows = np.concatenate([tokens, second[:, None]], axis=1)
  logp = np.stack([first_logp, second_logp], axis=1)
  return [_trajectory(i, *row) for i, row in enumerate(zip(rows, logp, rewards, strict=True))]


CHUNK = 32  # states that are continued at once: one shape


def _draw(policy, states, rng):
  """One token after each state, and its log-probability."""
  tokens, logp = np.zeros((-(-len(states) // CHUNK) * CHUNK, 3), np.int32), []
  length = np.ones(len(tokens), np.int32)
  for n, state in enumerate(states):
    tokens[n, : len(state)], length[n] = state, len(state)
  for first in range(0, len(tokens), CHUNK):
    chunk = slice(first, first + CHUNK)
    logp.append(_log_probabilities(policy, jnp.asarray(tokens[chunk]), jnp.asarray(length[chunk])))
  logp = np.concatenate(logp)[: len(states)]
  chosen = np.argmax(logp + rng.gumbel(size=logp.shape), axis=-1).astype(np.int32)
  return chosen, np.take_along_axis(logp, chosen[:, None], axis=1)[:, 0]


def _sampler(policy, key, states):
  """Stands in for the engine, for algorithms that ask for fresh utterances: one token after each state."""
  chosen, logp = _draw(policy, states, np.random.default_rng(np.asarray(jax.random.key_data(key))))
  out = []
  for n, (state, token) in enumerate(zip(states, chosen, strict=True)):
    spread = np.zeros(len(state) + 1, np.float32)
    spread[-1] = logp[n]
    mask = np.arange(len(state) + 1) == len(state)
    turn = np.where(mask, 0, -1).astype(np.int32)
    out.append(
      Trajectory(
        np.append(state, token).astype(np.int32), mask, spread, np.zeros_like(spread), turn, turn, (), "t", n, n,
        StopReason.ANSWERED,
      )
    )  # fmt: skip
  return out


def _trajectory(uid, tokens, logp, reward):
  mask = np.asarray([False, True, False, True])
  spread = np.zeros(4, np.float32)
  spread[mask] = logp
  turn = np.asarray([-1, 0, 0, 1], np.int32)
  version = np.where(mask, 0, -1).astype(np.int32)
  return Trajectory(
    tokens.astype(np.int32), mask, spread, np.zeros(4, np.float32), turn, version, (), f"task{tokens[0]}",
    uid // SAMPLES, uid, StopReason.ANSWERED, {"correct": float(reward)}, float(reward),
  )  # fmt: skip


def one_update(algorithm, params, trajectories, seed=0):
  state = algorithm.init(jax.random.key(seed), jax.tree.map(jnp.copy, params))
  batch, _ = algorithm.prepare(state, trajectories)
  return algorithm.update(state, jax.random.key(seed + 1), batch)


def assert_trees_close(a, b, atol):
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    np.testing.assert_allclose(x, y, atol=atol, rtol=0)


def test_learns_the_probe_task(name, algorithm, params):
  """From a quarter of the reward to nine tenths within 250 updates."""
  rng = np.random.default_rng(0)
  state = algorithm.init(jax.random.key(0), jax.tree.map(jnp.copy, params))
  rewards = []
  while len(rewards) < 250 and np.mean(rewards[-5:] or [0.0]) < 0.9:
    trajectories = sample(state.params["policy"], rng)
    rewards.append(np.mean([t.reward for t in trajectories]))
    if name in IMITATORS:
      trajectories = sample(state.params["policy"], rng, demonstrate=True)
    if name in IMITATORS or len({t.reward for t in trajectories}) > 1:
      batch, _ = algorithm.prepare(state, trajectories)
      state, _ = algorithm.update(state, jax.random.key(len(rewards)), batch)
  assert rewards[0] < 0.4 and np.mean(rewards[-5:]) >= 0.9


def test_metrics_are_finite_scalars_and_the_sampler_agrees(algorithm, settings, params):
  trajectories = sample(params, np.random.default_rng(1))
  state, metrics = one_update(algorithm, params, trajectories)
  assert int(state.updates) == np.prod([settings[name] for name in ("epochs", "minibatches") if name in settings])
  assert all(np.shape(value) == () and np.isfinite(value) for value in metrics.values())
  if "sampler/logp_diff_max" in metrics and int(state.updates) == 1:
    assert metrics["sampler/logp_diff_max"] < 1e-5


def test_second_call_does_not_compile(algorithm, params):
  rng = np.random.default_rng(2)
  state = algorithm.init(jax.random.key(0), jax.tree.map(jnp.copy, params))
  batches = []
  for _ in range(2):
    batch, _ = algorithm.prepare(state, sample(params, rng))
    batches.append(batch)
  state, _ = algorithm.update(state, jax.random.key(1), batches[0])
  with jax.log_compiles(True), _no_compilation():
    algorithm.update(state, jax.random.key(2), batches[1])


class _no_compilation:  # noqa: N801 - reads as a statement
  """Fails where anything compiles inside."""

  def __enter__(self):
    self._count = []
    jax.monitoring.register_event_duration_secs_listener(self._listen)

  def _listen(self, event, duration, **_):
    if "backend_compile" in event and self._count is not None:
      self._count.append(event)

  def __exit__(self, *_):
    count, self._count = self._count, None
    assert not count, f"compiled {len(count)} times"


def test_layout_does_not_change_the_update(name, make, settings, params):
  """Other micro-batches, other padding, prompts repeated: the same objective, and so the same steps."""
  trajectories = sample(params, np.random.default_rng(3), demonstrate=name in IMITATORS)
  # Several minibatches are ranges of rows, which a layout regroups.
  whole = {"minibatches": 1} if "minibatches" in settings else {}
  ends, micro_batches = [], []
  for algorithm in (make(whole), make(whole, rows=4, row_tokens=64, row_actions=30, share_prefixes=False)):
    state = algorithm.init(jax.random.key(0), jax.tree.map(jnp.copy, params))
    batch, _ = algorithm.prepare(state, trajectories)
    micro_batches += [int(batch.micro_batches)] if isinstance(batch, Batch) else []
    ends.append(algorithm.update(state, jax.random.key(1), batch)[0].params)
  assert micro_batches in ([2, 1], [])
  assert_trees_close(*ends, atol=1e-5)


def test_same_seed_same_update(algorithm, params):
  trajectories = sample(params, np.random.default_rng(4))
  a, _ = one_update(algorithm, params, trajectories)
  b, _ = one_update(algorithm, params, trajectories)
  assert_trees_close(a.params, b.params, atol=0)


def test_mask_surgery(algorithm, params):
  """The actions listed are those sampled, and what stands at any other token of a trajectory is never read."""
  trajectories = sample(params, np.random.default_rng(5))
  state = algorithm.init(jax.random.key(0), jax.tree.map(jnp.copy, params))
  batch, metrics = algorithm.prepare(state, trajectories)
  other, other_metrics = algorithm.prepare(state, [_scribbled(t) for t in trajectories])
  jax.tree.map(np.testing.assert_array_equal, (batch, metrics), (other, other_metrics))
  one, _ = one_update(algorithm, params, trajectories)
  two, _ = one_update(algorithm, params, [_scribbled(t) for t in trajectories])
  assert_trees_close(one.params, two.params, atol=0)
  if not isinstance(batch, Batch):
    return
  mask = np.asarray(batch.action_mask)
  positions = np.take_along_axis(np.asarray(batch.positions), np.asarray(batch.action_index), axis=2)[mask]
  owner = np.asarray(batch.action_sequence)[mask]
  for n in np.unique(owner):
    assert sorted(positions[owner == n]) == [1, 3]


def _scribbled(trajectory):
  """Nonsense wherever the policy did not sample."""
  spoil = lambda x, junk: np.where(trajectory.action_mask, x, x.dtype.type(junk))
  return dataclasses.replace(
    trajectory,
    sampler_logp=spoil(trajectory.sampler_logp, np.nan),
    entropy=spoil(trajectory.entropy, np.nan),
    policy_version=spoil(trajectory.policy_version, 99),
  )


def test_old_log_probs_are_those_of_the_policy_at_the_start(name, algorithm, params):
  """Scored apart and handed in, or left to the algorithm: the same update, so that none leaks a gradient."""
  if name in IMITATORS:
    pytest.skip("has no ratio")
  state = algorithm.init(jax.random.key(0), jax.tree.map(jnp.copy, params))
  batch, _ = algorithm.prepare(state, sample(params, np.random.default_rng(7)))
  if not isinstance(batch, Batch):
    pytest.skip("packs what it learns from in the update")
  given = batch.with_columns(old_logp=EVALUATE({"policy": params}, batch, ["logp"])["logp"])
  ends = []
  for chosen in (batch, given):
    state = algorithm.init(jax.random.key(0), jax.tree.map(jnp.copy, params))
    ends.append(algorithm.update(state, jax.random.key(1), chosen)[0].params)
  assert_trees_close(*ends, atol=1e-6)


def test_failed_environments_leave_loss_and_baseline(algorithm, params):
  trajectories = sample(params, np.random.default_rng(6))
  broken = dataclasses.replace(trajectories[0], stop=StopReason.ENVIRONMENT_FAILED, reward=None, reward_parts=None)
  with_it, _ = one_update(algorithm, params, [broken, *trajectories[1:]])
  without, _ = one_update(algorithm, params, trajectories[1:])
  assert_trees_close(with_it.params, without.params, atol=1e-6)


def test_a_reward_that_is_missing_never_reaches_the_weights(name, algorithm, params):
  """Imitators take such trajectories for authored ones; every other algorithm names the one it cannot learn from."""
  trajectories = sample(params, np.random.default_rng(0))
  trajectories[5] = dataclasses.replace(trajectories[5], reward=None)
  if name in IMITATORS:
    state, _ = one_update(algorithm, params, trajectories)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))
  else:
    with pytest.raises(ValueError, match=r"trajectory 5 \(task task\d\) .* has no reward"):
      one_update(algorithm, params, trajectories)
