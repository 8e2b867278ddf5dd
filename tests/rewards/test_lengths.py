"""Penalties that are linear in a group's lengths."""

import dataclasses

import pytest

from agentrl.rewards import lengths
from agentrl.types import EnvironmentFailed, StopReason, TurnKind
from tests.rewards.test_parts import TASK, trajectory


def sampled(tokens, *, correct, turns=1):
  kinds = [TurnKind.TOOL_CALL] * (turns - 1) + [TurnKind.ANSWER]
  return trajectory(*kinds, given={"correct": float(correct)}, sampled=tokens, length=20)


def test_the_shortest_has_the_most_and_a_wrong_one_nothing_for_being_short():
  # Lengths 4 to 12: 1/2 - (L - 4) / 8 is 1/2, 1/4, 0, -1/2; the wrong one of 6 tokens has min(0, 1/4).
  group = [sampled(4, correct=1), sampled(6, correct=1), sampled(8, correct=1), sampled(12, correct=1)]
  assert lengths.shortest_in_group(group, TASK, {}) == [0.5, 0.25, 0.0, -0.5]
  group[1] = sampled(6, correct=0)
  assert lengths.shortest_in_group(group, TASK, {}) == [0.5, 0.0, 0.0, -0.5]
  group[3] = sampled(12, correct=0)
  assert lengths.shortest_in_group(group, TASK, {})[3] == -0.5


def test_turns_count_whatever_their_tokens():
  group = [sampled(9, correct=1, turns=1), sampled(2, correct=1, turns=2), sampled(5, correct=1, turns=5)]
  assert lengths.fewest_turns_in_group(group, TASK, {}) == [0.5, 0.25, -0.5]


@pytest.mark.parametrize("part", [lengths.shortest_in_group, lengths.fewest_turns_in_group])
def test_a_group_of_one_length_pays_nothing(part):
  assert part([sampled(3, correct=1), sampled(3, correct=0)], TASK, {}) == [0.0, 0.0]
  assert part([sampled(3, correct=1)], TASK, {}) == [0.0]
  assert part([], TASK, {}) == []


def test_an_episode_without_a_verdict_has_no_reward_and_leaves_the_others_theirs():
  unjudged = dataclasses.replace(sampled(8, correct=1), reward_parts={})
  cut = trajectory(TurnKind.VOID, stop=StopReason.TURN_LIMIT, sampled=12, length=20)
  first, second, third = lengths.shortest_in_group([sampled(4, correct=1), unjudged, cut], TASK, {})
  assert (first, third) == (0.5, -0.5) and isinstance(second, EnvironmentFailed)
