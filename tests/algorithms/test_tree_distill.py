"""Each setting of tree_distill, against every logit."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from agentrl.algorithms import tree_distill
from agentrl.training import config_values
from agentrl.types import StopReason, VisitShares

RATE = 0.1


def build(policy, **settings):
  cfg = config_values.resolve(tree_distill.default_config(), settings, where="test")
  return tree_distill.make(policy, optax.sgd(RATE), cfg)


def started(algorithm, params):
  """A state whose value head is not zero."""
  state = algorithm.init(jax.random.key(3), jax.tree.map(jnp.copy, params))
  width = state.params["value"]["weight"].shape[0]
  head = {"weight": jnp.linspace(-0.5, 0.5, width), "bias": jnp.float32(0.25)}
  state = state._replace(params={**state.params, "value": head})
  return state, jax.tree.map(np.array, head)  # updates take the state's own arrays


def values_of(naive, params, head, trajectory):
  hidden = naive(params, trajectory).hidden
  values = hidden @ np.asarray(head["weight"], np.float64) + float(head["bias"])
  return np.where(trajectory.action_mask, values, 0.0)


@pytest.mark.parametrize("credit", ["value_baseline", "reward"])
def test_advantages_are_reward_minus_value(credit, policy, params, trajectories, naive, listed):
  algorithm = build(policy, credit=credit)
  state, head = started(algorithm, params)
  batch, metrics = algorithm.prepare(state, trajectories)
  gained = [np.where(t.action_mask, t.reward - values_of(naive, params, head, t), 0.0) for t in trajectories]
  rewards = [np.where(t.action_mask, t.reward, 0.0) for t in trajectories]
  advantages = gained if credit == "value_baseline" else rewards
  np.testing.assert_allclose(batch.columns["advantages"], listed(batch, advantages), atol=1e-5)

  def every(columns):
    return np.concatenate([a[t.action_mask] for a, t in zip(columns, trajectories, strict=True)])

  assert metrics["value/error"] == pytest.approx(np.mean(every(gained) ** 2), rel=1e-4)
  assert metrics["advantage/mean"] == pytest.approx(np.mean(every(advantages)), rel=1e-4)


@pytest.mark.parametrize("correction", ["none", "sampler"])
def test_the_loss_is_cispo_and_value_and_kl(correction, policy, params, other_params, trajectories, naive):
  settings = {"correction": correction, "kl_coef": 0.5, "value_coef": 2.0, "loss": {"clip_high": 0.1}}
  algorithm = build(policy, **settings)
  state, head = started(algorithm, params)
  state = state._replace(reference=jax.tree.map(jnp.copy, other_params))
  batch, _ = algorithm.prepare(state, trajectories)
  _, metrics = algorithm.update(state, jax.random.key(0), batch)
  wanted = []
  for t in trajectories:
    mask = t.action_mask
    logp, values = naive(params, t).logp[mask], values_of(naive, params, head, t)[mask]
    old = logp if correction == "none" else t.sampler_logp[mask]
    weight = np.minimum(np.exp(logp - old), 1.1)
    gap = naive(other_params, t).logp[mask] - logp
    per_token = -weight * (t.reward - values) * logp + (values - t.reward) ** 2 + 0.5 * (np.expm1(gap) - gap)
    wanted.append(np.mean(per_token))
  assert metrics["policy/loss"] == pytest.approx(np.mean(wanted), rel=1e-4)


def test_ratios_of_the_policy_itself_are_one(policy, params, trajectories):
  algorithm = build(policy, kl_coef=0.0, loss={"clip_high": 0.0})
  state, _ = started(algorithm, params)
  batch, _ = algorithm.prepare(state, trajectories)
  assert "old_logp" not in batch.columns and state.reference is None
  _, metrics = algorithm.update(state, jax.random.key(0), batch)
  assert metrics["policy/log_ratio"] == 0.0


def test_the_detached_critic_leaves_the_trunk_alone(policy, params, trajectories):
  """With rewards equal to the values' constant and no other term, only an attached critic moves the policy."""
  ends = {}
  for detach in (False, True):
    algorithm = build(policy, kl_coef=0.0, policy_loss="reinforce", value_detach=detach)
    state, _ = started(algorithm, params)
    batch, _ = algorithm.prepare(state, trajectories)
    batch = batch.with_columns(advantages=jnp.zeros_like(batch.columns["advantages"]))
    ends[detach], _ = algorithm.update(state, jax.random.key(0), batch)
  moved = lambda end: max(
    float(jnp.max(jnp.abs(a - b)))
    for a, b in zip(jax.tree.leaves(end.params["policy"]), jax.tree.leaves(params), strict=True)
  )
  assert moved(ends[True]) == 0.0 < moved(ends[False])
  np.testing.assert_array_equal(ends[True].params["value"]["weight"], ends[False].params["value"]["weight"])


