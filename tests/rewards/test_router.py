"""Router-R1's reward against numbers by hand."""

import dataclasses
import json
import math

import numpy as np
import pytest

from agentrl.rewards.combine import assign, make_reward, remember, remembered
from agentrl.rewards.router import router
from agentrl.types import EnvironmentFailed, StopReason, Task, ToolCall, ToolFailure, ToolResult, Trajectory, Turn
from agentrl.types import TurnKind as Kind

TASK = Task("t", "experts", "?")
CALL = ToolCall("ask", {"question": "ann:kxqv"})


def episode(*costs, correct=1.0, kinds=None, failure=None, stop=StopReason.ANSWERED):
  """Calls that cost so much, then an answer; `failure` is the last call's."""
  results = [ToolResult(CALL, "417", failure is None, failure, cost=cost) for cost in costs]
  turns = [Turn(Kind.TOOL_CALL, 0, 1, "", results=[result]) for result in results] + [Turn(Kind.ANSWER, 0, 1, "")]
  if kinds is not None:
    turns = [Turn(kind, 0, 1, "") for kind in kinds]
  one = np.zeros(1, np.int32)
  return Trajectory(
    tokens=one, action_mask=one > 0, sampler_logp=one, entropy=one, turn=one, policy_version=one, turns=turns,
    task_id="t", group_id=0, uid=0, stop=stop, reward_parts={"correct": correct},
  )  # fmt: skip


def ends(cheapest, dearest):
  """A memory whose percentiles 5 and 95 are the square roots of two costs: 10 values each leave 1.95 in 20 beyond."""
  return {"roots": [math.sqrt(cheapest)] * 50 + [math.sqrt(dearest)] * 50}


def test_half_way_between_the_percentiles_the_cost_is_worth_half():
  # roots 1, 4 and 9 -> s = 1, 2, 3; lo = 1, hi = 3; R_cost = 1 - (2 - 1) / (3 - 1) = 0.5; .7 + .3 * .5 = .85
  group = [episode(1.0), episode(4.0), episode(4.0, 5.0)]
  assert router(group, TASK, ends(1, 9), alpha=0.3) == pytest.approx([1.0, 0.85, 0.7])
  assert router(group, TASK, ends(1, 9), alpha=0.0) == [1.0, 1.0, 1.0]
  assert router(group, TASK, ends(1, 9), alpha=0.9) == pytest.approx([1.0, 0.1 + 0.45, 0.1])


def test_what_lies_beyond_the_percentiles_is_clipped():
  assert router([episode(), episode(100.0)], TASK, ends(1, 9), alpha=0.5) == pytest.approx([1.0, 0.5])


def test_a_wrong_answer_earns_nothing_by_being_cheap_unless_told_so():
  wrong = [episode(1.0, correct=0.0), episode(9.0, correct=0.0)]
  assert router(wrong, TASK, ends(1, 9), alpha=0.3) == [0.0, 0.0]
  assert router(wrong, TASK, ends(1, 9), alpha=0.3, pay_wrong=True) == pytest.approx([0.3, 0.0])


@pytest.mark.parametrize(
  "broken",
  [
    episode(1.0, stop=StopReason.TURN_LIMIT),
    episode(kinds=[Kind.VOID, Kind.ANSWER]),
    episode(kinds=[Kind.MALFORMED, Kind.ANSWER]),
    episode(1.0, failure=ToolFailure.ARGUMENTS),
  ],
)
def test_a_broken_episode_earns_minus_1_whatever_it_answers(broken):
  assert router([broken, episode(1.0)], TASK, ends(1, 9), alpha=0.3) == [-1.0, 1.0]


def test_a_tool_that_broke_is_not_the_policys_fault():
  assert router([episode(1.0, failure=ToolFailure.TIMEOUT)], TASK, ends(1, 9)) == [1.0]


def test_where_all_cost_the_same_the_cost_is_worth_half():
  assert router([episode(2.0), episode(2.0)], TASK, {}, alpha=0.3) == pytest.approx([0.85, 0.85])  # .7 + .3 * .5


def test_the_percentiles_are_those_of_the_last_values_this_group_among_them():
  costs = np.random.default_rng(0).integers(0, 9, 30).astype(float)
  memory, seen = {}, []
  for start in range(0, 30, 3):
    group = [episode(cost) for cost in costs[start : start + 3]]
    seen = (seen + [math.sqrt(cost) for cost in costs[start : start + 3]])[-10:]
    lo, hi = np.percentile(seen, [5, 95])
    wanted = [0.5 + 0.5 * (1 - np.clip((s - lo) / (hi - lo), 0, 1)) for s in seen[-3:]]
    assert router(group, TASK, memory, alpha=0.5, window=10) == pytest.approx(wanted)
    assert memory == {"roots": pytest.approx(seen)}


def test_an_episode_without_a_verdict_has_no_reward_and_the_others_have_theirs():
  none = dataclasses.replace(episode(1.0), reward_parts={})
  failed, fine = router([none, episode(1.0)], TASK, ends(1, 9))
  assert isinstance(failed, EnvironmentFailed) and fine == 1.0


@pytest.mark.parametrize("wrong", [{"alpha": 1.5}, {"alpha": -0.1}, {"window": 0}, {"low": 95.0, "high": 5.0}])
def test_numbers_out_of_range_are_refused(wrong):
  with pytest.raises(ValueError, match="must be"):
    router([episode(1.0)], TASK, {}, **wrong)


def test_all_tasks_share_the_memory_and_a_copy_goes_on_to_the_same():
  reward = make_reward({"router": 1.0}, {"router": {"alpha": 0.5}})
  memory = {}
  for name, cost in (("one", 1.0), ("two", 9.0)):
    _, kept = assign(reward, [episode(cost)], Task(name, "experts", "?"), remembered(memory, Task(name, "", "")))
    remember(memory, Task(name, "", ""), kept, reward)
  three = Task("three", "experts", "?")
  again = json.loads(json.dumps(memory))
  (first,), _ = assign(reward, [episode(4.0)], three, remembered(memory, three))
  (second,), _ = assign(reward, [episode(4.0)], three, remembered(again, three))
  # s = 1, 3, 2: lo = 1.1 and hi = 2.9 by interpolation, so R_cost = 1 - (2 - 1.1) / 1.8 = 0.5
  assert first.reward == second.reward == pytest.approx(0.5 + 0.5 * 0.5)
