"""Each setting of grpo does what its comment says, against arithmetic on naive log-probs."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from agentrl.algorithms import forward, grpo, learner
from agentrl.algorithms.objective import columns_of, objective, of_batch
from agentrl.batching.pack import Column, add_columns, pack
from agentrl.credit import group_baselines
from agentrl.ops import advantages
from agentrl.report import curves
from agentrl.training import config_values
from agentrl.types import StopReason

pytestmark = pytest.mark.usefixtures("forward_once")


def settings(**overrides):
  return config_values.resolve(grpo.default_config(), overrides, where="test")


@pytest.fixture(scope="module")
def batch(trajectories, policy):
  return grpo.make(policy, optax.sgd(1.0), settings()).prepare(None, trajectories)[0]


@pytest.fixture(scope="module")
def outputs(batch, trajectories, naive, listed):
  """`outputs(params) -> (logp, entropy)`, naive, each [M, B, A]."""

  def of(params):
    scored = [naive(params, t) for t in trajectories]
    return listed(batch, [s.logp for s in scored]), listed(batch, [s.entropy for s in scored])

  return of


@pytest.fixture
def loss(policy, batch, trajectories):
  """`loss(params, batch columns, **settings) -> LossOutput` of the one micro-batch in use."""

  def compute(params, columns=None, **overrides):
    cfg = settings(**overrides)
    chosen = grpo._terms(cfg)
    whole = add_columns(batch, trajectories, {n: make(trajectories) for n, make in columns_of(chosen).items()})
    whole = whole.with_columns(**{n: make(whole, jax.random.key(0)) for n, make in of_batch(chosen).items()})
    micro = forward.micro_batch(whole.with_columns(**(columns or {})), jnp.int32(0))
    return objective(policy, chosen, learner.reduction(cfg)).loss({"policy": params}, micro, ())

  return compute


def scored(policy, params, batch):
  """Log-probs under the params, [M, B, A]."""
  return forward.make_evaluator(policy, {})({"policy": params}, batch, ["logp"])["logp"]


def by_sequence(batch, values):
  """Mean over trajectories of the mean over their action tokens."""
  owner = batch.action_sequence[batch.action_mask]
  return np.mean([values[batch.action_mask][owner == n].mean() for n in np.unique(owner)])


def k3(logp, ref_logp):
  return np.exp(ref_logp - logp) + logp - ref_logp - 1


# ---- credit -----------------------------------------------------------------------------------------------------

# Rewards 1, 0, 1/2 and 1, 1, 0: means 1/2 and 2/3, spreads (n - 1) 1/2 and sqrt(1/3); of all six sqrt(1.20833 / 5).
CENTRED = np.array([1 / 2, -1 / 2, 0, 1 / 3, 1 / 3, -2 / 3])
CREDIT = {
  "grpo": [1.0, -1.0, 0.0, 3**-0.5, 3**-0.5, -2 * 3**-0.5],
  "dr_grpo": CENTRED,
  "leave_one_out": [3 / 4, -3 / 4, 0.0, 1 / 2, 1 / 2, -1.0],
  "batch_std": CENTRED / np.sqrt(1.2083333 / 5),
}


@pytest.mark.parametrize("name", CREDIT)
def test_every_action_token_has_the_advantage_of_its_trajectory(name, trajectories, policy, listed):
  apart = [dataclasses.replace(t, group_id=1000 * t.group_id + 7) for t in trajectories]
  algorithm = grpo.make(policy, optax.sgd(1.0), settings(credit=name))
  batch, metrics = algorithm.prepare(None, apart)
  columns = [np.full(len(t.tokens), a) for t, a in zip(apart, CREDIT[name], strict=True)]
  assert batch.action_mask.sum() == sum(t.action_mask.sum() for t in apart)
  np.testing.assert_allclose(batch.columns["advantages"], listed(batch, columns), atol=1e-5)
  np.testing.assert_allclose(metrics["advantage/mean_abs"], np.mean(np.abs(CREDIT[name])), rtol=1e-5)
  np.testing.assert_allclose(metrics["advantage/nonzero"], 5 / 6, rtol=1e-6)


# ---- samples that branch from each other ------------------------------------------------------------------------

# Trajectory n becomes a branch of another one behind its fourth token: trees {0, 1, 2} with a grandchild, and {3, 4}.
BRANCHES = {1: 0, 2: 1, 4: 3}
FORK = {1: 4, 2: 5, 4: 4}


@pytest.fixture(scope="module")
def tree(trajectories):
  """The recorded trajectories, with branches that repeat the beginning of another one."""
  out = [dataclasses.replace(t, sampler_logp=np.zeros(len(t.tokens), np.float32)) for t in trajectories]
  for n, parent in BRANCHES.items():
    at = FORK[n]
    own = {
      name: np.append(getattr(out[parent], name)[:at], getattr(out[n], name)[at:]) for name in ("tokens", "action_mask")
    }
    out[n] = dataclasses.replace(out[n], **own, parent=parent, fork_at=at)
  return out


@pytest.fixture(scope="module")
def gradient_of(policy, params):
  """`gradient_of(trajectories, credit, **settings)`: the policy's gradient for given per-token credits, [leaves]."""

  def compute(algorithm_settings, batch):
    chosen = objective(policy, grpo._terms(algorithm_settings), learner.reduction(algorithm_settings))
    loss = lambda p: chosen.loss({"policy": p}, forward.micro_batch(batch, jnp.int32(0)), ()).loss
    return jnp.concatenate([g.ravel() for g in jax.tree.leaves(jax.grad(loss)(params))])

  return compute


