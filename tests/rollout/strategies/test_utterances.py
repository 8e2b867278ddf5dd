"""Turns from stored states: the state untouched, the turn the policy's own, the same for the same key."""

import jax
import numpy as np
import pytest

from agentrl.rollout.strategies.utterances import UtteranceSampler
from tests.rollout.conftest import ENGINE


@pytest.fixture
def sampler(lab):
  return UtteranceSampler(
    lab.driver(), ENGINE, lab.chat, temperature=1.0, max_tokens=90, turn_tokens=9, place=lambda p: {"policy": p}
  )


@pytest.fixture
def states(lab):
  """Prefixes up to a turn of trajectories that the same policy sampled."""
  return [t.tokens[: turn.start] for t in lab.run()[0] for turn in t.turns]


def test_every_state_gets_one_turn_in_order(lab, sampler, states):
  got = sampler(lab.params, jax.random.key(3), states)
  assert len(got) == len(states)
  for t, state in zip(got, states, strict=True):
    assert t.tokens[: len(state)].tolist() == state.tolist()
    assert not t.action_mask[: len(state)].any() and t.action_mask[len(state) :].all()
    assert len(t.turns) == 1 and 1 <= len(t.tokens) - len(state) <= 9


def test_the_key_decides(lab, sampler, states):
  one, same, other = (sampler(lab.params, jax.random.key(k), states) for k in (3, 3, 4))
  assert all(np.array_equal(a.tokens, b.tokens) for a, b in zip(one, same, strict=True))
  assert any(not np.array_equal(a.tokens, b.tokens) for a, b in zip(one, other, strict=True))


def test_the_recorded_log_probs_are_those_of_the_rollout(lab, sampler):
  """With the same key and uid the first turn from a bare prompt is the rollout's first turn."""
  rollout = [t for t in lab.run()[0] if t.uid < len(lab.tasks)]
  prompts = [t.tokens[: t.prompt_length] for t in rollout]
  got = sampler(lab.params, jax.random.key(7), prompts)
  for mine, theirs in zip(got, rollout, strict=True):
    end = min(theirs.turns[0].end, len(mine.tokens))
    assert mine.tokens[:end].tolist() == theirs.tokens[:end].tolist()
    np.testing.assert_array_equal(mine.sampler_logp[:end], theirs.sampler_logp[:end])


def test_a_uid_decides_wherever_its_state_stands(lab, sampler, states):
  uids = [2**32 - 1 - n for n in range(len(states))]
  key = jax.random.key(3)
  whole, stats = sampler.sample(lab.params, key, states, uids, [1.0] * len(states))
  assert [t.uid for t in whole] == uids
  assert stats.sampled >= sum(t.action_mask.sum() for t in whole)
  some, _ = sampler.sample(lab.params, key, states[:4][::-1], uids[:4][::-1], [1.0] * 4)
  for mine, theirs in zip(some[::-1], whole, strict=False):
    np.testing.assert_array_equal(mine.tokens, theirs.tokens)
  again, _ = sampler.sample(lab.params, key, [states[0]] * 10, [5, *range(5, 14)], [1.0] * 10)
  assert np.array_equal(again[0].tokens, again[1].tokens) and len({t.tokens.tobytes() for t in again}) > 1
  with pytest.raises(ValueError, match="shorter"):
    sampler.sample(lab.params, key, states[:2], [1], [1.0])
