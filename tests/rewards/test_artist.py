"""The parts of ARTIST's reward, by hand."""

import numpy as np
import pytest

from agentrl.rewards.artist import artist_format, calls_found, executed
from agentrl.rewards.combine import assign, make_reward
from agentrl.types import StopReason, Task, ToolCall, ToolResult, Trajectory, Turn, TurnKind

FIND, PAY, READ = ("find", {"name": "ana"}), ("pay", {"account": "koru", "amount": 12}), ("read", {"note": "ana"})
ANSWER = Turn(TurnKind.ANSWER, 3, 4, "done", answer="done")
VOID, MALFORMED = Turn(TurnKind.VOID, 1, 2, ""), Turn(TurnKind.MALFORMED, 1, 2, "<")


def task(*gold):
  return Task("t", "tests", "?", data={"gold": [{"name": name, "arguments": given} for name, given in gold]})


def calling(*calls, ok=True):
  return Turn(TurnKind.TOOL_CALL, 1, 2, "", results=[ToolResult(ToolCall(*call), "", ok) for call in calls])


def episode(*turns, stop=StopReason.ANSWERED, parts=None):
  zeros = np.zeros(4, np.float32)
  return Trajectory(
    tokens=np.zeros(4, np.int32),
    action_mask=np.ones(4, bool),
    sampler_logp=zeros,
    entropy=zeros,
    turn=np.zeros(4, np.int32),
    policy_version=np.zeros(4, np.int32),
    turns=turns,
    task_id="t",
    group_id=0,
    uid=0,
    stop=stop,
    reward_parts=parts,
  )


@pytest.mark.parametrize(
  ("turns", "share"),
  [
    ((), 0.0),
    ((ANSWER,), 0.0),
    ((calling(FIND), ANSWER), 1.0),
    ((calling(FIND), calling(READ, ok=False), calling(PAY, FIND)), 3 / 4),
    ((calling(FIND, ok=False),), 0.0),
  ],
)
def test_the_share_of_calls_that_succeed(turns, share):
  assert executed(episode(*turns), task(FIND)) == share
  assert executed(episode(*turns), Task("t", "tests", "?")) == share


def test_a_call_that_nobody_wants_earns_nothing():
  assert executed(episode(calling(FIND)), task()) == 0.0


@pytest.mark.parametrize(
  ("made", "share"),
  [
    ([], 0.0),
    ([FIND], 1 / 2),
    ([PAY, FIND], 1.0),
    ([FIND, FIND], 1 / 2),  # each stands for one
    ([FIND, ("pay", {"account": "koru", "amount": 13})], 1 / 2),
    ([FIND, ("pay", {"account": "koru", "amount": "12"})], 1 / 2),  # a number is not the text that spells it
    ([FIND, ("pay", {"account": "koru"})], 1 / 2),
    ([("bill", PAY[1]), ("find", {"note": "ana"})], 0.0),
  ],
)
def test_the_share_of_wanted_calls_that_were_made(made, share):
  assert calls_found(episode(calling(*made)), task(FIND, PAY)) == share
  assert calls_found(episode(*(calling(call) for call in made)), task(FIND, PAY)) == share


def test_where_no_call_is_wanted_all_are_found_and_a_task_that_does_not_say_is_refused():
  assert calls_found(episode(calling(FIND)), task()) == 1.0
  with pytest.raises(ValueError, match=r"data\['gold'\]; task t does not"):
    calls_found(episode(calling(FIND)), Task("t", "tests", "?"))


@pytest.mark.parametrize(
  ("turns", "stop", "worth"),
  [
    ((calling(FIND), calling(PAY), ANSWER), StopReason.ANSWERED, 0.5),
    ((ANSWER,), StopReason.ANSWERED, 0.5),
    ((calling(FIND), MALFORMED, ANSWER), StopReason.ANSWERED, 0.25),
    ((VOID, ANSWER), StopReason.ANSWERED, 0.25),
    ((calling(FIND), calling(PAY)), StopReason.TURN_LIMIT, 0.0),
    ((), StopReason.LENGTH_LIMIT, 0.0),
  ],
)
def test_the_form_of_an_episode(turns, stop, worth):
  assert artist_format(episode(*turns, stop=stop), task()) == worth
  assert artist_format(episode(*turns, stop=stop), task(), loose=0.5, strict=0.5) == 2 * worth


def test_the_two_rewards_are_sums_of_their_parts():
  turns = (calling(FIND), calling(READ, ok=False), calling(PAY, FIND), ANSWER)
  parts = {"correct": 1.0, "state": 0.75}
  math = {"correct": 2.0, "artist_format": 1.0, "executed": 1.0}
  requests = {"state": 1.0, "calls_found": 1.0, "artist_format": 1.0}
  for weights, total in ((math, 2 + 0.5 + 3 / 4), (requests, 3 / 4 + 2 / 2 + 0.5)):
    (got,), _ = assign(make_reward(weights, {}), [episode(*turns, parts=parts)], task(FIND, PAY), {})
    assert got.reward == pytest.approx(total)  # 3.25 and 2.25
