"""The structs' few promises of their own: what is derived, and that nothing changes behind a reader's back."""

import dataclasses

import numpy as np
import pytest

from agentrl import types
from agentrl.types import (
  Action,
  Batch,
  Failure,
  FailureKind,
  Message,
  Observation,
  StopReason,
  Task,
  ToolCall,
  ToolResult,
  Trajectory,
  Turn,
  TurnKind,
  VisitShares,
)


def test_the_arrays_of_a_trajectory_are_read_only():
  made = trajectory([-1, 0])
  for same in (made, dataclasses.replace(made, reward=1.0)):
    for name in ("tokens", "action_mask", "sampler_logp", "entropy", "turn", "policy_version"):
      with pytest.raises(ValueError, match="read-only"):
        getattr(same, name)[0] = 1


def trajectory(turn, stop=StopReason.ANSWERED):
  turn = np.asarray(turn, np.int32)
  mask = turn >= 0
  zeros = np.zeros(len(turn), np.float32)
  return Trajectory(zeros.astype(np.int32), mask, zeros, zeros, turn, np.where(mask, 0, -1), (), "t", 0, 0, stop)


CALL = ToolCall("search", {"q": "x"})
FROZEN = [
  (Task("t", "keys", "Where?"), "answer"),
  (CALL, "arguments"),
  (Action(TurnKind.ANSWER, "x", answer="x"), "answer"),
  (Message("user", "hello"), "content"),
  (ToolResult(CALL, "y", ok=True), "ok"),
  (Observation("y"), "reward"),
  (Failure(FailureKind.RAISED, "it broke"), "reason"),
  (Turn(TurnKind.VOID, 2, 3, "hm"), "end"),
  (VisitShares(0.25, 0.5, 3), "path"),
  (trajectory([-1, 0]), "reward"),
]


@pytest.mark.parametrize(
  ("turn", "length"),
  [
    ([-1, -1, -1, 0, 0, 1], 3),
    ([-1, 0, 0, 0, 1, 1], 1),  # the observation between turns belongs to the turn that caused it
    ([0, 0, 1], 0),
    ([-1, -1], 2),  # the environment failed before a first turn
  ],
)
def test_the_prompt_is_what_stands_before_the_first_turn(turn, length):
  found = trajectory(turn).prompt_length
  assert found == length
  assert type(found) is int  # it is written to JSON


@pytest.mark.parametrize("stop", StopReason)
def test_only_a_broken_environment_makes_a_trajectory_failed(stop):
  assert trajectory([-1, 0], stop).failed is (stop is StopReason.ENVIRONMENT_FAILED)


@pytest.mark.parametrize(("struct", "field"), FROZEN, ids=lambda x: type(x).__name__)
def test_structs_are_frozen(struct, field):
  with pytest.raises(dataclasses.FrozenInstanceError):
    setattr(struct, field, None)


def test_every_dataclass_of_the_module_is_in_the_table_of_frozen_ones():
  found = {x for x in vars(types).values() if dataclasses.is_dataclass(x)}
  assert found == {type(struct) for struct, _ in FROZEN}


def test_defaults_are_not_shared_between_instances():
  assert Task("a", "keys", "?").data is not Task("b", "keys", "?").data
  assert Observation("a").parts is not Observation("b").parts


def test_trajectories_compare_by_identity():
  """Their arrays have no single truth value, so that comparing fields could only raise."""
  one, other = trajectory([-1, 0]), trajectory([-1, 0])
  assert one == one
  assert one != other
  assert len({one, other}) == 2


def batch():
  """Rows that have as many actions as tokens."""
  rows = [np.full((1, 2, 3), n) for n in range(8)]
  return Batch(*rows, np.zeros(4), np.zeros(4), np.float32(1), np.int32(1), {"mine": np.full((1, 2, 3), 8)})


def test_the_arrays_of_a_batch_are_told_apart():
  assert list(batch().per_token) == ["tokens", "positions", "subtree_end"]
  actions = ["action_index", "action_parent", "action_offset", "action_mask", "action_sequence"]
  assert list(batch().per_action) == actions


def test_what_is_done_to_rows_is_done_to_every_array_of_them():
  changed = batch().map_rows(lambda array: array[0] + 1)
  of_rows = [*changed.per_token.values(), *changed.per_action.values(), *changed.columns.values()]
  for n, array in enumerate(of_rows):
    np.testing.assert_array_equal(array, np.full((2, 3), n + 1))
  np.testing.assert_array_equal(changed.sequence_length, batch().sequence_length)


def test_a_new_column_leaves_the_batch_that_it_is_put_beside_as_it_was():
  before = batch()
  after = before.with_columns(rewards=np.zeros((1, 2, 3)))
  assert list(before.columns) == ["mine"] and list(after.columns) == ["mine", "rewards"]