def apart(tree):
  """The same trajectories without their links, each in a row of its own."""
  return [dataclasses.replace(t, parent=None, fork_at=0) for t in tree]


def holders(tree, n, t):
  """Trajectories that hold token t of trajectory n: they have the same tokens up to there by the tree's links."""

  def owner(m):
    while m in BRANCHES and t < FORK[m]:
      m = BRANCHES[m]
    return m

  return [m for m in range(len(tree)) if t < len(tree[m].tokens) and owner(m) == owner(n)]


CONSTANT = {"reduction": "sequence_sum_norm", "reduction_options": {"constant": 4.0}}


@pytest.mark.parametrize(
  ("reduction", "credit"),
  [
    ({"reduction": "token_mean"}, "soft"),
    ({"reduction": "token_mean"}, "hard"),
    ({"reduction": "sequence_mean"}, "soft"),  # hard would differ: its copies are weighed by the lengths of their rows
    (CONSTANT, "soft"),
    (CONSTANT, "hard"),
  ],
)
def test_per_branch_is_the_gradient_of_rows_that_repeat_what_they_share(tree, policy, gradient_of, reduction, credit):
  """Soft: each row has its own advantage. Hard: a repeated token has the mean over its copies, in each of them."""
  config = settings(shared_tokens="per_branch", **reduction)
  together, _ = grpo.make(policy, optax.sgd(1.0), config).prepare(None, tree)
  own = np.asarray([column[0] for column in group_baselines.grpo(None, tree).advantages])
  columns = [np.full(len(t.tokens), a, np.float32) for t, a in zip(tree, own, strict=True)]
  if credit == "hard":
    columns = [
      np.asarray([np.mean(own[holders(tree, n, t)]) for t in range(len(c))], np.float32) for n, c in enumerate(columns)
    ]
  wide = dataclasses.replace(policy.pack, row_tokens=64, row_actions=40, rows=1, share_prefixes=False)
  naive = pack(apart(tree), {"advantages": Column(columns)}, wide)
  assert int(naive.action_mask.sum()) > int(together.action_mask.sum())
  np.testing.assert_allclose(gradient_of(config, together), gradient_of(config, naive), atol=2e-5)


def test_once_is_the_gradient_of_rows_whose_repeated_tokens_share_one_count(tree, policy, gradient_of):
  """d copies of a token count 1/d each, and have the mean of their advantages."""
  config = settings(**CONSTANT)
  together, _ = grpo.make(policy, optax.sgd(1.0), config).prepare(None, tree)
  own = np.asarray([column[0] for column in group_baselines.grpo(None, tree).advantages])
  columns = []
  for n, t in enumerate(tree):
    copies = [holders(tree, n, position) for position in range(len(t.tokens))]
    columns.append(np.asarray([np.mean(own[c]) / len(c) for c in copies], np.float32))
  wide = dataclasses.replace(policy.pack, row_tokens=64, row_actions=40, rows=1, share_prefixes=False)
  naive = gradient_of(config, pack(apart(tree), {"advantages": Column(columns)}, wide))
  np.testing.assert_allclose(gradient_of(config, together), naive, atol=2e-5)
  per_branch, _ = grpo.make(policy, optax.sgd(1.0), settings(**{**config, "shared_tokens": "per_branch"})).prepare(
    None, tree
  )
  assert np.max(np.abs(gradient_of(config, per_branch) - naive)) > 1e-2


