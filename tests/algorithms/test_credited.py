"""What algorithms of terms make of a credit function: what it may ask, what is packed, and which are refused."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from agentrl import algorithms
from agentrl.algorithms import terms
from agentrl.algorithms.objective import Term
from agentrl.batching.pack import Column, NothingToPack
from agentrl.credit.contract import Credit, declares
from agentrl.training import config_values

SEEN = {}


@declares(heads=("value",), reference=True)
def curious(learner, trajectories, *, scale=1.0):
  """Asks for all that there is, and pushes what the value head likes."""
  SEEN.update(values=learner.values(), logp=learner.logp(), ref_logp=learner.ref_logp(), weights=learner.reward_weights)
  return Credit([scale * v for v in learner.values()], learner.values(), {"credit/asked": np.float32(3)})


def secretive(learner, trajectories):
  """Asks for a reference, and declares nothing."""
  return Credit(learner.ref_logp())


@declares(heads=("progress",))
def another_head(learner, trajectories):
  return Credit(learner.values("progress"))


def of_a_head_that_there_is_not(learner, trajectories):
  return Credit(learner.values("progres"))


def forecasts(*, hidden=0):
  """Trains the head "forecast" to say what stands in a column of the same name."""

  def per_token(out, micro):
    return jnp.square(out.heads["forecast"] - micro.columns["forecast"]), {}

  ones = lambda trajectories: Column([np.ones(len(t.tokens), np.float32) for t in trajectories])
  head = terms.value_head(hidden=hidden)
  return Term(1.0, per_token, heads={"forecast": head}, columns={"forecast": ones})


@declares(heads=("forecast",))
def of_the_forecast(learner, trajectories):
  return Credit(learner.values("forecast"))


def plain(learner, trajectories):
  """As many as there are tokens: no number is like another."""
  return Credit([np.arange(len(t.tokens), dtype=np.float32) for t in trajectories])


def own(function):
  return f"{__name__}:{function.__name__}"


def build(name, policy, **overrides):
  module = algorithms.load(name)
  return module.make(policy, optax.sgd(1.0), config_values.resolve(module.default_config(), overrides, where="test"))


def test_a_function_of_yours_may_ask_for_all_that_there_is(policy, params, other_params, trajectories, naive, listed):
  weighed = policy._replace(reward_weights=(("correct", 2.0),))
  algorithm = build("ppo", weighed, credit=own(curious), credit_options={"scale": 0.5})
  assert not algorithm.compares and not algorithm.siblings and not algorithm.chains
  state = algorithm.init(jax.random.key(0), jax.tree.map(jnp.copy, params))
  jax.tree.map(np.testing.assert_array_equal, state.reference, params)
  head = {"weight": 0.1 * jnp.arange(16.0), "bias": jnp.float32(0.5)}
  state = state._replace(params={"policy": params, "value": head}, reference=other_params)
  batch, metrics = algorithm.prepare(state, trajectories)
  scored, reference = ([naive(p, t) for t in trajectories] for p in (params, other_params))
  values = [
    np.where(t.action_mask, s.hidden @ np.asarray(head["weight"]) + 0.5, 0.0)
    for t, s in zip(trajectories, scored, strict=True)
  ]
  wanted = {"values": values, "logp": [s.logp for s in scored], "ref_logp": [s.logp for s in reference]}
  for name, columns in wanted.items():
    for told, column in zip(SEEN[name], columns, strict=True):
      assert told.dtype == np.float32
      np.testing.assert_allclose(told, column, atol=1e-5)
  assert SEEN["weights"] == {"correct": 2.0} and metrics == {"credit/asked": 3}
  for name, columns in (("old_values", values), ("old_logp", wanted["logp"]), ("ref_logp", wanted["ref_logp"])):
    np.testing.assert_allclose(batch.columns[name], listed(batch, columns), atol=1e-5)  # terms read them again
  np.testing.assert_allclose(batch.columns["advantages"], 0.5 * np.asarray(batch.columns["old_values"]), atol=1e-6)


def test_what_a_head_said_leaves_a_column_of_its_name_alone(policy, params, trajectories):
  term = {"term": own(forecasts), "weight": 0.5}
  algorithm = build("grpo", policy, credit=own(of_the_forecast), terms={"forecast": term})
  batch, _ = algorithm.prepare(algorithm.init(jax.random.key(0), params), trajectories)
  np.testing.assert_array_equal(np.asarray(batch.columns["forecast"]), batch.action_mask)
  assert not np.any(batch.columns["old_forecast"])  # a new head says 0


def test_an_algorithm_says_that_its_credit_takes_no_branches(policy):
  assert build("ppo", policy).chains and not build("grpo", policy).chains


def test_what_nobody_asks_for_is_not_computed(policy, trajectories):
  batch, _ = build("grpo", policy, credit=own(plain)).prepare(None, trajectories)
  assert set(batch.columns) == {"sampler_logp", "advantages"}


def test_shared_tokens_weigh_credit_of_single_tokens(policy, trajectories, listed):
  """A branch repeats its parent's first five tokens; their numbers agree, so the mean is each, and the sum twice."""
  trunk = trajectories[0]
  branch = dataclasses.replace(trunk, uid=77, parent=trunk.uid, fork_at=5)
  columns = [np.arange(len(t.tokens)) for t in (trunk, branch)]
  once, each = (
    build("grpo", policy, credit=own(plain), shared_tokens=how, reduction="sequence_sum_norm").prepare(
      None, [trunk, branch]
    )[0]
    for how in ("once", "per_branch")
  )
  np.testing.assert_allclose(once.columns["advantages"], listed(once, columns))
  doubled = [np.where(np.arange(len(c)) < 5, 2 * c, c) for c in columns]
  np.testing.assert_allclose(each.columns["advantages"], listed(each, doubled), rtol=1e-6)


