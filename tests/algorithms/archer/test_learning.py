"""One update of ArCHer: its state, its judgements, its settings."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from archer_probe import (
  MODEL,
  PACK,
  SETTINGS,
  dialogue,
  make,
  play,
  sampler,
  train,
)
from ml_collections import ConfigDict

from agentrl.algorithms import archer
from agentrl.algorithms.archer import critic as critics
from agentrl.algorithms.archer import learning
from agentrl.algorithms.archer.rows import lay_out
from agentrl.algorithms.contract import Policy


@pytest.mark.parametrize(("updates", "steps"), [(3, 0), (10, 0), (12, 6)])
def test_the_schedule_counts_no_steps_while_the_critic_is_alone(updates, steps):
  assert archer.optimizer_steps(ConfigDict({"actor": {"updates": 3, "warmup": 10}}), updates) == steps


def test_utterances_are_judged_one_by_one_as_in_their_dialogues(params, monkeypatch):
  """min Q of turns cut out of dialogues, in any order and number at once, is that of the turns where they stand."""
  algorithm = make(actor={"warmup": 10})
  state, _, _ = train(algorithm, params, 2)
  played = play(params, np.random.default_rng(3))
  dialogues, _ = algorithm.prepare(state, played)
  rows = lay_out(dialogues, None)
  q, _ = critics.make_critics(Policy(MODEL, PACK, 2, sampler), SETTINGS).judge(state.params["critic"], params, rows)
  assert np.std(q) > 1e-3 and q.shape == (len(played), 2)
  cut = [dialogue(n, t.tokens[: end + 1], [end], [0.0], [0.0]) for n, t in enumerate(played) for end in (1, 3)]
  cut = [dataclasses.replace(t, reward=None) for t in cut]  # nobody rewards what nobody has said
  order = np.random.default_rng(0).permutation(len(cut))
  monkeypatch.setattr(learning, "JUDGED_ROWS", 20)  # three calls, the last one of 8
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


@pytest.mark.parametrize(
  ("overrides", "message"),
  [
    ({"replay_capacity": 8}, "replay_capacity=8 is smaller than a batch, algo.critic.batch=16"),
    ({"critic": {"encoder": "roberta"}}, r"\(algo.critic.encoder\) is called 'roberta'"),
  ],
)
def test_wrong_settings_are_named(overrides, message):
  with pytest.raises(ValueError, match=message):
    make(**overrides)


def test_a_policy_without_sampler_is_refused():
  with pytest.raises(ValueError, match="sampler"):
    archer.make(Policy(MODEL, PACK), optax.sgd(1.0), ConfigDict(archer.default_config()))
