"""What an algorithm of terms is made of: state, columns that an update computes, settings."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from agentrl.algorithms import learner, terms
from agentrl.algorithms.objective import Term
from agentrl.batching.pack import Column
from agentrl.ops.reduce import REDUCTIONS

BY_TOKEN = REDUCTIONS["token_mean"]


def make(policy, chosen, **settings):
  return learner.make_learner(policy, optax.sgd(0.1), chosen, reduce=BY_TOKEN, **settings)


def recording(seen, reads):
  """A term that writes down which columns the micro-batch has when the step is traced."""

  def per_token(out, micro):
    seen.append(sorted(micro.columns))
    return out.logp, {}

  return Term(1.0, per_token, reads=reads)


def started(learns, params):
  return learns.init(jax.random.key(0), jax.tree.map(jnp.copy, params))


def test_a_state_has_every_head_and_a_reference_where_one_is_read(policy, params):
  plain = started(make(policy, [terms.likelihood()]), params)
  assert set(plain.params) == {"policy"} and plain.reference is None
  full = started(make(policy, [terms.value(hidden=3), terms.kl()]), params)
  assert full.params["value"]["in"].shape == (policy.model.width, 3)
  jax.tree.map(np.testing.assert_array_equal, full.reference, params)
  assert started(make(policy, [terms.likelihood()], reads=["ref_logp"]), params).reference is not None


def test_one_step_computes_no_old_log_probs_and_several_do(policy, params, trajectories, monkeypatch):
  for epochs, scored in ((1, 0), (2, 1)):
    seen = []
    learns = make(policy, [recording(seen, ("old_logp",))], epochs=epochs)
    calls = []
    monkeypatch.setattr(
      learner.Learner,
      "old_logp",
      lambda self, state, batch, calls=calls: calls.append(1) or batch.columns["sampler_logp"],
    )
    state = started(learns, params)
    learns.update(state, jax.random.key(0), learns.pack(trajectories, {}))
    assert len(calls) == scored
    assert all("old_logp" in columns for columns in seen)  # of the forward pass where nothing was computed


def test_a_column_that_the_batch_has_is_not_computed_again(policy, params, trajectories, monkeypatch):
  seen = []
  learns = make(policy, [recording(seen, ("old_logp", "ref_logp"))], epochs=2)
  monkeypatch.setattr(learner.Learner, "old_logp", lambda self, state, batch: pytest.fail("scored again"))
  state = started(learns, params)
  batch = learns.pack(trajectories, {"old_logp": Column([t.sampler_logp for t in trajectories])})
  learns.update(state, jax.random.key(0), batch)
  assert seen[0] == ["old_logp", "ref_logp", "sampler_logp"]


def test_a_column_that_nobody_gives_is_named(policy, params, trajectories):
  """A policy is pushed by advantages; values are learned from returns, and a clipped loss reads the old values too."""
  for term, given, missing in (
    (terms.policy_gradient(), (), "advantages"),
    (terms.value(), (), "returns"),
    (terms.value(clip=0.2), ("returns",), "old_values"),
  ):
    learns = make(policy, [term])
    zeros = Column([np.zeros(len(t.tokens), np.float32) for t in trajectories])
    batch = learns.pack(trajectories, dict.fromkeys(given, zeros))
    told = f"the term .*per_token reads the column '{missing}', and this algorithm's batches have none"
    with pytest.raises(ValueError, match=told):
      learns.update(started(learns, params), jax.random.key(0), batch)


def test_what_terms_make_of_trajectories_is_packed(policy, trajectories):
  uids = lambda found: Column([np.full(len(t.tokens), t.uid) for t in found], shared="owner")
  term = terms.likelihood()._replace(columns={"uid": uids})
  batch = make(policy, [term]).pack(trajectories, {"advantages": uids(trajectories)})
  np.testing.assert_array_equal(batch.columns["uid"], batch.columns["advantages"])


@pytest.mark.parametrize(
  ("cfg", "message"),
  [
    ({"reduction": "token_maen", "reduction_options": {}}, "no reduction is called 'token_maen': did you mean"),
    (
      {"reduction": "token_mean", "reduction_options": {"constant": 2.0}},
      r"algo\.reduction_options\.constant: token_mean takes no settings",
    ),
  ],
)
def test_wrong_reductions_are_named(cfg, message):
  with pytest.raises(ValueError, match=message):
    learner.reduction(ConfigDict(cfg))


def test_a_reduction_has_its_settings():
  values, mask = jnp.asarray([[1.0, 2.0]]), jnp.ones((1, 2), bool)
  chosen = learner.reduction(ConfigDict({"reduction": "sequence_sum_norm", "reduction_options": {"constant": 4.0}}))
  np.testing.assert_allclose(
    chosen(values, mask, jnp.zeros((1, 2), jnp.int32), jnp.asarray([2.0]), jnp.zeros(1, jnp.int32)), 3.0 / 4.0
  )