# ---- visits -------------------------------------------------------------------------------------------------------


def branch_of(path, uid, fork_at, tokens, share, path_share, step, q):
  """A sibling step of `path` from `fork_at` on."""
  count = len(tokens)
  grow = lambda a, value: np.append(a[:fork_at], np.full(count, value, a.dtype))
  return dataclasses.replace(
    path, uid=uid, parent=path.uid, fork_at=fork_at, reward=q, stop=StopReason.LENGTH_LIMIT, turns=(),
    tokens=np.append(path.tokens[:fork_at], np.asarray(tokens, np.int32)),
    action_mask=grow(path.action_mask, True), sampler_logp=grow(path.sampler_logp, -1.0),
    entropy=grow(path.entropy, 1.0), turn=grow(path.turn, 0), policy_version=grow(path.policy_version, 0),
    reward_parts={}, visits=VisitShares(share, path_share, step),
  )  # fmt: skip


@pytest.fixture
def searched(trajectories):
  """A path with a fork at each of its steps, two siblings at the first; and a path without any."""
  path, alone = trajectories[0], trajectories[3]  # actions at 2, 3, (observation at 4), 5
  siblings = [
    branch_of(path, 100, 2, [7], 0.25, 0.5, 2, 0.1),
    branch_of(path, 101, 2, [6, 5], 0.25, 0.5, 2, -0.2),
    branch_of(path, 102, 5, [4], 0.125, 0.875, 1, 0.3),
  ]
  return [path, *siblings, alone]


def test_visit_shares_are_the_advantages(policy, params, searched, listed):
  algorithm = build(policy, credit="visits", reduction="token_mean")
  state, _ = started(algorithm, params)
  batch, _ = algorithm.prepare(state, searched)
  path = np.asarray([0, 0, 0.5, 0.5, 0, 0.875])
  shares = [path, [0, 0, 0.25], [0, 0, 0.25, 0.25], [*path[:5], 0.125], np.ones(len(searched[4].tokens))]
  np.testing.assert_allclose(batch.columns["advantages"], listed(batch, shares), atol=1e-6)
  returns = [np.full(len(t.tokens), t.reward) for t in searched]
  np.testing.assert_allclose(batch.columns["returns"], listed(batch, returns), atol=1e-6)
  assert int(np.sum(batch.action_mask)) == 3 + 1 + 2 + 1 + int(np.sum(searched[4].action_mask))


def test_fitting_visits_is_cross_entropy(policy, params, searched, naive):
  algorithm = build(
    policy, credit="visits", reduction="token_mean", policy_loss="reinforce", kl_coef=0.0, value_coef=0.0
  )
  state, _ = started(algorithm, params)
  batch, _ = algorithm.prepare(state, searched)
  _, metrics = algorithm.update(state, jax.random.key(0), batch)
  path, first, second, third, alone = (naive(params, t).logp for t in searched)
  steps = 0.5 * path[2:4].sum() + 0.25 * first[2] + 0.25 * second[2:].sum() + 0.875 * path[5] + 0.125 * third[5]
  tokens = sum(int(np.sum(t.action_mask[t.fork_at :])) for t in searched)
  assert metrics["policy/loss"] == pytest.approx(-(steps + alone.sum()) / tokens, rel=1e-4)


def test_branches_of_anything_else_are_refused(policy, params, searched):
  algorithm = build(policy, credit="visits", reduction="token_mean")
  state, _ = started(algorithm, params)
  with pytest.raises(ValueError, match=r"trajectory 100.*rollout.strategy='tree_search'"):
    algorithm.prepare(state, searched[1:])
  other = dataclasses.replace(searched[1], visits=None)
  with pytest.raises(ValueError, match="trajectory 100"):
    algorithm.prepare(state, [searched[0], other])


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"credit": "visit"}, "no credit is called 'visit': did you mean 'visits'"),
    ({"correction": "non"}, "no correction is called 'non': did you mean 'none'"),
    ({"credit": "visits"}, "reduction='sequence_mean' would divide"),
    ({"loss": {"clip": 1.0}}, r"algo.loss.clip"),
  ],
)
def test_bad_settings(policy, settings, message):
  with pytest.raises(ValueError, match=message):
    build(policy, **settings)
