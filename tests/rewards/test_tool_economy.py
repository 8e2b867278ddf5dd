"""What few calls are worth, by the numbers of the papers' formulas."""

import itertools
import json
import math

import numpy as np
import pytest

from agentrl.rewards import tool_economy
from agentrl.types import EnvironmentFailed, StopReason, Task, ToolCall, ToolResult, Trajectory, Turn, TurnKind

TASK = Task(id="t-0", family="tests", question="?")
RESULT = ToolResult(ToolCall("lookup", {"key": "koka"}), "417", True)


def after(calls, correct=1.0, last=TurnKind.ANSWER):
  """An episode of one turn for each call, and a last one; `correct` None: without a verdict."""
  kinds = [*[TurnKind.TOOL_CALL] * calls, last]
  zeros = np.zeros(len(kinds), np.float32)
  return Trajectory(
    tokens=np.zeros(len(kinds), np.int32), action_mask=zeros == 0, sampler_logp=zeros, entropy=zeros,
    turn=np.arange(len(kinds)), policy_version=np.zeros(len(kinds), np.int32),
    turns=[Turn(kind, n, n + 1, "", results=(RESULT,) * (n < calls)) for n, kind in enumerate(kinds)],
    task_id="t-0", group_id=0, uid=0, stop=StopReason.ANSWERED,
    reward_parts={} if correct is None else {"correct": correct},
  )  # fmt: skip


def test_tool_economy_pays_right_answers_with_few_calls():
  def paid(calls, smoothing, correct=1.0):
    return tool_economy.tool_economy(after(calls, correct), TASK, smoothing=smoothing)

  # cos(pi m / (2 m + 1)) for m = 0 to 3: cos 0, 60, 72 and 540/7 degrees; and with c = 4: cos 0, 30, 45, 54, 60.
  assert [paid(m, 1.0) for m in range(4)] == pytest.approx([1.0, 0.5, 0.309017, 0.222521], abs=1e-6)
  assert [paid(m, 4.0) for m in range(5)] == pytest.approx([1.0, 0.866025, 0.707107, 0.587785, 0.5], abs=1e-6)
  assert paid(0, 1.0, correct=0.0) == 0.0
  assert all(a > b > 0 for a, b in itertools.pairwise(paid(m, 1.0) for m in range(20)))
  with pytest.raises(ValueError, match="smoothing must be positive"):
    paid(1, 0.0)


def fewest(memory, **settings):
  return lambda *episodes: tool_economy.fewest_tool_calls(episodes, TASK, memory, smoothing=1.0, **settings)


def test_the_fewest_calls_that_gave_a_right_answer_pay_most():
  memory = {}
  ask = fewest(memory)
  assert ask(after(1, 0.0)) == [0.0] and memory == {}
  # n = 2: sin(pi 2 / 4) = 1 and sin(pi 4 / 6) = sin 120 degrees
  assert ask(after(2), after(4), after(1, 0.0)) == pytest.approx([1.0, math.sqrt(0.75), 0.0])
  assert memory == {"calls": [2.0]}
  assert ask(after(2), after(3)) == pytest.approx([1.0, math.sin(0.6 * math.pi)])  # remembered, though 2 is not new
  assert ask(after(0), after(1)) == pytest.approx([1.0, 0.5])  # n = 0: the cosine of `tool_economy`
  assert memory == {"calls": [0.0]}


def test_two_calls_where_one_suffices_are_worth_sin_of_two_thirds_pi():
  assert fewest({})(after(2), after(1)) == pytest.approx(
    [0.866025, 1.0], abs=1e-6
  )  # m / n and n / m are worth the same
  assert fewest({"calls": [2.0]})(after(1, 1.0))[0] == pytest.approx(1.0)  # it is the new n
  assert math.sin(math.pi * 2 / 3) == pytest.approx(math.sin(math.pi * 1 / 3))


def test_one_lucky_guess_changes_nothing_that_has_to_be_confirmed():
  memory = {}
  ask = fewest(memory, confirmed=2)
  assert ask(after(2), after(2)) == pytest.approx([1.0, 1.0]) and memory == {"calls": [2.0, 2.0]}
  # The guess: n stays 2, and with no call at all sin(0) = 0.
  assert ask(after(0), after(2)) == pytest.approx([0.0, 1.0]) and memory == {"calls": [0.0, 2.0]}
  assert json.loads(json.dumps(memory)) == memory
  assert ask(after(0), after(2)) == pytest.approx([1.0, math.cos(2 * math.pi / 5)])  # the second one: n = 0
  alone = fewest({}, confirmed=3)
  assert alone(after(1), after(2), after(5, 0.0)) == pytest.approx([math.sin(math.pi / 3), 1.0, 0.0])  # fewer than 3
  with pytest.raises(ValueError, match="confirmed must be at least 1, got 0"):
    fewest({}, confirmed=0)(after(1))


def test_the_order_of_a_group_does_not_matter():
  episodes = [after(1), after(3), after(2, 0.0), after(2)]
  wanted = fewest({})(*episodes)
  for order in itertools.permutations(range(4)):
    assert fewest({})(*(episodes[n] for n in order)) == [wanted[n] for n in order]


def test_an_episode_without_a_verdict_leaves_the_fewest_calls_of_the_others_alone():
  for correct in (1.0, 0.0):
    first, second = fewest({})(after(1, correct), after(1, None))
    assert first == pytest.approx(correct) and isinstance(second, EnvironmentFailed)


@pytest.mark.parametrize(
  ("calls", "correct", "value"),
  # 1 + 0.6 (1 - k / 3): 1.6, 1.4, 1.2, 1 and no less; wrong with a search 0.05, wrong without 0
  [(0, 1.0, 1.6), (1, 1.0, 1.4), (2, 1.0, 1.2), (3, 1.0, 1.0), (5, 1.0, 1.0), (2, 0.0, 0.05), (0, 0.0, 0.0)],
)
def test_the_boundary_of_knowledge(calls, correct, value):
  assert tool_economy.knowledge_boundary(after(calls, correct), TASK) == pytest.approx(value)


def test_the_boundary_of_knowledge_has_settings_and_refuses_lost_turns():
  value = tool_economy.knowledge_boundary
  assert value(after(1, 0.0), TASK, crumb=0.0) == 0.0
  assert value(after(1), TASK, bonus=0.2, most=2) == pytest.approx(1.1)
  for lost in (TurnKind.MALFORMED, TurnKind.VOID):
    assert value(after(1, last=lost), TASK) == -1.0 and value(after(1, last=lost), TASK, malformed=-0.5) == -0.5
  with pytest.raises(ValueError, match="most must be at least 1"):
    value(after(1), TASK, most=0)
