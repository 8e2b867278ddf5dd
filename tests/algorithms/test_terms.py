"""Terms by hand, and terms that a config adds, ours and those of a fork."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from agentrl.algorithms import forward, grpo, terms
from agentrl.algorithms.contract import rate_groups
from agentrl.algorithms.forward import Outputs
from agentrl.batching.pack import pack, unpack
from agentrl.ops import corrections
from agentrl.training import config_values

MASK = np.asarray([[True, True], [True, False]])
OUT = Outputs(
  hidden=jnp.zeros((2, 2, 4)),
  logp=jnp.asarray([[-1.0, -2.0], [-0.5, 0.0]]),
  entropy=jnp.asarray([[0.5, 1.0], [0.25, 0.0]]),
  heads={"value": jnp.asarray([[1.0, 0.0], [2.0, 9.0]])},
)
COLUMNS = {
  "old_logp": [[-1.0, -2.5], [-0.5, 0.0]],
  "sampler_logp": [[-1.2, -2.0], [-0.5, 7.0]],
  "advantages": [[1.0, -1.0], [2.0, 5.0]],
  "returns": [[0.0, 1.0], [2.0, 5.0]],
  "old_values": [[0.9, -0.5], [2.0, 0.0]],
}


@pytest.fixture(scope="module")
def micro(trajectories, policy):
  """A micro-batch with the layout and the columns above."""
  batch = pack(trajectories, {}, policy.pack)
  columns = {name: jnp.asarray(values) for name, values in COLUMNS.items()}
  return batch._replace(
    action_mask=jnp.asarray(MASK),
    action_sequence=jnp.asarray([[0, 0], [1, 2]]),
    sequence_length=jnp.asarray([2.0, 1.0]),
    columns=columns,
  )


def test_a_policy_loss_is_weighed_by_the_correction_and_reports_how_far_the_sampler_is(micro):
  term = terms.policy_gradient(
    policy_loss="ppo", loss={"clip_high": 0.3}, correction="truncated", correction_options={"cap": 1.1}
  )
  values, found = term.per_token(OUT, micro)
  # Ratios 1, exp(0.5) and 1 to the start of the update; exp(0.2), exp(-0.5) and 1 of that to the sampler.
  wanted = np.asarray([[-1.0 * 1.1, np.exp(0.5) * np.exp(-0.5)], [-2.0, 0.0]])
  np.testing.assert_allclose(values, wanted, rtol=1e-5)
  np.testing.assert_allclose(found["sampler/logp_diff_mean"], [[0.2, 0.5], [0.0, 0.0]], atol=1e-6)
  np.testing.assert_array_equal(found["sampler/outside_0.9_1.1"], [[True, True], [False, False]])
  np.testing.assert_allclose(found["policy/log_ratio"], [[0.0, 0.5], [0.0, 0.0]], atol=1e-6)
  assert term.reads == ("old_logp", "advantages")


def test_a_loss_over_turns_gets_the_turns_of_a_micro_batch(micro):
  """Ratios exp(0.5) and exp(0.5) of two turns of one trajectory, and exp(0.25) of another's first turn."""
  out = OUT._replace(logp=jnp.asarray([[-0.5, -2.0], [-0.25, 0.0]]))
  found = {}
  for name in ("turn_ratio", "trajectory_ratio"):
    term = terms.policy_gradient(policy_loss=name, loss={"clip": 2.0})
    assert ("turn" in term.columns) is (name == "turn_ratio")
    turns = micro.with_columns(turn=jnp.asarray([[0.0, 1.0], [0.0, 0.0]]))
    found[name] = term.per_token(out, turns)[1]["policy/log_ratio"]
  np.testing.assert_allclose(found["turn_ratio"], [[0.5, 0.5], [0.25, 0.0]], atol=1e-6)
  np.testing.assert_allclose(found["trajectory_ratio"], [[1.0, 1.0], [0.25, 0.0]], atol=1e-6)
  together = micro.with_columns(turn=jnp.zeros((2, 2)))
  term = terms.policy_gradient(policy_loss="turn_ratio", loss={"clip": 2.0})
  np.testing.assert_allclose(term.per_token(out, together)[1]["policy/log_ratio"], [[1.0, 1.0], [0.25, 0.0]], atol=1e-6)


