"""What the code of users gives: valid answers come through as they are, junk is a failure that says what it was."""

import dataclasses
import json
import math
import pathlib
import sys

import numpy as np
import pytest

from agentrl import envs
from agentrl.envs import checks
from agentrl.types import (
  Action,
  EnvironmentFailed,
  FailureKind,
  Message,
  Observation,
  Task,
  ToolCall,
  ToolFailure,
  ToolResult,
  TurnKind,
)

sys.path.append(str(pathlib.Path(__file__).parent / "hosting" / "site"))
from testworlds import junk

CALL = ToolCall("calculate", {"expression": "1+1"})
GOOD = Observation(
  "2 \N{SNOWMAN}", parts={"correct": 1.0}, ok=False, name="calculate", reward=-1.0,
  results=(ToolResult(CALL, "2", True, ToolFailure.TIMEOUT, 0.5, 3.0),),
)  # fmt: skip
SILENT = ("a step that", "a failure of", "parts without the verdict")  # raise, or are whole but for a missing part


def test_a_valid_answer_comes_through_as_it_is():
  assert checks.as_observation(GOOD, 100) == GOOD
  messages = [Message("system", "Be brief."), Message("assistant", action=Action(TurnKind.ANSWER, "", answer="4"))]
  assert checks.as_messages(messages) == messages
  assert checks.as_actions(iter([Action(TurnKind.TOOL_CALL, "", calls=[CALL])])) == [
    Action(TurnKind.TOOL_CALL, "", calls=[CALL])
  ]


def test_numbers_and_truths_of_numpy_are_made_plain():
  seen = checks.as_observation(
    Observation("", done=np.bool_(True), parts={"correct": np.float32(0.5)}, reward=np.int64(2)), 9
  )
  assert (seen.done, seen.parts, seen.reward) == (True, {"correct": 0.5}, 2.0)
  assert type(seen.done) is bool and type(seen.parts["correct"]) is float and type(seen.reward) is float


@pytest.mark.parametrize("name", [name for name in junk.ANSWERS if not name.startswith(SILENT)])
def test_junk_for_an_observation_is_told_in_few_words(name):
  fault = junk.ANSWERS[name]
  with pytest.raises(EnvironmentFailed, match=r"^[\x20-\x7e]{10,200}$") as failed:
    checks.as_observation(fault() if callable(fault) else fault, 1000)
  assert failed.value.kind is FailureKind.ANSWER


@pytest.mark.parametrize(
  "name", [name for name in junk.OPENINGS if not name.startswith(("a reset", "a message of no"))]
)
def test_junk_for_an_opening_is_told_in_few_words(name):
  with pytest.raises(EnvironmentFailed, match=r"^[\x20-\x7e]{10,200}$") as failed:
    checks.as_messages(junk.OPENINGS[name])
  assert failed.value.kind is FailureKind.ANSWER


@pytest.mark.parametrize(
  ("change", "words"),
  [
    ({"id": None}, "whose id is None, and must be a str"),
    ({"id": ""}, "whose id is empty"),
    ({"question": b"2+2"}, "task t: its question is a bytes of length 3"),
    ({"question": "\ud800"}, "its question is no valid Unicode: there is a lone surrogate at character 0"),
    ({"answer": 4}, "its answer is a int"),
    ({"difficulty": 1.5}, "its difficulty is a float"),
    ({"data": None}, "its data is None"),
    ({"stratum": "one hop/known"}, "its stratum is 'one hop/known'; it names metrics, so write letters"),
    ({"stratum": 2}, "its stratum is 2"),
  ],
)
def test_a_task_with_a_bad_field_names_it(change, words):
  task = Task("t", "mine", "2+2=", answer="4")
  assert checks.as_task(task, "mine") is task
  with pytest.raises(EnvironmentFailed, match=words):
    checks.as_task(dataclasses.replace(task, **change), "mine")
  with pytest.raises(EnvironmentFailed, match="the generator of 'mine' gave a dict of length 0 where a Task was due"):
    checks.as_task({}, "mine")


def test_what_a_family_gives_is_checked_wherever_it_is_asked(monkeypatch):
  source = envs.make("testworlds.junk", "")
  assert source.oracle(source.task(3, "train"))[-1].answer == source.task(3, "train").answer
  monkeypatch.setattr(junk, "generate", lambda index, **_: {"id": index})
  with pytest.raises(EnvironmentFailed, match=r"the generator of 'testworlds.junk' gave a dict of length 1"):
    source.task(3, "train")
  monkeypatch.setattr(junk, "oracle", lambda task, tool: ["4"])
  with pytest.raises(EnvironmentFailed, match="an action of the oracle is a str of length 1"):
    source.oracle(Task("t", "mine", "2+2="))


