"""Tool-Star's hierarchical reward: form, answer, bonus for two kinds of tools."""

import numpy as np
import pytest

from agentrl.rewards.contract import each
from agentrl.rewards.toolstar import toolstar
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


def called(name, failure=None):
  return (ToolResult(ToolCall(name, {}), "417", failure is None, failure),)


def episode(*names, correct=1.0, kind=TurnKind.TOOL_CALL, stop=StopReason.ANSWERED, updates=0, failure=None):
  """A turn for each call, of `kind`, then an answer; `failure` is that of the last call."""
  failures = [*[None] * (len(names) - 1), failure]
  turns = [Turn(kind, n, n + 1, "", results=called(name, failures[n])) for n, name in enumerate(names)]
  turns.append(Turn(TurnKind.ANSWER, len(names), len(names) + 1, "417"))
  zeros = np.zeros(len(turns), np.float32)
  return Trajectory(
    tokens=np.zeros(len(turns), np.int32), action_mask=zeros == 0, sampler_logp=zeros, entropy=zeros,
    turn=np.arange(len(turns)), policy_version=np.full(len(turns), updates), turns=turns, task_id="t-0", group_id=0,
    uid=0, stop=stop, reward_parts={} if correct is None else {"correct": correct},
  )  # fmt: skip


@pytest.mark.parametrize(
  ("names", "correct", "worth"),
  [
    (("lookup", "calculate"), 1.0, 1.1),  # 1 + 0.1
    (("lookup", "lookup", "calculate"), 0.5, 0.6),  # a token F1 of 0.5 + 0.1
    (("lookup",), 1.0, 1.0),
    (("lookup", "lookup"), 1.0, 1.0),
    ((), 1.0, 1.0),
    (("lookup", "calculate"), 0.0, 0.0),
    (("lookup",), 0.0, 0.0),
  ],
)
def test_a_right_answer_after_two_kinds_of_tools_earns_a_tenth_more(names, correct, worth):
  assert toolstar(episode(*names, correct=correct), TASK) == pytest.approx(worth)


@pytest.mark.parametrize(
  "broken", [{"kind": TurnKind.VOID}, {"kind": TurnKind.MALFORMED}, {"stop": StopReason.TURN_LIMIT}]
)
def test_a_malformed_episode_is_worth_minus_one_whatever_it_answered(broken):
  assert toolstar(episode("lookup", "calculate", **broken), TASK) == -1.0
  assert toolstar(episode("lookup", "calculate", **broken), TASK, malformed=-0.25) == -0.25


def test_a_call_that_was_refused_is_none_and_one_whose_tool_failed_is_one():
  assert toolstar(episode("lookup", "calculator", failure=ToolFailure.ARGUMENTS), TASK) == 1.0
  assert toolstar(episode("lookup", "calculate", failure=ToolFailure.EXCEPTION), TASK) == pytest.approx(1.1)


def test_the_bonus_is_dropped_after_some_updates():
  paid = [toolstar(episode("lookup", "calculate", updates=n), TASK, until=40) for n in (0, 39, 40, 41)]
  assert paid == pytest.approx([1.1, 1.1, 1.0, 1.0])


def test_a_missing_verdict_fails_that_episode_alone():
  given = each(toolstar)([episode("lookup", correct=None), episode("lookup")], TASK, {})
  assert isinstance(given[0], EnvironmentFailed) and given[1] == 1.0


@pytest.mark.parametrize(("setting", "value"), [("kinds", 1), ("until", -1)])
def test_a_number_out_of_its_range_is_named(setting, value):
  with pytest.raises(ValueError, match=f"{setting} must be at least"):
    toolstar(episode(), TASK, **{setting: value})
