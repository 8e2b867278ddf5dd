"""A row keeps all of a trajectory, with a text for each token."""

import dataclasses
import json

import numpy as np

from agentrl.training.trajectory_rows import token_texts, trajectory_row, turn_of
from agentrl.types import StopReason, Task, ToolCall, ToolFailure, ToolResult, Trajectory, Turn, TurnKind, VisitShares


class Bytes:
  """Tokens are bytes."""

  def decode(self, ids):
    return bytes(ids).decode(errors="replace")


def make_trajectory(uid=3, text="ab: é!", prompt=2):
  tokens = np.frombuffer(text.encode(), np.uint8).astype(np.int32)
  sampled = np.arange(len(tokens)) >= prompt
  result = ToolResult(ToolCall("calculator", {"x": "1+1"}), "2", ok=True, seconds=0.25, cost=0.5)
  turn = Turn(TurnKind.TOOL_CALL, prompt, len(tokens), text[prompt:], results=[result], observation="2")
  return Trajectory(
    tokens=tokens,
    action_mask=sampled,
    sampler_logp=np.where(sampled, -0.5, 0).astype(np.float32),
    entropy=np.where(sampled, 1.25, 0).astype(np.float32),
    turn=np.where(sampled, 0, -1).astype(np.int32),
    policy_version=np.where(sampled, 7, -1).astype(np.int32),
    turns=[turn],
    task_id="t",
    group_id=1,
    uid=uid,
    stop=StopReason.ANSWERED,
    reward_parts={"correct": 1.0},
    reward=1.0,
  )


TASK = Task(id="t", family="arithmetic", question="what is 1+1?", answer="2")


def test_a_turn_comes_back_from_its_row():
  failed = ToolResult(ToolCall("calculator", {"x": "1/0"}), "no", ok=False, failure=ToolFailure.EXCEPTION)
  (turn,) = make_trajectory().turns
  for one in (turn, dataclasses.replace(turn, results=(*turn.results, failed), ok=False)):
    row = json.loads(json.dumps(trajectory_row(dataclasses.replace(make_trajectory(), turns=[one]), TASK, Bytes())))
    assert turn_of(row["turns"][0]) == dataclasses.replace(one, results=tuple(one.results))


def test_a_row_says_what_the_policy_went_on_from():
  begun = dataclasses.replace(make_trajectory(), prefix=make_trajectory().turns, index=7, seed=9)
  row = json.loads(json.dumps(trajectory_row(begun, TASK, Bytes())))
  assert (row["prefix"], row["index"], row["seed"]) == (row["turns"], 7, 9)


def test_a_row_keeps_everything(tmp_path):
  row = json.loads(json.dumps(trajectory_row(make_trajectory(), TASK, Bytes())))
  assert row["tokens"] == list("ab: é!".encode())
  assert row["text"] == ["a", "b", ":", " ", "", "é", "!"]
  assert row["action_mask"] == [0, 0, 1, 1, 1, 1, 1]
  assert row["sampler_logp"] == [0, 0, -0.5, -0.5, -0.5, -0.5, -0.5]
  assert row["question"] == "what is 1+1?"
  assert row["stop"] == "answered"
  assert row["reward_parts"] == {"correct": 1.0}
  (turn,) = row["turns"]
  assert turn["results"] == [
    {
      "name": "calculator",
      "arguments": {"x": "1+1"},
      "text": "2",
      "ok": True,
      "failure": None,
      "seconds": 0.25,
      "cost": 0.5,
    }
  ]


def test_a_branch_of_a_search_is_written_with_its_visits():
  assert trajectory_row(make_trajectory(), TASK, Bytes())["visits"] is None
  branch = dataclasses.replace(make_trajectory(), visits=VisitShares(0.25, 0.5, 3))
  assert trajectory_row(branch, TASK, Bytes())["visits"] == {"branch": 0.25, "path": 0.5, "path_tokens": 3}


def test_bytes_that_are_no_text_do_not_swallow_what_follows():
  assert "".join(token_texts([0xFF, *b"abcdef"], Bytes())) == "\ufffdabcdef"
  assert "".join(token_texts([*"x€".encode()][:-1], Bytes())) == "x\ufffd"


def test_a_failed_environment_is_written_as_none():
  failed = dataclasses.replace(make_trajectory(), stop=StopReason.ENVIRONMENT_FAILED, reward=None, reward_parts=None)
  row = trajectory_row(failed, TASK, Bytes())
  assert (row["stop"], row["reward"], row["reward_parts"]) == ("environment_failed", None, None)
