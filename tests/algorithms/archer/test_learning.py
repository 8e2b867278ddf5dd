"""One update of ArCHer: its state and its judgements."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
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

from agentrl.algorithms.archer import critic as critics
from agentrl.algorithms.archer import learning
from agentrl.algorithms.archer.rows import lay_out
from agentrl.algorithms.contract import Policy


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