@pytest.mark.parametrize(("name", "scale"), [("dr_grpo", 1.0), ("leave_one_out", 3 / 2)])
@pytest.mark.parametrize("shared_by", [1, 2, 3])
def test_a_group_baseline_shrinks_the_gradient_of_a_shared_token(name, scale, shared_by):
  """All outcomes of three samples, `shared_by` of which have their first of two coins in common.

  P(first = 1) = q = 0.3 by a logit: d log pi / d logit = first - q. P(second = 1) = 1/2. Reward 2 first + second:
  J = 2 q + 1/2, and its gradient is 2 q (1 - q).
  """
  q, expected = 0.3, 0.0
  roots = 4 - shared_by  # the shared first coin, and those of the others
  for coins in itertools.product((0, 1), repeat=roots + 3):
    first = [coins[0]] * shared_by + list(coins[1:roots])
    rewards = 2.0 * np.asarray(first) + coins[roots:]
    probability = np.prod([q if coin else 1 - q for coin in coins[:roots]]) * 0.5**3
    credit = getattr(advantages, name)(
      jnp.asarray(rewards, jnp.float32), jnp.zeros(3, jnp.int32), jnp.ones(3, bool), num_groups=1
    )
    expected += probability * float(jnp.mean(credit[:shared_by])) * (coins[0] - q)
  np.testing.assert_allclose(expected, scale * (1 - shared_by / 3) * 2 * q * (1 - q), atol=1e-6)


def test_without_branches_both_ways_of_counting_are_one(trajectories, policy):
  once, per_branch = (
    grpo.make(policy, optax.sgd(1.0), settings(shared_tokens=how)).prepare(None, trajectories)[0]
    for how in ("once", "per_branch")
  )
  np.testing.assert_allclose(once.columns["advantages"], per_branch.columns["advantages"], rtol=1e-6)


def test_an_unknown_way_of_counting_names_the_nearest(policy):
  with pytest.raises(ValueError, match=r"'per_brunch'.*did you mean 'per_branch'"):
    grpo.make(policy, optax.sgd(1.0), settings(shared_tokens="per_brunch"))


def test_nothing_left_to_train_on_is_an_error(trajectories, policy):
  failed = [dataclasses.replace(t, stop=StopReason.ENVIRONMENT_FAILED, reward=None) for t in trajectories]
  with pytest.raises(ValueError, match="every one was filtered out"):
    grpo.make(policy, optax.sgd(1.0), settings()).prepare(None, failed)


# ---- terms of the loss ------------------------------------------------------------------------------------------


def test_at_ratio_one_the_loss_is_minus_the_mean_advantage(batch, loss, params):
  value = loss(params).loss
  np.testing.assert_allclose(value, -np.mean(CREDIT["grpo"]), atol=1e-6)
  # Tokens of long trajectories weigh more where tokens are averaged: 3, 3, 5 and 2, 4, 4 of them.
  np.testing.assert_allclose(
    loss(params, reduction="token_mean").loss, -batch.columns["advantages"].sum() / 21, rtol=1e-5
  )
  summed = loss(params, reduction="sequence_sum_norm", reduction_options={"constant": 10.0}).loss
  np.testing.assert_allclose(summed, -batch.columns["advantages"].sum() / (6 * 10), rtol=1e-5)
  assert abs(batch.columns["advantages"].sum()) > 1


def test_bounds_of_the_ratio_reach_the_loss(batch, loss, outputs, params):
  logp, _ = outputs(params)
  ratio = np.exp(logp - batch.columns["sampler_logp"])
  clipped = np.clip(ratio, 1 - 0.1, 1 + 0.05)
  per_token = -np.minimum(ratio * batch.columns["advantages"], clipped * batch.columns["advantages"])
  out = loss(
    params, {"old_logp": jnp.asarray(batch.columns["sampler_logp"])}, loss={"clip_low": 0.1, "clip_high": 0.05}
  )
  np.testing.assert_allclose(out.loss, by_sequence(batch, per_token), rtol=1e-4)
  low = (ratio < 0.9) & (batch.columns["advantages"] < 0) & batch.action_mask
  high = (ratio > 1.05) & (batch.columns["advantages"] > 0) & batch.action_mask
  assert low.any()
  assert high.any()
  np.testing.assert_allclose(out.sums["policy/clipped_low"], low.sum() / 21, rtol=1e-5)
  np.testing.assert_allclose(out.sums["policy/clipped_high"], high.sum() / 21, rtol=1e-5)


