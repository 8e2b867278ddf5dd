import dataclasses

import numpy as np
import pytest

from agentrl.rewards import parts
from agentrl.types import (
  EnvironmentFailed,
  StopReason,
  Task,
  ToolCall,
  ToolFailure,
  ToolResult,
  Trajectory,
  Turn,
  TurnKind,
)

TASK = Task(id="t-0", family="tests", question="?")
CALL = ToolCall("calculate", {"expression": "1"})
GOOD, BAD = ToolResult(CALL, "1", True), ToolResult(CALL, "error", False, ToolFailure.EXCEPTION)


def trajectory(*turns, stop=StopReason.ANSWERED, given=None, sampled=6, length=10):
  """Turns are kinds or (kind, results); `sampled` of `length` tokens are the policy's."""
  described = [turn if isinstance(turn, tuple) else (turn, ()) for turn in turns]
  mask = np.arange(length) >= length - sampled
  return Trajectory(
    tokens=np.zeros(length, np.int32),
    action_mask=mask,
    sampler_logp=np.zeros(length, np.float32),
    entropy=np.zeros(length, np.float32),
    turn=np.where(mask, 0, -1).astype(np.int32),
    policy_version=np.zeros(length, np.int32),
    turns=tuple(Turn(kind, 0, 0, "", results=results) for kind, results in described),
    task_id="t-0",
    group_id=0,
    uid=0,
    stop=stop,
    reward_parts=given,
  )


def test_correct_is_the_environments_verdict_and_needs_an_answer():
  assert parts.correct(trajectory(TurnKind.ANSWER, given={"correct": 1.0}), TASK) == 1.0
  assert parts.correct(trajectory(TurnKind.ANSWER, given={"correct": 0.0}), TASK) == 0.0
  for stop in (StopReason.TURN_LIMIT, StopReason.LENGTH_LIMIT):
    assert parts.correct(trajectory(TurnKind.VOID, stop=stop, given={}), TASK) == 0.0
  with pytest.raises(EnvironmentFailed, match=r"task t-0: .*'correct'; it gave \['score'\]"):
    parts.correct(trajectory(TurnKind.ANSWER, given={"score": 1.0}), TASK)


def test_turns_are_counted_by_kind():
  mixed = trajectory(TurnKind.TOOL_CALL, TurnKind.VOID, TurnKind.MALFORMED, TurnKind.VOID, TurnKind.ANSWER)
  assert parts.well_formed(mixed, TASK) == 2 / 5
  assert parts.void_turns(mixed, TASK) == 2.0
  assert parts.well_formed(trajectory(), TASK) == 0.0


def test_tool_calls_are_counted_one_by_one():
  two = trajectory((TurnKind.TOOL_CALL, (BAD, BAD)), TurnKind.ANSWER)
  assert (parts.tool_calls(two, TASK), parts.used_tool(two, TASK)) == (2.0, 0.0)
  three = trajectory((TurnKind.TOOL_CALL, (BAD, BAD)), (TurnKind.TOOL_CALL, (GOOD,)), TurnKind.ANSWER)
  assert (parts.tool_calls(three, TASK), parts.used_tool(three, TASK)) == (3.0, 1.0)


def test_calls_are_counted_by_how_an_argument_begins():
  results = [ToolResult(ToolCall("lookup", {"key": key}), "1", True) for key in ("a koka", "b koka", "b rilu", "rb")]
  both = trajectory((TurnKind.TOOL_CALL, results[:2]), (TurnKind.TOOL_CALL, results[2:]), TurnKind.ANSWER)
  assert parts.calls_with(both, TASK, text="b ") == 2.0
  assert parts.calls_with(both, TASK, text="") == 4.0
  assert parts.calls_with(trajectory(TurnKind.ANSWER), TASK, text="b ") == 0.0


@pytest.mark.parametrize(
  ("sampled", "value"),
  [(0, 0.0), (60, 0.0), (80, 0.0), (85, -0.25), (90, -0.5), (100, -1.0), (120, -1.0)],  # -(L - 80) / 20
)
def test_soft_overlong_counts_sampled_tokens_alone(sampled, value):
  long = trajectory(TurnKind.VOID, sampled=sampled, length=500)
  assert parts.soft_overlong(long, TASK, max_tokens=100, buffer=20) == value


@pytest.mark.parametrize("buffer", [0, 101])
def test_soft_overlong_refuses_a_buffer_that_does_not_fit(buffer):
  with pytest.raises(ValueError, match="buffer must be between 1 and max_tokens"):
    parts.soft_overlong(trajectory(), TASK, max_tokens=100, buffer=buffer)


def test_what_the_environment_gave_for_turns_is_taken_turn_by_turn():
  played = trajectory(TurnKind.TOOL_CALL, TurnKind.ANSWER)
  turns = [dataclasses.replace(turn, reward=r) for turn, r in zip(played.turns, (-1.0, 0.5), strict=True)]
  assert parts.turn_rewards(dataclasses.replace(played, turns=turns), TASK) == [-1.0, 0.5]
