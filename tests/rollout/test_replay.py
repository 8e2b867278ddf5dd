"""Transitions against a walk over the turns by hand; the ring against a list."""

import dataclasses

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrl.rollout import replay
from agentrl.rollout.replay import Transitions
from agentrl.types import StopReason, Trajectory, Turn, TurnKind

POSITIONS = 12


def trajectory(spans, length, rewards, reward=0.0, uid=0):
  """Tokens 100, 101, ...; the policy sampled `spans`."""
  mask, turn = np.zeros(length, bool), np.full(length, -1, np.int32)
  for number, (start, end) in enumerate(spans):
    mask[start:end] = True
    turn[start:] = number
  turns = tuple(Turn(TurnKind.ANSWER, start, end, "", reward=r) for (start, end), r in zip(spans, rewards, strict=True))
  zeros = np.zeros(length, np.float32)
  return Trajectory(
    np.arange(100, 100 + length, dtype=np.int32), mask, zeros, zeros, turn, np.where(mask, 0, -1).astype(np.int32),
    turns, "t", 0, uid, StopReason.ANSWERED, {}, reward,
  )  # fmt: skip


def test_turns_by_hand():
  t = trajectory([(2, 4), (6, 7), (8, 11)], 11, [-1.0, -1.0, 0.5], reward=2.0)
  got = replay.turn_transitions([t], positions=POSITIONS, discount=0.5)
  assert got.state_end.tolist() == [2, 6, 8]
  assert got.action_end.tolist() == [4, 7, 11]
  assert got.next_end.tolist() == [6, 8, 11]
  assert got.reward.tolist() == [-1.0, -1.0, 2.5]
  assert got.done.tolist() == [False, False, True]
  assert got.observed_return.tolist() == [-1.0 + 0.5 * 0.25, -1.0 + 0.5 * 2.5, 2.5]
  assert got.tokens[0].tolist() == [100, 101, 102, 103, 104, 105] + [0] * 6
  assert got.tokens[2].tolist() == list(range(100, 111)) + [0]


def test_a_trajectory_without_turns_gives_none():
  got = replay.turn_transitions([trajectory([], 3, [])], positions=POSITIONS, discount=1.0)
  assert got.tokens.shape == (0, POSITIONS) and got.reward.shape == (0,)


def test_a_trajectory_longer_than_a_row_is_refused():
  t = trajectory([(2, 13)], 13, [1.0], uid=7)
  with pytest.raises(ValueError, match="trajectory 7 has 13 tokens; a row of the replay holds 12"):
    replay.turn_transitions([t], positions=POSITIONS, discount=1.0)


def numbered(numbers):
  count = len(numbers)
  ints, ends = np.asarray(numbers, np.int32), np.ones(count, np.int32)
  rows = np.repeat(ints[:, None], POSITIONS, axis=1).reshape(count, POSITIONS)
  return Transitions(rows, ends, ends, ends, ints.astype(np.float32), ints % 2 == 0, ints.astype(np.float32))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.lists(st.integers(0, 12), max_size=6))
def test_the_ring_holds_the_latest(capacity, counts):
  ring, everything = replay.empty(capacity, POSITIONS), []
  for count in counts:
    fresh = list(range(len(everything) + 1, len(everything) + 1 + count))
    everything += fresh
    ring = replay.add(ring, numbered(fresh))
  held = everything[-capacity:]
  assert int(ring.size) == len(held) and int(ring.added) == len(everything)
  rewards = np.asarray(ring.transitions.reward)
  assert sorted(rewards[rewards > 0]) == held
  np.testing.assert_array_equal(ring.transitions.tokens[:, 0], rewards)


def test_draws_are_uniform_over_what_is_held_and_seeded():
  ring = replay.add(replay.empty(64, POSITIONS), numbered([3, 5, 8, 9]))
  drawn = replay.draw(ring, jax.random.key(0), 4000)
  values, counts = np.unique(np.asarray(drawn.reward), return_counts=True)
  assert values.tolist() == [3, 5, 8, 9]
  assert np.abs(counts / 1000 - 1).max() < 5 * np.sqrt(3 / 4000)  # five standard deviations
  np.testing.assert_array_equal(drawn.tokens[:, 0], drawn.reward)
  again = replay.draw(ring, jax.random.key(0), 4000)
  jax.tree.map(np.testing.assert_array_equal, drawn, again)


def test_nothing_is_drawn_from_an_empty_ring():
  with pytest.raises(ValueError, match="empty replay"):
    replay.draw(replay.empty(4, POSITIONS), jax.random.key(0), 2)


def test_a_failed_part_of_a_trajectory_counts_with_its_reward():
  """A limit ends a trajectory like the environment does: the last turn is done and carries the trajectory's reward."""
  t = dataclasses.replace(trajectory([(2, 4), (6, 7)], 7, [0.0, 0.0], reward=1.0), stop=StopReason.LENGTH_LIMIT)
  got = replay.turn_transitions([t], positions=POSITIONS, discount=1.0)
  assert got.done.tolist() == [False, True] and got.reward.tolist() == [0.0, 1.0]