@pytest.mark.parametrize(
  "actions",
  [None, "4", ["4"], [Action("answer", "4")], [Action(TurnKind.ANSWER, "", answer="\ud800")],
   [Action(TurnKind.TOOL_CALL, "", calls=None)], [Action(TurnKind.TOOL_CALL, "", calls=[ToolCall("c", {"x": junk})])]],
)  # fmt: skip
def test_junk_of_an_oracle_is_no_demonstration(actions):
  with pytest.raises(EnvironmentFailed, match=r"oracle|call"):
    checks.as_actions(actions)


def test_tools_are_specs():
  assert checks.as_tools([]) == ()
  for junk_tools in (None, "calculate", [{"name": "calculate"}]):
    with pytest.raises(EnvironmentFailed, match="must be a list of ToolSpecs"):
      checks.as_tools(junk_tools)


def test_long_texts_are_cut_and_say_so():
  cut = checks.as_observation(Observation("x" * 1000), 10).text
  assert cut == "x" * 10 + "\n[output cut: 1000 characters, first 10 shown]"
  results = tuple(ToolResult(CALL, letter * 400, True) for letter in "ab")
  seen = checks.as_observation(Observation("", results=results), 100).results
  assert [result.text.split("\n")[0] for result in seen] == ["a" * 50, "b" * 50]
  with pytest.raises(
    EnvironmentFailed, match="the text of the observation has 1000001 characters, and may have 1000000"
  ):
    checks.as_observation(Observation("x" * 1_000_001), 10)
  with pytest.raises(EnvironmentFailed, match="the results of the observation have 1200000 characters"):
    checks.as_observation(Observation("", results=[ToolResult(CALL, "x" * 600_000, True)] * 2), 10)


def test_a_failure_is_kept_and_its_words_are_cut():
  lost = EnvironmentFailed("the worker died", FailureKind.LOST)
  assert (str(checks.failure_of(lost)), checks.failure_of(lost).kind) == ("the worker died", FailureKind.LOST)
  assert str(checks.failure_of(OSError("disk"))) == "OSError: disk"
  long = str(checks.failure_of(EnvironmentFailed("x" * 10**6)))
  assert long == "x" * 1000 + " [cut: 1000000 characters]" and str(checks.failure_of(EnvironmentFailed(long))) != ""
  assert len(str(checks.failure_of(ValueError("y" * 10**6)))) < 400


class Own(EnvironmentFailed):
  """One of a user's, with an `__init__` of its own."""

  def __init__(self):
    pass

  def __str__(self):
    raise SystemExit(3)


@pytest.mark.parametrize(("error", "words"), [(junk.Unspeakable(), "Unspeakable"), (Own(), "Own")])
def test_an_exception_that_cannot_say_what_it_is_has_a_name(error, words):
  failure = checks.failure_of(error)
  assert (str(failure), failure.kind) == (words, FailureKind.RAISED)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e16, 10**400, "1", None, [1.0], 1j])
def test_a_part_is_a_finite_number(value):
  with pytest.raises(EnvironmentFailed, match="the part 'correct' is "):
    checks.as_observation(Observation("", parts={"correct": value}), 10)


@pytest.mark.parametrize("cost", [math.nan, math.inf, -0.5, "1"])
def test_the_cost_of_a_call_is_a_finite_number_of_at_least_0(cost):
  result = ToolResult(CALL, "2", True, cost=cost)
  with pytest.raises(EnvironmentFailed, match="the cost of a result of the observation is "):
    checks.as_observation(Observation("", results=[result]), 10)


def test_arguments_that_could_not_be_written_or_sent_are_refused():
  deep = None
  for _ in range(600):
    deep = [deep]
  result = ToolResult(ToolCall("f", {"x": deep}), "text", True)
  with pytest.raises(EnvironmentFailed, match="of a call of f are nested more than 64 levels deep"):
    checks.as_observation(Observation("", results=[result]), 10)


def test_a_failure_names_the_last_line_of_the_users_code():
  def step():
    return json.loads("{")

  with pytest.raises(json.JSONDecodeError) as error:
    step()
  line = step.__code__.co_firstlineno + 1
  assert str(checks.failure_of(error.value)).endswith(f" (test_checks.py, line {line}, in step)")
  assert str(checks.failure_of(KeyError("never raised"))) == "KeyError: 'never raised'"