@pytest.mark.parametrize("cap", [1.2, 1e6])
def test_the_importance_weight_is_truncated_at_the_cap(batch, loss, outputs, params, cap):
  logp, _ = outputs(params)
  weight = np.exp(logp - batch.columns["sampler_logp"])[batch.action_mask]
  assert weight.min() < 1 < 1.2 < weight.max()
  weight = np.minimum(np.exp(logp - batch.columns["sampler_logp"]), cap)
  value = loss(params, correction="truncated", correction_options={"cap": cap}).loss
  np.testing.assert_allclose(value, by_sequence(batch, -weight * batch.columns["advantages"]), rtol=1e-4, atol=1e-6)


def test_the_entropy_bonus_is_the_coefficient_times_the_entropy(batch, loss, outputs, params):
  _, entropy = outputs(params)
  without, out = loss(params), loss(params, entropy_coef=0.25)
  np.testing.assert_allclose(out.loss - without.loss, -0.25 * by_sequence(batch, entropy), rtol=1e-5)
  np.testing.assert_allclose(out.sums["policy/entropy"], entropy.sum() / 21, rtol=1e-5)


KL = {"k1": lambda p, q: p - q, "k2": lambda p, q: (p - q) ** 2 / 2, "k3": k3}


@pytest.mark.parametrize("name", KL)
def test_the_kl_term_is_the_coefficient_times_the_estimate(batch, loss, outputs, params, other_params, name):
  (logp, _), (ref_logp, _) = outputs(params), outputs(other_params)
  divergence = np.where(batch.action_mask, KL[name](logp, ref_logp), 0.0)
  columns = {"ref_logp": jnp.asarray(ref_logp, jnp.float32)}
  without, out = loss(params, columns), loss(params, columns, kl_coef=0.5, kl=name)
  np.testing.assert_allclose(out.loss - without.loss, 0.5 * by_sequence(batch, divergence), rtol=1e-4)
  np.testing.assert_allclose(out.sums["policy/kl_ref"], divergence.sum() / 21, rtol=1e-4)
  assert "policy/kl_ref" not in without.sums


# ---- what carries no gradient -----------------------------------------------------------------------------------

# Losses of a token, a sequence and a turn, with and without a ratio, and one that has tokens marked.
KINDS = ("ppo", "gspo", "turn_ratio", "cispo", "reinforce", "clip_cov")
TRUNCATED = {"correction": "truncated", "correction_options": {"cap": 1.2}}
EVERYTHING = {"kl_coef": 0.5, "entropy_coef": 0.1, **TRUNCATED}


@pytest.mark.parametrize("name", KINDS)
def test_recorded_and_reference_log_probs_and_advantages_are_constants(
  batch, loss, outputs, params, other_params, name
):
  """The losses say so of themselves; here of everything that the algorithm puts around them."""
  ref_logp, old_logp = (jnp.asarray(outputs(other_params)[0] + shift, jnp.float32) for shift in (0.0, 0.1))
  columns = {
    "old_logp": old_logp,
    "ref_logp": ref_logp,
    "sampler_logp": jnp.asarray(batch.columns["sampler_logp"]),
    "advantages": jnp.asarray(batch.columns["advantages"]),
  }
  gradient = jax.grad(lambda p, c: loss(p, c, policy_loss=name, **EVERYTHING).loss, argnums=(0, 1))
  of_params, of_columns = gradient(params, columns)
  assert all(np.any(x) for x in jax.tree.leaves(of_params))
  for column, value in of_columns.items():
    np.testing.assert_array_equal(value, 0.0, err_msg=column)


@pytest.mark.parametrize("name", KINDS)
def test_log_probs_of_the_current_policy_left_out_or_given_are_the_same(batch, loss, policy, params, name):
  """Left out they come from the params that the gradient is taken of, and are constants all the same."""
  given = {"old_logp": scored(policy, params, batch)}
  gradient = jax.value_and_grad(lambda p, c: loss(p, c, policy_loss=name, **TRUNCATED).loss)
  left_out, explicit = gradient(params, {}), gradient(params, given)
  assert optax.tree.norm(left_out[1]) > 0.1
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), left_out, explicit)