def test_turn_ids_of_a_packed_batch(policy, trajectories):
  """As many segments as trajectories have turns, each with the tokens of its turn."""
  batch = pack(trajectories, {"turn": terms.turn_numbers(trajectories)}, policy.pack)
  found = {}
  for m in range(int(batch.micro_batches)):
    part = jax.tree.map(jnp.asarray, forward.micro_batch(jax.tree.map(jnp.asarray, batch), m))
    turn, length = terms._turns(part)
    for place in np.argwhere(np.asarray(part.action_mask)):
      key = int(part.action_sequence[tuple(place)]), int(part.columns["turn"][tuple(place)])
      found.setdefault(key, []).append((int(turn[tuple(place)]), float(length[turn[tuple(place)]])))
  wanted = {(n, u): int(np.sum(t.action_mask & (t.turn == u))) for n, t in enumerate(trajectories) for u in range(2)}
  assert {key: len(entries) for key, entries in found.items()} == wanted
  for key, entries in found.items():
    assert len({segment for segment, _ in entries}) == 1 and {length for _, length in entries} == {wanted[key]}


def test_a_correction_that_could_do_nothing_is_refused():
  with pytest.raises(ValueError, match=r"algo\.correction='sampler' .* algo\.policy_loss='reinforce' has no ratio"):
    terms.policy_gradient(policy_loss="reinforce", correction="sampler")
  terms.policy_gradient(policy_loss="reinforce", correction="truncated")


def test_the_value_loss_with_and_without_a_bound(micro):
  error, found = terms.value().per_token(OUT, micro)
  np.testing.assert_allclose(error, [[0.5, 0.5], [0.0, 0.0]])
  assert found["value/loss"] is error
  # The second value may not have moved from -0.5 by more than 0.2: (-0.3 - 1)^2 / 2 is the larger error.
  clipped, _ = terms.value(clip=0.2).per_token(OUT, micro)
  np.testing.assert_allclose(clipped, [[0.5, 1.3**2 / 2], [0.0, 0.0]], rtol=1e-6)


def test_a_bonus_and_imitation_by_hand(micro):
  np.testing.assert_array_equal(terms.entropy().per_token(OUT, micro)[0], -OUT.entropy)
  np.testing.assert_array_equal(terms.likelihood().per_token(OUT, micro)[0], [[1.0, 2.0], [0.5, 0.0]])
  divergence, found = terms.kl(estimator="k2").per_token(OUT, micro.with_columns(ref_logp=OUT.logp - 0.2))
  np.testing.assert_allclose(divergence, 0.02 * MASK, rtol=1e-5)
  assert found["policy/kl_ref"] is divergence


@pytest.mark.parametrize("detach", [False, True])
def test_a_detached_value_head_leaves_the_trunk_alone(policy, detach):
  spec = terms.value_head(detach=detach)
  params = spec.init(jax.random.key(0), policy.model) | {"weight": jnp.ones(policy.model.width)}
  gradient = jax.grad(lambda hidden: spec.apply(params, hidden))(jnp.ones(policy.model.width))
  assert bool(np.any(gradient)) is not detach and spec.acting


# ---- terms from a config --------------------------------------------------------------------------------------------


def from_config(section):
  return terms.from_config(ConfigDict(section))


def test_a_config_adds_terms_by_name_and_by_import_path():
  bonus, own = from_config(
    {
      "bonus": {"term": "entropy", "weight": 0.5},
      "own": {"term": "my_method.progress:progress", "weight": 0.1, "hidden": 3},
    }
  )
  assert (bonus.weight, own.weight) == (0.5, 0.1)
  assert rate_groups(own.heads) == {"policy": "policy", "progress": "value"}


def test_a_term_of_weight_nothing_costs_nothing():
  assert from_config({"bonus": {"term": "entropy", "weight": 0.0}}) == []


@pytest.mark.parametrize(
  ("section", "message"),
  [
    ({"x": {"term": "entropie", "weight": 1.0}}, "no term is called 'entropie': did you mean 'entropy'"),
    ({"x": {"term": "my_method.progress:progres", "weight": 1.0}}, "has no 'progres', .* did you mean 'progress'"),
    ({"x": {"term": "kl", "weight": 1.0, "estimater": "k1"}}, r"algo\.terms\.x\.estimater: did you mean 'estimator'"),
    ({"x": 0.1}, r'algo\.terms\.x must be a section with "term"'),
    ({"x": {"term": "kl"}}, r'algo\.terms\.x must be a section with "term"'),
  ],
)
def test_wrong_terms_are_named(section, message):
  with pytest.raises(ValueError, match=message):
    from_config(section)


