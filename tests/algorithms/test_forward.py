"""Outputs at action tokens against every logit, and heads on them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.algorithms import forward
from agentrl.algorithms.contract import HeadSpec
from agentrl.batching.pack import pack


@pytest.fixture(scope="module")
def batch(forest, policy):
  return pack(forest, {}, policy.pack)


def test_action_outputs_are_those_of_every_path_alone(batch, forest, policy, params, naive, where, compiled_outputs):
  assert batch.micro_batches == 1
  hidden, logp, entropy = compiled_outputs(params, forward.micro_batch(batch, jnp.int32(0)), policy)
  alone = [naive(params, t) for t in forest]
  owner, offset = (x[0] for x in where(batch))
  mask = np.asarray(batch.action_mask[0])
  assert {(6, 4), (6, 6), (7, 6)} <= set(zip(owner[mask], offset[mask], strict=True))  # tokens behind the forks
  for b, a in np.argwhere(mask):
    wanted, t = alone[owner[b, a]], offset[b, a]
    np.testing.assert_allclose(logp[b, a], wanted.logp[t], atol=1e-5)
    np.testing.assert_allclose(entropy[b, a], wanted.entropy[t], atol=1e-5)
    np.testing.assert_allclose(hidden[b, a], wanted.hidden[t], atol=1e-5)
  np.testing.assert_array_equal(np.where(mask, 0.0, logp), 0.0)
  np.testing.assert_array_equal(np.where(mask, 0.0, entropy), 0.0)


def test_the_scorer_gives_log_probs_of_every_micro_batch_in_use(forest, policy, params, naive, listed):
  narrow = dataclasses.replace(policy.pack, rows=1)
  batch = pack(forest, {}, narrow)
  assert batch.micro_batches == 2
  assert batch.action_mask.shape[0] == 8
  score = forward.make_evaluator(policy, {})({"policy": params}, batch, ["logp"])["logp"]
  np.testing.assert_allclose(score, listed(batch, [naive(params, t).logp for t in forest]), atol=1e-5)


def test_a_micro_batch_keeps_what_belongs_to_the_whole(forest, policy):
  batch = pack(forest, {}, dataclasses.replace(policy.pack, rows=1))
  micro = forward.micro_batch(batch, jnp.int32(1))
  np.testing.assert_array_equal(micro.tokens, batch.tokens[1])
  np.testing.assert_array_equal(micro.columns["sampler_logp"], batch.columns["sampler_logp"][1])
  np.testing.assert_array_equal(micro.sequence_length, batch.sequence_length)


def first_number(key, model):
  """Params of a head whose value is one number of the hidden state."""
  return {"scale": jax.random.normal(key, ())}


HEADS = {
  "first": HeadSpec(first_number, lambda params, hidden: params["scale"] * hidden[..., 0]),
  "last": HeadSpec(first_number, lambda params, hidden: params["scale"] + hidden[..., -1]),
}


def test_heads_are_applied_to_the_states_that_predict_the_tokens(batch, forest, policy, params, naive, listed):
  trained = {"policy": params, "first": {"scale": jnp.float32(2.0)}, "last": {"scale": jnp.float32(-1.0)}}
  evaluate = forward.make_evaluator(policy, HEADS)
  said = evaluate(trained, batch, ["last", "entropy", "first"])
  assert set(said) == {"last", "entropy", "first"}
  alone = [naive(params, t) for t in forest]
  np.testing.assert_allclose(said["first"], listed(batch, [2.0 * s.hidden[:, 0] for s in alone]), atol=1e-5)
  np.testing.assert_allclose(said["last"], listed(batch, [s.hidden[:, -1] - 1.0 for s in alone]), atol=1e-5)
  np.testing.assert_allclose(said["entropy"], listed(batch, [s.entropy for s in alone]), atol=1e-5)
  out = forward.outputs(trained, forward.micro_batch(batch, jnp.int32(0)), policy, HEADS)
  mask = batch.action_mask[0]
  for name in HEADS:
    np.testing.assert_allclose(np.where(mask, out.heads[name], 0.0), said[name][0], atol=1e-5)
