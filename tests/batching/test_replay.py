"""Turns against a walk over the turns by hand; the ring against a list."""

import dataclasses

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrl.batching import replay
from agentrl.batching.replay import Dialogues
from agentrl.types import StopReason, Trajectory, Turn, TurnKind

POSITIONS, TURNS = 12, 4


def trajectory(spans, length, rewards, uid=0):
  """Tokens 100, 101, ...; the policy sampled `spans`."""
  mask, turn = np.zeros(length, bool), np.full(length, -1, np.int32)
  for number, (start, end) in enumerate(spans):
    mask[start:end] = True
    turn[start:] = number
  turns = tuple(Turn(TurnKind.ANSWER, start, end, "", reward=r) for (start, end), r in zip(spans, rewards, strict=True))
  zeros = np.zeros(length, np.float32)
  return Trajectory(
    np.arange(100, 100 + length, dtype=np.int32), mask, zeros, zeros, turn, np.where(mask, 0, -1).astype(np.int32),
    turns, "t", 0, uid, StopReason.ANSWERED, {}, float(sum(rewards)),
  )  # fmt: skip


def test_turns_by_hand():
  t = trajectory([(2, 4), (6, 7), (8, 11)], 11, [-1.0, -1.0, 2.5])
  got = replay.dialogues_of([t], positions=POSITIONS, turns=TURNS, discount=0.5)
  assert got.state_end.tolist() == [[2, 6, 8, 0]]
  assert got.action_end.tolist() == [[4, 7, 11, 0]]
  assert got.next_end.tolist() == [[6, 8, 11, 0]]
  assert got.taken.tolist() == [[True, True, True, False]]
  assert got.reward.tolist() == [[-1.0, -1.0, 2.5, 0.0]]
  assert got.done.tolist() == [[False, False, True, False]]
  assert got.observed_return.tolist() == [[-1.0 + 0.5 * 0.25, -1.0 + 0.5 * 2.5, 2.5, 0.0]]
  assert got.tokens.tolist() == [[*range(100, 111), 0]]


def test_of_turns_that_nobody_recorded_the_last_one_earned_it_all():
  t = dataclasses.replace(trajectory([(2, 4), (6, 7)], 7, [0.0, 0.0]), turns=(), reward=1.5)
  got = replay.dialogues_of([t], positions=POSITIONS, turns=2, discount=1.0)
  assert got.reward.tolist() == [[0.0, 1.5]]


def test_a_trajectory_without_turns_is_left_out():
  got = replay.dialogues_of([trajectory([], 3, [])], positions=POSITIONS, turns=TURNS, discount=1.0)
  assert got.tokens.shape == (0, POSITIONS) and got.reward.shape == (0, TURNS)


def test_a_trajectory_that_fits_no_row_is_refused():
  for t in (
    trajectory([(2, 13)], 13, [1.0], uid=7),
    trajectory([(n, n + 1) for n in range(1, 11, 2)], 12, [0.0] * 5, uid=7),
  ):
    with pytest.raises(
      ValueError, match=r"trajectory 7 has 1\d tokens in \d turns; a row .* holds 12 tokens and 4 turns"
    ):
      replay.dialogues_of([t], positions=POSITIONS, turns=TURNS, discount=1.0)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"reward": None}, r"trajectory 7 \(task t\) has the reward None and 2 turns"),
    ({"turns": (Turn(TurnKind.ANSWER, 2, 4, ""),)}, r"trajectory 7 .* 1 turns, and sampled tokens of turn 1"),
  ],
)
def test_a_dialogue_without_its_rewards_is_refused(change, message):
  t = dataclasses.replace(trajectory([(2, 4), (6, 7)], 7, [0.0, 0.0], uid=7), **change)
  with pytest.raises(ValueError, match=message):
    replay.dialogues_of([t], positions=POSITIONS, turns=TURNS, discount=1.0)


def test_a_limit_ends_a_trajectory_like_the_environment_does():
  t = dataclasses.replace(trajectory([(2, 4), (6, 7)], 7, [0.0, 1.0]), stop=StopReason.LENGTH_LIMIT)
  got = replay.dialogues_of([t], positions=POSITIONS, turns=2, discount=1.0)
  assert got.done.tolist() == [[False, True]] and got.reward.tolist() == [[0.0, 1.0]]


def numbered(numbers):
  """Dialogues that say their number in every column."""
  number = np.asarray(numbers, np.int32).reshape(-1, 1)
  ints = np.repeat(number, TURNS, axis=1)
  bools, floats = ints % 2 == 0, ints.astype(np.float32)
  return Dialogues(np.repeat(number, POSITIONS, axis=1), ints, ints, ints, bools, floats, bools, floats)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.lists(st.integers(0, 12), max_size=6))
def test_the_ring_holds_the_latest(capacity, counts):
  ring, everything = replay.empty(capacity, POSITIONS, TURNS), []
  for count in counts:
    fresh = list(range(len(everything) + 1, len(everything) + 1 + count))
    everything += fresh
    ring = replay.add(ring, numbered(fresh))
  held = everything[-capacity:]
  assert int(ring.size) == len(held) and int(ring.added) == len(everything)
  rewards = np.asarray(ring.dialogues.reward)[:, 0]
  assert sorted(rewards[rewards > 0]) == held
  np.testing.assert_array_equal(ring.dialogues.tokens[:, 0], rewards)


def test_draws_are_uniform_over_what_is_held_and_seeded():
  ring = replay.add(replay.empty(64, POSITIONS, TURNS), numbered([3, 5, 8, 9]))
  drawn = replay.draw(ring, jax.random.key(0), 4000)
  values, counts = np.unique(drawn.reward[:, 0], return_counts=True)
  assert values.tolist() == [3, 5, 8, 9]
  assert np.abs(counts / 1000 - 1).max() < 5 * np.sqrt(3 / 4000)  # five standard deviations
  np.testing.assert_array_equal(drawn.tokens[:, 0], drawn.reward[:, 1])
  again = replay.draw(ring, jax.random.key(0), 4000)
  jax.tree.map(np.testing.assert_array_equal, drawn, again)


def test_nothing_is_drawn_from_an_empty_ring():
  with pytest.raises(ValueError, match="empty replay"):
    replay.draw(replay.empty(4, POSITIONS, TURNS), jax.random.key(0), 2)