# ---- the whole update -------------------------------------------------------------------------------------------


def test_without_kl_no_reference_is_kept(policy, params):
  assert grpo.make(policy, optax.sgd(1.0), settings()).init(jax.random.key(0), params).reference is None
  kept = grpo.make(policy, optax.sgd(1.0), settings(kl_coef=0.1)).init(jax.random.key(0), params).reference
  jax.tree.map(np.testing.assert_array_equal, kept, params)
  assert kept["embed"] is not params["embed"]  # an update donates the params


@pytest.fixture(scope="module")
def updated(batch, policy, params, other_params):
  """State and metrics after one update with every term, and a reference other than the policy."""
  algorithm = grpo.make(policy, optax.sgd(1.0), settings(reduction="token_mean", **EVERYTHING))
  state = algorithm.init(jax.random.key(0), other_params)
  state = state._replace(params={"policy": jax.tree.map(jnp.copy, params)})
  return algorithm.update(state, jax.random.key(1), batch)


def test_one_update_follows_the_slope_of_the_naive_objective(updated, batch, outputs, params, other_params):
  start, _ = outputs(params)
  ref_logp, _ = outputs(other_params)
  weight = np.minimum(np.exp(start - batch.columns["sampler_logp"]), 1.2)

  def objective(params):
    logp, entropy = outputs(params)
    surrogate = -weight * np.exp(logp - start) * batch.columns["advantages"]
    per_token = surrogate - 0.1 * entropy + 0.5 * k3(logp, ref_logp)
    return per_token[batch.action_mask].mean()

  state, metrics = updated
  np.testing.assert_allclose(metrics["policy/loss"], objective(params), rtol=1e-4)
  np.testing.assert_allclose(metrics["policy/kl_ref"], k3(start, ref_logp)[batch.action_mask].mean(), rtol=1e-4)
  gradient = jax.tree.map(jnp.subtract, params, state.params["policy"])
  norm = optax.tree.norm(gradient)
  moved = lambda d: jax.tree.map(lambda p, g: p + d * g / norm, params, gradient)
  slope = (objective(moved(1e-2)) - objective(moved(-1e-2))) / 2e-2
  np.testing.assert_allclose(slope, norm, rtol=2e-3)
  np.testing.assert_allclose(metrics["optimizer/grad_norm"], norm, rtol=1e-4)
  jax.tree.map(np.testing.assert_array_equal, state.reference, other_params)


def test_later_epochs_keep_the_log_probs_of_the_start(batch, policy, loss, params):
  """The second step has a ratio other than 1, and its gradient is that of the loss with the first log-probs."""
  algorithm = grpo.make(policy, optax.sgd(1.0), settings(epochs=2))
  state, _ = algorithm.update(
    algorithm.init(jax.random.key(0), jax.tree.map(jnp.copy, params)), jax.random.key(1), batch
  )
  assert state.updates == 2
  start = {"old_logp": scored(policy, params, batch)}
  moving = params
  for _ in range(2):
    gradient = jax.grad(lambda p: loss(p, start).loss)(moving)
    moving = jax.tree.map(jnp.subtract, moving, gradient)
  assert loss(moving, start).sums["policy/log_ratio"] != 0
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), state.params["policy"], moving)


def test_the_report_draws_what_an_update_writes(updated):
  drawn = {series.metric for panel in curves.PANELS for series in panel.curves}
  drawn = {metric for metric in drawn if metric.startswith(("policy/", "sampler/", "optimizer/"))}
  assert drawn <= set(updated[1])


@pytest.mark.parametrize(
  ("wrong", "message"),
  [
    ({"credit": "grop"}, "no credit is called 'grop'.*did you mean 'grpo'"),
    ({"policy_loss": "pppo"}, "no policy loss is called 'pppo'.*did you mean 'ppo'"),
    ({"kl": "k4"}, "no KL estimator is called 'k4'"),
    ({"reduction": "mean"}, "no reduction is called 'mean'"),
    ({"loss": {"clip": 0.2}}, r"algo\.loss\.clip: did you mean 'clip_low'"),
  ],
)
def test_a_wrong_name_is_refused_when_the_algorithm_is_built(policy, wrong, message):
  with pytest.raises(ValueError, match=message):
    grpo.make(policy, optax.sgd(1.0), settings(**wrong))