def nothing():
  return None


def broad(old_logp, sampler_logp, mask, sequence, length):
  return corrections.Corrected(old_logp, jnp.float32(2.0))


def mean(logp, old_logp, advantages, mask, sequence, length):
  return (-logp * advantages).mean(), {}


def counting(logp, old_logp, advantages, mask, sequence, length):
  return -logp * advantages, {"count": jnp.float32(3.0)}


def test_what_is_no_term_is_named():
  with pytest.raises(ValueError, match=r"^algo\.terms\.x, which is '.*:nothing', must give a Term; it gave a NoneType"):
    from_config({"x": {"term": f"{__name__}:nothing", "weight": 1.0}})


@pytest.mark.parametrize(
  ("chosen", "told"),
  [
    ({"policy_loss": f"{__name__}:mean"}, r"algo\.policy_loss='.*:mean' must give .* shape of its values is \(\)"),
    ({"policy_loss": f"{__name__}:counting"}, r"algo\.policy_loss='.*:counting' must .* diagnostic 'count' is \(\)"),
    ({"correction": f"{__name__}:broad"}, r"algo\.correction='.*:broad' must give a weight of shape .* is \(\)"),
  ],
)
def test_a_loss_or_correction_that_is_no_number_per_token_is_named(micro, chosen, told):
  with pytest.raises(ValueError, match=told):
    terms.policy_gradient(**chosen).per_token(OUT, micro)


def test_a_head_of_a_group_that_there_is_not_is_refused():
  heads = {"mine": terms.value_head()._replace(rate_group="fast")}
  with pytest.raises(ValueError, match="no rate group of a head is called 'fast'"):
    rate_groups(heads)


# ---- a fork ---------------------------------------------------------------------------------------------------------


def settings(**overrides):
  return config_values.resolve(grpo.default_config(), overrides, where="test")


def test_a_policy_loss_from_outside_is_one_function(policy, params, trajectories):
  cfg = settings(policy_loss="my_method.topr_opo:topr", loss={"cap": 2.0}, epochs=2)
  algorithm = grpo.make(policy, optax.sgd(0.1), cfg)
  state = algorithm.init(jax.random.key(0), jax.tree.map(jnp.copy, params))
  batch, _ = algorithm.prepare(state, trajectories)
  state, metrics = algorithm.update(state, jax.random.key(1), batch)
  assert metrics["policy/log_ratio"] != 0.0 and np.isfinite(metrics["policy/loss"])
  with pytest.raises(ValueError, match=r"algo\.loss\.capp: did you mean 'cap'\? topr takes cap"):
    grpo.make(policy, optax.sgd(0.1), settings(policy_loss="my_method.topr_opo:topr", loss={"capp": 2.0}))


def test_a_fork_trains_a_head_that_its_credit_reads(policy, params, trajectories):
  """The head learns what trajectories earn; each turn's credit is the reward less the forecast in front of the turn."""
  head = {"p": {"term": "my_method.progress:progress", "weight": 1.0}}
  chosen = settings(credit="my_method.progress:beyond_forecast", terms=head, reduction="token_mean")
  algorithm = grpo.make(policy, optax.adam(0.05), chosen)
  state = algorithm.init(jax.random.key(0), jax.tree.map(jnp.copy, params))
  errors = []
  for step in range(6):  # later the policy moves the states faster than the head can follow
    batch, _ = algorithm.prepare(state, trajectories)
    state, metrics = algorithm.update(state, jax.random.key(step), batch)
    errors.append(float(metrics["progress/error"]))
  assert errors[-1] < 0.5 * errors[0]
  batch, _ = algorithm.prepare(state, trajectories)
  forecast = batch.columns["old_progress"]
  assert np.std(np.asarray(forecast)[batch.action_mask]) > 0.05
  credit = unpack(batch, batch.columns["advantages"], trajectories)
  for n, t in enumerate(trajectories):
    for turn in t.turns:
      first = (batch.action_sequence == n) & (batch.action_offset == turn.start) & batch.action_mask
      index = tuple(np.argwhere(first)[0])
      np.testing.assert_allclose(credit[n][turn.start], t.reward - forecast[index], rtol=1e-4, atol=1e-5)
