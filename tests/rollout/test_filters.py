"""What each filter drops."""

import numpy as np
import pytest

from agentrl.rollout import filters
from agentrl.types import StopReason, Trajectory, Turn, TurnKind


def trajectory(uid, group=0, *, reward=0.0, kinds=(TurnKind.ANSWER,), stop=StopReason.ANSWERED):
  turn = np.asarray([-1, 0], np.int32)
  zeros = np.zeros(2, np.float32)
  turns = [Turn(kind, 1, 2, "") for kind in kinds]
  return Trajectory(zeros.astype(int), turn == 0, zeros, zeros, turn, turn, turns, "t", group, uid, stop, {}, reward)


def uids(kept):
  return [t.uid for t in kept]


def test_failures():
  failed = trajectory(1, stop=StopReason.ENVIRONMENT_FAILED, reward=None)
  assert uids(filters.without_failures([trajectory(0), failed, trajectory(2)])) == [0, 2]


def test_void_turns():
  void_late = trajectory(1, kinds=(TurnKind.TOOL_CALL, TurnKind.VOID))
  malformed = trajectory(2, kinds=(TurnKind.MALFORMED, TurnKind.ANSWER))
  assert uids(filters.without_void_turns([trajectory(0), void_late, malformed])) == [0, 2]


def test_overlong():
  stops = [StopReason.LENGTH_LIMIT, StopReason.TURN_LIMIT, StopReason.ANSWERED]
  assert uids(filters.without_overlong([trajectory(n, stop=stop) for n, stop in enumerate(stops)])) == [1, 2]


def test_flat_groups():
  rewards = {0: [0.0, 1.0, 0.0], 1: [1.0, 1.0], 2: [0.5], 3: [0.25, 0.75]}
  sampled = [trajectory(10 * g + n, g, reward=r) for g, row in rewards.items() for n, r in enumerate(row)]
  assert uids(filters.without_flat_groups(sampled)) == [0, 1, 2, 30, 31]


@pytest.mark.parametrize("name", filters.FILTERS)
def test_every_filter_takes_nothing_and_keeps_order(name):
  assert filters.FILTERS[name]([]) == []
  good = [trajectory(5, reward=1.0), trajectory(3, reward=0.0)]
  assert filters.FILTERS[name](good) == good