@pytest.mark.parametrize(
  ("name", "overrides", "message"),
  [
    ("grpo", {"credit": "gae"}, "algo.credit='gae' asks the head 'value' for values, and no term .* trains it"),
    ("ppo", {"credit": own(another_head)}, "asks the head 'progress'"),
    ("ppo", {"credit": "visits", "reduction": "sequence_mean"}, "fits sums of log-probs, which .* would divide"),
    ("grpo", {"credit_options": {"epsilonn": 1.0}}, r"algo\.credit_options\.epsilonn: did you mean 'epsilon'"),
  ],
)
def test_a_credit_that_does_not_fit_is_refused_when_the_algorithm_is_built(policy, name, overrides, message):
  with pytest.raises(ValueError, match=message):
    build(name, policy, **overrides)


@pytest.mark.parametrize(
  ("name", "credit", "message"),
  [
    ("ppo", "grpo", r"algo\.credit='grpo' does not say which values are to be learned"),
    ("grpo", "grpo", r"algo\.credit='grpo' does not say which values are to be learned"),
    ("ppo", own(secretive), "no reference is kept: let it declare `reference=True`"),
    ("ppo", own(of_a_head_that_there_is_not), "no head is called 'progres'"),
  ],
)
def test_or_when_it_is_asked(policy, params, trajectories, name, credit, message):
  further = {"critic": {"term": "value", "weight": 0.5}} if name == "grpo" else {}
  algorithm = build(name, policy, credit=credit, terms=further)
  with pytest.raises(ValueError, match=message):
    algorithm.prepare(algorithm.init(jax.random.key(0), params), trajectories)


# ---- rules that mask -----------------------------------------------------------------------------------------------


def in_list(trajectory, *, uids=(1, 3)):
  """A rule of a test."""
  return trajectory.uid in uids


MASKED = {"masked": (own(in_list),)}


def gradient_of(algorithm, params, batch):
  """The slope of one step of plain descent at rate 1."""
  state = algorithm.init(jax.random.key(0), jax.tree.map(jnp.copy, params))
  batch = batch.with_columns(old_logp=batch.columns["sampler_logp"])
  state, _ = algorithm.update(state, jax.random.key(1), jax.tree.map(jnp.asarray, batch))
  return jax.tree.map(jnp.subtract, params, state.params["policy"])


@pytest.mark.parametrize("reduction", ["token_mean", "sequence_mean", "prompt_mean"])
def test_what_is_masked_stays_in_the_baseline_and_has_no_gradient(policy, params, trajectories, listed, reduction):
  """The same as all rows, of which the masked ones have advantage 0: the denominator "all" counts them."""
  plain, masked = (
    build("grpo", policy, reduction=reduction, **more) for more in ({}, MASKED | {"masked_denominator": "all"})
  )
  whole, _ = plain.prepare(None, trajectories)
  rest, metrics = masked.prepare(None, trajectories)
  assert metrics["update/trajectories"] == 4 and metrics["update/masked"] == pytest.approx(1 / 3)
  owner = np.asarray(whole.action_sequence)
  zeroed = np.where(np.isin(owner, [1, 3]), 0.0, whole.columns["advantages"]).astype(np.float32)
  wanted = gradient_of(plain, params, whole.with_columns(advantages=zeroed))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), gradient_of(masked, params, rest), wanted)
  assert int(np.sum(rest.action_mask)) == sum(t.action_mask.sum() for t in trajectories if t.uid not in (1, 3))


def test_a_denominator_of_what_is_trained_leaves_advantages_as_they_are(policy, trajectories, listed):
  whole, _ = build("grpo", policy).prepare(None, trajectories)
  rest, _ = build("grpo", policy, **MASKED).prepare(None, trajectories)
  advantage = {n: whole.columns["advantages"][np.asarray(whole.action_sequence) == n][0] for n in range(6)}
  columns = [np.full(len(t.tokens), advantage[t.uid]) for t in trajectories if t.uid not in (1, 3)]
  np.testing.assert_allclose(rest.columns["advantages"], listed(rest, columns), rtol=1e-6)


def test_what_was_computed_for_the_credit_comes_along(policy, params, trajectories, naive, listed):
  algorithm = build("ppo", policy, **MASKED)
  batch, _ = algorithm.prepare(algorithm.init(jax.random.key(0), params), trajectories)
  left = [t for t in trajectories if t.uid not in (1, 3)]
  np.testing.assert_allclose(batch.columns["old_logp"], listed(batch, [naive(params, t).logp for t in left]), atol=1e-5)
  assert {"advantages", "returns", "old_values", "old_logp"} <= set(batch.columns)


def test_a_rule_that_masks_nothing_changes_nothing(policy, trajectories):
  whole, _ = build("grpo", policy).prepare(None, trajectories)
  same, metrics = build("grpo", policy, masked=("lost_turns",)).prepare(None, trajectories)
  jax.tree.map(np.testing.assert_array_equal, same, whole)
  assert metrics["update/masked"] == 0


def test_what_a_masked_trunk_shares_with_a_branch_is_trained(policy, trajectories):
  trunk = trajectories[1]
  branch = dataclasses.replace(trunk, uid=77, parent=trunk.uid, fork_at=4)
  batch, _ = build("grpo", policy, credit=own(plain), **MASKED).prepare(None, [trunk, branch])
  assert int(np.sum(batch.action_mask)) == trunk.action_mask.sum()


def test_where_all_are_masked_there_is_nothing_to_train_on(policy, trajectories):
  with pytest.raises(NothingToPack, match=r"algo\.masked=\('.*in_list',\) masked all 1 of them"):
    build("grpo", policy, **MASKED).prepare(None, trajectories[1:2])
