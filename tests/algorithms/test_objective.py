"""Terms over one forward pass: their sum, their masks and normalisers, their heads, and what a further one costs."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from agentrl.algorithms import forward, gradients, learner, terms
from agentrl.algorithms.contract import HeadSpec
from agentrl.algorithms.objective import Term, columns_of, heads_of, objective, of_batch, per_token_of
from agentrl.batching.pack import Column, pack
from agentrl.ops.reduce import REDUCTIONS

BY_TOKEN, BY_SEQUENCE = REDUCTIONS["token_mean"], REDUCTIONS["sequence_mean"]


def imitates(out, micro):
  return -jnp.where(micro.action_mask, out.logp, 0.0), {"mine/nll": -out.logp}


def first_turn(batch):
  """Tokens of the first turn, as a column says."""
  return batch.columns["first"] > 0


@pytest.fixture(scope="module")
def packed(trajectories):
  """`packed(pack config) -> Batch` with the number of the turn in two columns."""

  def build(config):
    columns = {"first": Column([(t.turn == 0).astype(np.float32) for t in trajectories])}
    return pack(trajectories, columns, config)

  return build


def stepped(policy, params, terms_of, batch):
  """(gradient, metrics) of one step over the whole batch."""
  chosen = objective(policy, terms_of, BY_TOKEN)
  optimizer = optax.sgd(1.0)
  step = gradients.make_step(chosen.loss, optimizer, chosen.masks)
  made = learner.make_learner(policy, optimizer, terms_of, reduce=BY_TOKEN)
  state = made.init(jax.random.key(0), jax.tree.map(jnp.copy, params))
  before = jax.tree.map(jnp.copy, state.params)
  state, metrics = step(state, batch, 0, int(batch.micro_batches))
  return jax.tree.map(jnp.subtract, before, state.params), metrics


def test_terms_add_up_with_their_weights_masks_and_normalisers(policy, params, trajectories, packed, naive):
  """A token carries both terms; the second counts the first turns alone, a trajectory as much as another."""
  both = [Term(0.5, imitates), Term(2.0, lambda o, m: (-o.logp, {}), mask=first_turn, reduce=BY_SEQUENCE)]
  _, metrics = stepped(policy, params, both, packed(policy.pack))
  logp = [naive(params, t).logp for t in trajectories]
  every = np.concatenate([x[t.action_mask] for x, t in zip(logp, trajectories, strict=True)])
  first = [np.mean(x[t.action_mask & (t.turn == 0)]) for x, t in zip(logp, trajectories, strict=True)]
  np.testing.assert_allclose(metrics["policy/loss"], -0.5 * every.mean() - 2.0 * np.mean(first), rtol=1e-5)
  np.testing.assert_allclose(metrics["mine/nll"], -every.mean(), rtol=1e-5)


def test_a_term_with_a_mask_does_not_depend_on_the_micro_batches(policy, params, packed):
  masked = [Term(1.0, imitates, mask=first_turn, reduce=BY_SEQUENCE), Term(0.3, lambda o, m: (o.entropy, {}))]
  ends = [
    stepped(policy, params, masked, packed(config))
    for config in (policy.pack, dataclasses.replace(policy.pack, rows=1, share_prefixes=False))
  ]
  for a, b in zip(jax.tree.leaves(ends[0]), jax.tree.leaves(ends[1]), strict=True):
    np.testing.assert_allclose(a, b, atol=1e-6)


def test_diagnostics_are_means_over_the_tokens_of_their_term_and_maxima(policy, params, trajectories, packed, naive):
  def reports(out, micro):
    return jnp.zeros_like(out.logp), {"mine/mean": out.entropy, "mine/entropy_max": out.entropy}

  _, metrics = stepped(policy, params, [Term(1.0, reports, mask=first_turn)], packed(policy.pack))
  found = [naive(params, t).entropy[t.action_mask & (t.turn == 0)] for t in trajectories]
  np.testing.assert_allclose(metrics["mine/mean"], np.concatenate(found).mean(), rtol=1e-5)
  np.testing.assert_allclose(metrics["mine/entropy_max"], np.concatenate(found).max(), rtol=1e-5)


def listing_all(trajectories, config):
  wide = dataclasses.replace(config, row_actions=config.row_tokens)
  return pack(
    trajectories, {"first": Column([(t.turn == 0) * np.float32(1) for t in trajectories])}, wide, observed=True
  )


def test_a_term_of_what_was_observed_beside_one_of_what_was_sampled(policy, params, trajectories, naive):
  """Each has tokens, lengths and normaliser of its own, from one forward pass."""
  both = [Term(1.0, imitates), Term(0.5, terms.observations().per_token, observed=True, reduce=BY_SEQUENCE)]
  _, metrics = stepped(policy, params, both, listing_all(trajectories, policy.pack))
  behind = [dataclasses.replace(t, action_mask=t.turn >= 0) for t in trajectories]
  logp = [naive(params, t).logp for t in behind]
  sampled = np.concatenate([x[t.action_mask] for x, t in zip(logp, trajectories, strict=True)])
  observed = [x[(t.turn >= 0) & ~t.action_mask] for x, t in zip(logp, trajectories, strict=True)]
  of_trajectories = np.mean([x.mean() for x in observed])
  np.testing.assert_allclose(metrics["policy/loss"], -sampled.mean() - 0.5 * of_trajectories, rtol=1e-5)
  np.testing.assert_allclose(metrics["observations/loss"], -np.concatenate(observed).mean(), rtol=1e-5)


def test_what_was_observed_does_not_depend_on_the_micro_batches(policy, params, trajectories):
  chosen = [Term(1.0, imitates), terms.observations()]
  apart = dataclasses.replace(policy.pack, rows=1, share_prefixes=False)
  ends = [stepped(policy, params, chosen, listing_all(trajectories, config)) for config in (policy.pack, apart)]
  for a, b in zip(jax.tree.leaves(ends[0]), jax.tree.leaves(ends[1]), strict=True):
    np.testing.assert_allclose(a, b, atol=1e-6)


def test_listing_what_was_observed_changes_nothing_for_the_other_terms(policy, params, trajectories, packed):
  one = [terms.policy_gradient(policy_loss="gspo"), terms.entropy()]
  advantages = Column([np.full(len(t.tokens), t.reward, np.float32) for t in trajectories])
  wide = dataclasses.replace(policy.pack, row_actions=policy.pack.row_tokens)
  ends = [
    stepped(policy, params, one, pack(trajectories, {"advantages": advantages}, wide, observed=observed))
    for observed in (False, True)
  ]
  for a, b in zip(jax.tree.leaves(ends[0]), jax.tree.leaves(ends[1]), strict=True):
    np.testing.assert_allclose(a, b, atol=1e-6)


def test_two_terms_that_report_one_metric_are_refused(policy, params, packed):
  with pytest.raises(ValueError, match="two terms report a metric called 'mine/nll'"):
    stepped(policy, params, [Term(1.0, imitates), Term(1.0, imitates)], packed(policy.pack))


WRONG = [
  (lambda o, m: -o.logp, "it gave a "),
  (lambda o, m: (-o.logp, {}, 1.0), "it gave a tuple of 3: "),
  (lambda o, m: (-o.logp, None), "it gave a tuple of 2: .*NoneType"),
  (lambda o, m: (-o.logp.mean(), {}), r"the shape of its values is \(\)"),
  (lambda o, m: (-o.logp[:, :3], {}), r"the shape of its values is \(2, 3\)"),
  (lambda o, m: (-o.logp[:, :1], {}), r"the shape of its values is \(2, 1\)"),
  (lambda o, m: (0.0, {}), "its values are a float"),
  (lambda o, m: (-o.logp, {"a/b": o.logp.mean()}), r"the shape of its diagnostic 'a/b' is \(\)"),
  (lambda o, m: (-o.logp, {"a/b": 3.0}), "its diagnostic 'a/b' are a float"),
  (
    lambda o, m: (-o.logp, {"policy/loss": o.logp}),
    "reports a metric called 'policy/loss', which the run reports itself",
  ),
  (lambda o, m: (-o.logp, {"train/reward": o.logp}), "a metric called 'train/reward', which the run reports itself"),
  (
    lambda o, m: (m.columns["frist"], {}),
    "reads the column 'frist', which there is not; there are: first, old_",
  ),
  (lambda o, m: (o.heads["worth"], {}), "reads the head 'worth', which there is not; there are: none"),
  (lambda o, m: (-o.logp, {"nll": -o.logp}), "reports a metric called 'nll': name it 'group/name', such as 'mine/nll'"),
]


@pytest.mark.parametrize(("per_token", "told"), WRONG)
def test_what_is_no_number_per_token_is_refused(policy, params, packed, per_token, told):
  chosen = objective(policy, [Term(1.0, per_token, named="algo.terms.x")], BY_TOKEN)
  batch = forward.micro_batch(packed(policy.pack), jnp.int32(0))
  with pytest.raises(ValueError, match=rf"^algo\.terms\.x .*{told}"):
    jax.eval_shape(chosen.loss, {"policy": params}, batch, ())


def test_a_column_that_a_mask_or_a_whole_batch_lacks_is_told(policy, params, packed):
  batch = packed(policy.pack)
  masked = Term(1.0, imitates, mask=lambda b: b.columns["frist"] > 0, named="algo.terms.x")
  (mask,) = objective(policy, [masked], BY_TOKEN).masks
  with pytest.raises(ValueError, match=r"^the mask of algo\.terms\.x reads the column 'frist', which there is not"):
    mask(batch)
  made = Term(1.0, imitates, of_batch={"rank": lambda b, key: b.columns["frist"]}, named="algo.terms.y")
  learns = learner.make_learner(policy, optax.sgd(1.0), [made], reduce=BY_TOKEN)
  with pytest.raises(ValueError, match=r"^algo\.terms\.y reads the column 'frist', which there is not"):
    learns.update(learns.init(jax.random.key(0), params), jax.random.key(0), batch)


def test_a_term_without_a_name_is_called_as_its_function():
  with pytest.raises(ValueError, match=r"the term mine must give .* \[B, A\] = \(2, 16\); it gave a NoneType"):
    per_token_of(None, (2, 16), named="the term mine")


def test_heads_of_two_terms_by_one_name_are_refused_where_they_differ():
  one, other = terms.value(), terms.value(hidden=3)
  assert heads_of([one, one]) == one.heads
  with pytest.raises(ValueError, match="two terms declare a head called 'value'"):
    heads_of([one, other])


@pytest.mark.parametrize("name", ["policy", "critic", "logp", "entropy"])
def test_a_head_by_the_name_of_something_else_is_refused(name):
  (head,) = terms.value().heads.values()
  with pytest.raises(ValueError, match=f"a term declares a head called '{name}', which is "):
    heads_of([Term(1.0, imitates, heads={name: head})])


def test_columns_of_two_terms_by_one_name_are_refused_where_they_differ():
  one, other = (Term(1.0, imitates, columns={"first": lambda trajectories: None}) for _ in range(2))
  assert columns_of([one, one]) == one.columns
  with pytest.raises(ValueError, match="two terms make a column called 'first'"):
    columns_of([one, other])


def test_what_two_terms_make_of_a_batch_by_one_name_is_refused_where_it_differs():
  one, other = (Term(1.0, imitates, of_batch={"rank": lambda batch, key: None}) for _ in range(2))
  assert of_batch([one, one]) == one.of_batch
  with pytest.raises(ValueError, match="two terms make a column called 'rank'"):
    of_batch([one, other])


def flops(compiled):
  return compiled.cost_analysis()["flops"]


def test_a_further_term_costs_less_than_three_percent(policy, params, packed):
  """By XLA's own count, of the gradient of a GRPO objective and of one with a critic, a bonus and a KL besides."""
  head = HeadSpec(lambda key, model: jnp.zeros(model.width), lambda p, hidden: hidden @ p)
  surrogate = terms.policy_gradient(policy_loss="ppo")
  critic = Term(0.5, lambda o, m: (jnp.square(o.heads["mine"] - m.columns["first"]), {}), heads={"mine": head})
  further = [critic, terms.entropy(), terms.kl()]
  batch = packed(policy.pack)
  zeros = np.zeros(batch.action_mask.shape, np.float32)
  micro = forward.micro_batch(batch.with_columns(advantages=zeros, ref_logp=zeros), 0)
  counts = []
  for chosen in ([surrogate], [surrogate, *further]):
    loss = objective(policy, chosen, BY_TOKEN).loss
    trained = {"policy": params, "mine": jnp.zeros(policy.model.width)}
    counts.append(flops(jax.jit(jax.grad(lambda p, m, loss=loss: loss(p, m, ()).loss)).lower(trained, micro).compile()))
  assert counts[0] < counts[1] < 1.03 ** len(further) * counts[0]
