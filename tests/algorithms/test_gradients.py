"""What algorithms share: sums over micro-batches against one batch, optimiser steps, minibatches."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from agentrl.algorithms import gradients
from agentrl.algorithms.contract import LearnerState
from agentrl.algorithms.gradients import LossOutput
from agentrl.batching.pack import pack
from agentrl.named import with_settings
from agentrl.ops import losses
from agentrl.ops.finite import NonFinite
from agentrl.ops.reduce import REDUCTIONS
from agentrl.types import Batch

# ---- lengths ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
  ("first", "last", "wanted"), [(0, 3, [1, 3, 2, 0]), (0, 1, [1, 1, 0, 0]), (1, 2, [0, 2, 1, 0]), (2, 3, [0, 0, 1, 0])]
)
def test_lengths_of_by_hand(first, last, wanted):
  """Tokens of each trajectory in a range of micro-batches; 3 exists on padding alone."""
  mask = jnp.asarray([[[1, 1, 0]], [[1, 1, 1]], [[1, 0, 0]]], bool)
  sequence = jnp.asarray([[[0, 1, 3]], [[1, 1, 2]], [[2, 4, 4]]])
  batch = toy_batch()._replace(action_mask=mask, action_sequence=sequence)
  np.testing.assert_array_equal(gradients.lengths_of(batch, mask, jnp.int32(first), jnp.int32(last)), wanted)
  half = mask & (sequence == 1)
  np.testing.assert_array_equal(
    gradients.lengths_of(batch, half, jnp.int32(first), jnp.int32(last)), [0, wanted[1], 0, 0]
  )


# ---- one optimiser step -----------------------------------------------------------------------------------------

ADVANTAGES = np.array([1.0, -0.5, 2.0, -1.0, 0.25, 1.5, -2.0, 0.5, 1.0, -1.5])
TAKEN = np.array([0, 1, 1, 0, 1, 0, 0, 1, 1, 0])
OLD_LOGP = np.log([0.5, 0.6, 0.3, 0.45, 0.5, 0.7, 0.3, 0.6, 0.5, 0.4])
OWNER = np.array([0, 0, 1, 1, 1, 2, 3, 3, 3, 3])
PLACES = [0, 1, 3, 4, 5, 6, 8, 9, 10, 11]  # the twelve places of four rows, two of them padding


def toy_batch(micro_batches=4):
  """Ten action tokens of four trajectories in four rows; the policy is one softmax over two tokens."""

  def place(values, fill, dtype):
    return jnp.asarray(np.full(12, fill, dtype)).at[jnp.asarray(PLACES)].set(jnp.asarray(values, dtype)).reshape(shape)

  shape = (micro_batches, 4 // micro_batches, 3)
  nothing = jnp.zeros(shape, jnp.int32)
  return Batch(
    tokens=place(TAKEN, 0, np.int32),
    positions=nothing,
    subtree_end=nothing,
    action_index=nothing,
    action_parent=nothing,
    action_offset=nothing,
    action_mask=place(np.ones(10), False, bool),
    action_sequence=place(OWNER, 4, np.int32),
    sequence_length=jnp.asarray(np.bincount(OWNER), jnp.float32),
    sequence_group=jnp.asarray([0, 0, 1, 1]),
    temperature=jnp.float32(1.0),
    micro_batches=jnp.int32(micro_batches),
    columns={
      "sampler_logp": place(OLD_LOGP, 0, np.float32),
      "advantages": place(ADVANTAGES, 0, np.float32),
      "old_logp": place(OLD_LOGP, 0, np.float32),
    },
  )


def toy_loss(name):
  settings = {"constant": 5.0} if name == "sequence_sum_norm" else {}
  reduce = functools.partial(REDUCTIONS[name], **settings)

  def loss(params, micro, lengths):
    del lengths
    logp = jax.nn.log_softmax(params)[micro.tokens]
    rest = micro.action_mask, micro.action_sequence, micro.sequence_length
    per_token, flags = losses.ppo(logp, micro.columns["old_logp"], micro.columns["advantages"], *rest)
    sums = {"tokens": jnp.sum(micro.action_mask, dtype=jnp.float32), "clipped": jnp.sum(flags["clipped_low"])}
    return LossOutput(
      reduce(per_token, *rest, micro.sequence_group), sums, {"largest": jnp.max(micro.columns["advantages"])}
    )

  return loss


def toy_objective(theta, name, used):
  """The same in NumPy, over the tokens `used`."""
  p = np.exp(theta) / np.exp(theta).sum()
  ratio = p[TAKEN] / np.exp(OLD_LOGP)
  per_token = -np.minimum(ratio * ADVANTAGES, np.clip(ratio, 0.8, 1.2) * ADVANTAGES)[used]
  owner = OWNER[used]
  sequences = np.unique(owner)
  if name == "token_mean":
    return per_token.mean()
  if name == "sequence_mean":
    return np.mean([per_token[owner == i].mean() for i in sequences])
  return per_token.sum() / (len(sequences) * 5.0)


THETA = np.array([0.2, -0.3])


def toy_state(optimizer):
  theta = jnp.asarray(THETA, jnp.float32)
  return LearnerState(theta, optimizer.init(theta), None, jnp.int32(0))


@pytest.mark.parametrize("name", ["token_mean", "sequence_mean", "sequence_sum_norm"])
def test_a_step_against_finite_differences_in_any_number_of_micro_batches(name):
  slopes = np.array(
    [
      (toy_objective(THETA + d, name, slice(None)) - toy_objective(THETA - d, name, slice(None))) / 2e-6
      for d in 1e-6 * np.eye(2)
    ]
  )
  assert np.abs(slopes).min() > 1e-2
  optimizer = optax.sgd(1.0)
  step = gradients.make_step(toy_loss(name), optimizer)
  ends = []
  for micro_batches in (4, 1):
    state, metrics = step(toy_state(optimizer), toy_batch(micro_batches), jnp.int32(0), jnp.int32(micro_batches))
    ends.append(np.asarray(state.params))
    np.testing.assert_allclose(THETA - ends[-1], slopes, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(metrics["policy/loss"], toy_objective(THETA, name, slice(None)), rtol=1e-5)
    np.testing.assert_allclose(metrics["optimizer/grad_norm"], np.hypot(*slopes), rtol=1e-4)
    assert metrics["tokens"] == 10
    assert metrics["largest"] == 2.0
    assert state.updates == 1
  np.testing.assert_allclose(*ends, atol=1e-6)


@pytest.mark.parametrize(("first", "last", "used"), [(0, 2, slice(0, 5)), (1, 4, slice(2, 10)), (1, 2, slice(2, 5))])
def test_a_step_sees_its_own_range_and_nothing_else(first, last, used):
  optimizer = optax.sgd(1.0)
  step = gradients.make_step(toy_loss("sequence_mean"), optimizer)
  _, metrics = step(toy_state(optimizer), toy_batch(), jnp.int32(first), jnp.int32(last))
  np.testing.assert_allclose(metrics["policy/loss"], toy_objective(THETA, "sequence_mean", used), rtol=1e-5)
  assert metrics["tokens"] == len(ADVANTAGES[used])
  assert metrics["largest"] == ADVANTAGES[used].max()


def test_the_optimizer_keeps_its_state():
  """Momentum: the second of two equal gradients moves 1.9 times as far."""
  optimizer = optax.sgd(1.0, momentum=0.9)

  def slope_of_two(params, micro, lengths):
    del micro, lengths
    return LossOutput(jnp.sum(2.0 * params), {}, {})

  step = gradients.make_step(slope_of_two, optimizer)
  state = LearnerState(jnp.zeros(1), optimizer.init(jnp.zeros(1)), jnp.asarray([3.0]), jnp.int32(4))
  for wanted in (-2.0, -2.0 - 3.8):
    state, metrics = step(state, toy_batch(1), jnp.int32(0), jnp.int32(1))
    np.testing.assert_allclose(state.params, [wanted])
    assert metrics["optimizer/grad_norm"] == 2.0
  assert state.updates == 6
  np.testing.assert_array_equal(state.reference, [3.0])


def two_leaf_state(optimizer, steep=1.0):
  params = {"policy": {"w": jnp.ones(2)}, "value": jnp.full((1,), steep)}
  return LearnerState(params, optimizer.init(params), None, jnp.int32(0))


def two_leaf_loss(params, micro, lengths):
  """Its gradient in "value" is infinite at 0, where the loss is not, and as steep as one likes elsewhere."""
  del lengths
  root = jnp.sum(jnp.sqrt(params["value"]))
  scaled = jnp.sum(params["policy"]["w"]) * jnp.sum(micro.columns["advantages"])
  return LossOutput(
    1e3 * root + scaled,
    {"policy/entropy": jnp.sum(micro.columns["ref_logp"])},
    {"ratio_max": jnp.max(micro.columns["old_logp"])},
  )


@pytest.mark.parametrize(
  ("spoiled", "named"),
  [
    ({"advantages": np.nan}, "batch/advantages"),
    ({"sampler_logp": -np.inf}, "batch/sampler_logp"),  # which nothing here reads
    ({"ref_logp": 3e38}, "loss/policy/entropy"),  # finite numbers, whose sum is not
    ({"steep": 0.0}, "gradient/value"),
    ({"steep": 1e-37}, "norm/optimizer/grad_norm"),  # a gradient of 2e21, whose square is infinite
    ({"rate": 3e38}, "params/policy/w"),
  ],
)
@pytest.mark.parametrize("micro_batches", [1, 4])
def test_the_first_number_that_is_not_finite_is_named(spoiled, named, micro_batches):
  batch = toy_batch(micro_batches).with_columns(ref_logp=jnp.zeros((micro_batches, 4 // micro_batches, 3)))
  for name in spoiled.keys() & {"advantages", "sampler_logp", "ref_logp"}:
    column = jnp.where(batch.action_mask, jnp.float32(spoiled[name]), 0.0)
    batch = batch.with_columns(**{name: column})
  optimizer = optax.sgd(spoiled.get("rate", 0.1))
  step = gradients.make_step(two_leaf_loss, optimizer)
  state = two_leaf_state(optimizer, spoiled.get("steep", 1.0))
  where = f"^optimiser step 1, micro-batches 0 to {micro_batches - 1}: "
  with pytest.raises(NonFinite, match=f"{where}{named} is not finite"):
    step(state, batch, 0, micro_batches)


def test_what_stands_on_padding_ends_no_step():
  batch = toy_batch(1)
  batch = batch.with_columns(ref_logp=jnp.where(batch.action_mask, 0.0, jnp.nan))
  optimizer = optax.sgd(0.1)
  step = gradients.make_step(toy_loss("token_mean"), optimizer)
  _, metrics = step(toy_state(optimizer), batch, 0, 1)
  assert np.isfinite(metrics["policy/loss"])


def test_bfloat16_gradients_add_up_and_are_measured_in_float32():
  """In bfloat16 1 + 1 + ... stops at 256; in float32 1,024 micro-batches of gradient 1 give 1,024."""
  batch = jax.tree.map(lambda a: jnp.tile(a, (256,) + (1,) * (a.ndim - 1)) if a.ndim == 3 else a, toy_batch(4))
  optimizer = optax.sgd(1e-3)

  def slope_of_one(params, micro, lengths):
    del micro, lengths
    return LossOutput(jnp.sum(params).astype(jnp.float32), {}, {})

  params = jnp.ones((4,), jnp.bfloat16)
  state = LearnerState(params, optimizer.init(params), None, jnp.int32(0))
  _, metrics = gradients.make_step(slope_of_one, optimizer)(state, batch, 0, 1024)
  assert metrics["optimizer/grad_norm"] == 2048  # of four such sums


# ---- minibatches ------------------------------------------------------------------------------------------------


class _Recorder:
  """Stands for an optimiser step: writes down which trajectories each step saw."""

  def __init__(self):
    self.seen = []

  def __call__(self, state, batch, first, last):
    mask = np.asarray(batch.action_mask[first:last])
    owners, tokens = np.unique(np.asarray(batch.action_sequence[first:last])[mask], return_counts=True)
    self.seen.append(dict(zip(owners.tolist(), tokens.tolist(), strict=True)))
    return state + 1, {"number": float(state), "number_max": float(state)}


def run_minibatches(batch, seed=0, **settings):
  step, placed = _Recorder(), []
  settings = {"epochs": 1, "place_batch": lambda b: placed.append(b) or b, **settings}
  state, metrics = gradients.run_minibatches(step, 0, jax.random.key(seed), batch, **settings)
  assert state == len(step.seen)  # each step got the state that the one before it gave
  assert metrics == {"number": (state - 1) / 2, "number_max": state - 1}
  return step.seen, placed


@pytest.mark.parametrize("minibatches", [2, 3, 5, 9])
@pytest.mark.parametrize("epochs", [1, 3])
def test_there_are_as_many_steps_as_asked_for_and_none_is_empty(forest, policy, minibatches, epochs):
  """Eight trajectories in two trees; behind prompts of their own, for more minibatches than trees, in six."""
  batch = pack(forest, {}, policy.pack, least_trees=minibatches)
  seen, placed = run_minibatches(batch, epochs=epochs, minibatches=minibatches)
  assert len(seen) == epochs * minibatches and all(seen)
  assert len(placed) == epochs  # each epoch's batch lies where its devices are
  whole = dict(enumerate(np.asarray(batch.sequence_length)[: len(forest)].astype(int).tolist()))
  for epoch in range(epochs):
    steps = seen[epoch * minibatches : (epoch + 1) * minibatches]
    assert set().union(*steps) == set(whole)
    assert all(tokens == whole[n] for step in steps for n, tokens in step.items())  # no trajectory is divided


def test_epochs_deal_anew_as_the_key_says(forest, policy):
  batch = pack(forest, {}, policy.pack, least_trees=3)
  first = run_minibatches(batch, epochs=4, minibatches=3)[0]
  assert first == run_minibatches(batch, epochs=4, minibatches=3)[0]
  assert first != run_minibatches(batch, seed=1, epochs=4, minibatches=3)[0]
  assert len({str(first[3 * epoch : 3 * epoch + 3]) for epoch in range(4)}) > 1


@pytest.mark.parametrize("epochs", [1, 2])
def test_one_minibatch_is_the_batch_as_it_was_packed(epochs):
  batch, steps = toy_batch(), []

  def step(state, given, first, last):
    assert given is batch
    steps.append((first, last))
    return state, {}

  gradients.run_minibatches(
    step, 0, jax.random.key(0), batch, epochs=epochs, minibatches=1, place_batch=lambda b: pytest.fail("moved")
  )
  assert steps == [(0, 4)] * epochs


def test_optimiser_steps_are_counted_as_they_are_taken():
  assert gradients.minibatch_steps(ConfigDict({"epochs": 2, "minibatches": 3}), 5) == 30


# ---- settings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
  ("function", "settings", "message"),
  [
    (
      losses.ppo,
      {"clip_hihg": 0.3},
      r"algo\.loss\.clip_hihg: did you mean 'clip_high'\? ppo takes clip_low",
    ),
    (losses.ppo, {"mask": 0.3}, r"algo\.loss\.mask"),  # an argument, but none of the settings
    (losses.reinforce, {"clip_low": 0.3}, "reinforce takes no settings"),
  ],
)
def test_settings_that_a_loss_has_not_are_refused_by_name(function, settings, message):
  with pytest.raises(ValueError, match=message):
    with_settings(function, settings, section="algo.loss")
