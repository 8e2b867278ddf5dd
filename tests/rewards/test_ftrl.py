"""What a turn obtains, against the published formulas worked by hand."""

import dataclasses

import numpy as np
import pytest

from agentrl.rewards.ftrl import MEASURES, Step, ftrl, solve_f1, solve_precision, solve_recall, steps
from agentrl.types import StopReason, Task, ToolCall, ToolFailure, ToolResult, Trajectory, Turn, TurnKind

# Three outputs, two of them of the same tool.
TASK = Task(
  "t",
  "tests",
  "?",
  answer="33",
  data={"gold": [{"name": name, "arguments": {}} for name in ("a", "b", "b")], "outputs": ["11", "22", "33"]},
)


def calls(*outcomes):
  results = [
    ToolResult(ToolCall(name, {}), text, text != "error", ToolFailure.EXCEPTION if text == "error" else None)
    for name, text in outcomes
  ]
  return Turn(TurnKind.TOOL_CALL, 0, 0, "", results=results)


def said(kind, answer=None):
  return Turn(kind, 0, 0, "", answer=answer)


def episode(*turns):
  zeros = np.zeros(1, np.float32)
  return Trajectory(
    tokens=np.zeros(1, np.int32),
    action_mask=np.ones(1, bool),
    sampler_logp=zeros,
    entropy=zeros,
    turn=np.zeros(1, np.int32),
    policy_version=np.zeros(1, np.int32),
    turns=turns,
    task_id="t",
    group_id=0,
    uid=0,
    stop=StopReason.ANSWERED,
  )


def test_an_output_counts_once_and_of_its_own_tool():
  turns = calls(("a", "11"), ("a", "11")), calls(("a", "22"), ("b", "33"), ("b", "error")), calls(("b", "33"))
  assert steps(episode(*turns), TASK) == [Step(2, 1, 3), Step(3, 1, 2), Step(1, 0, 1)]


@pytest.mark.parametrize(
  ("measure", "one_of_one", "three_of_three", "one_of_three", "none_of_two"),
  [("f1", 1.0, 1.5, 0.5, 0.0), ("rate", 1, 3, 1, 0), ("precision", 1, 1, 1 / 3, 0), ("rate_precision", 1, 3, 1 / 3, 0)],
)
def test_the_published_measures(measure, one_of_one, three_of_three, one_of_three, none_of_two):
  def earned(turn):
    return ftrl(episode(turn), TASK, measure=measure)

  assert earned(calls(("a", "11"))) == [one_of_one]
  assert earned(calls(("a", "11"), ("b", "22"), ("b", "33"))) == [three_of_three]
  assert earned(calls(("a", "11"), ("a", "11"), ("b", "none"))) == pytest.approx([one_of_three])
  assert earned(calls(("a", "0"), ("b", "11"))) == [none_of_two]


def test_a_turn_without_a_call():
  whole = calls(("a", "11"), ("b", "22"), ("b", "33"))
  part = calls(("a", "11"))
  assert ftrl(episode(said(TurnKind.VOID), said(TurnKind.MALFORMED)), TASK) == [-0.5, -0.3]
  assert ftrl(episode(said(TurnKind.VOID)), TASK, empty=-1.0) == [-1.0]
  assert ftrl(episode(said(TurnKind.ANSWER, "it is 33")), TASK) == [0.25]  # 1 / (1 + 3)
  assert ftrl(episode(part, said(TurnKind.ANSWER, "33")), TASK) == pytest.approx([1.0, 1 / 3])
  assert ftrl(episode(part, said(TurnKind.ANSWER, "44")), TASK) == [1.0, 0.0]
  assert ftrl(episode(whole, said(TurnKind.ANSWER, "33")), TASK) == [1.5, 1.0]
  assert ftrl(episode(whole, said(TurnKind.ANSWER, "44")), TASK) == [1.5, 0.5]  # nothing is pending


def test_shares_of_an_episode():
  done = episode(calls(("a", "11"), ("a", "11")), calls(("b", "22"), ("b", "x"), ("b", "y")))
  assert solve_precision(done, TASK) == 2 / 5 and solve_recall(done, TASK) == 2 / 3
  assert solve_f1(done, TASK) == 2 * 2 / (5 + 3)
  nothing = episode(said(TurnKind.ANSWER, "33"))
  assert (solve_precision(nothing, TASK), solve_recall(nothing, TASK), solve_f1(nothing, TASK)) == (0, 0, 0)
  easy = Task("e", "tests", "?", data={"gold": [], "outputs": []})
  assert (solve_recall(nothing, easy), solve_f1(nothing, easy)) == (1, 1)


def test_a_task_that_does_not_say_what_it_needs_is_refused():
  with pytest.raises(ValueError, match="task e lacks them"):
    steps(episode(), Task("e", "tests", "?", data={"gold": []}))
  with pytest.raises(ValueError, match="no measure of ftrl is called 'f2'"):
    ftrl(episode(), TASK, measure="f2")
  assert set(MEASURES) == {"f1", "rate", "precision", "rate_precision"}


def test_what_a_prefix_has_obtained_is_needed_no_more():
  both = calls(("a", "11"), ("b", "22"))
  begun = dataclasses.replace(episode(both, said(TurnKind.ANSWER, "33")), prefix=(calls(("a", "11")),))
  # The prefix obtained one of three; of two calls one obtains what was needed still: 2 * 1 / (2 + 1). Then one is left.
  assert steps(begun, TASK) == [Step(2, 1, 2), Step(0, 0, 1)]
  assert ftrl(begun, TASK) == pytest.approx([2 / 3, 1 / 2])
