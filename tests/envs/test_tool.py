import pytest

from agentrl.envs.schema import ToolArgumentError
from agentrl.envs.tool import ToolLimits, ToolRunner, ToolSpec, given_tool
from agentrl.types import Action, ToolCall, ToolFailure, TurnKind

SCHEMA = {
  "type": "object",
  "properties": {
    "city": {"type": "string"},
    "days": {"type": "integer", "minimum": 1},
    "units": {"enum": ["C", "F"]},
    "places": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "number"}}}},
  },
  "required": ["city", "days"],
}
TOOL = given_tool(ToolSpec("forecast", "Tells the weather.", SCHEMA), lambda **given: given)


def test_arguments_that_fit_a_given_schema_reach_the_function():
  assert TOOL.call({"city": "Oslo", "days": 2}) == {"city": "Oslo", "days": 2}


@pytest.mark.parametrize(
  ("arguments", "words"),
  [
    ({"city": "Oslo"}, "missing argument 'days'"),
    ({}, "missing argument 'city'"),
    ({"city": "Oslo", "days": "two"}, 'argument \'days\': "two" is not of type "integer"'),
    ({"city": "Oslo", "days": 0}, "argument 'days': 0 is less than the minimum of 1"),
    ({"city": "Oslo", "days": 1, "units": "K"}, "argument 'units': \"K\" is not one of"),
    ({"city": "Oslo", "days": 1, "places": [{"x": "far"}]}, r"argument 'places'\[0\]\['x'\]: \"far\" is not of type"),
    ({"city": "Oslo", "days": 1, "day": 1}, "unexpected argument 'day'; expected: city, days, units, places"),
    ({"city": 5 * ["Oslo" * 99], "days": 1}, r"^argument 'city': .{,190}\.\.\.$"),
  ],
)
def test_arguments_that_do_not_fit_are_put_into_words(arguments, words):
  with pytest.raises(ToolArgumentError, match=words):
    TOOL.call(arguments)


def test_a_schema_may_leave_arguments_open():
  open_tool = given_tool(
    ToolSpec("any", "Takes anything.", SCHEMA | {"additionalProperties": True}), lambda **given: given
  )
  assert open_tool.call({"city": "Oslo", "days": 2, "why": "snow"})["why"] == "snow"


def test_a_schema_that_is_none_is_an_error_before_any_call():
  with pytest.raises(ValueError, match=r"tool 'bad' has a schema that is none: .*text. is not valid"):
    given_tool(ToolSpec("bad", "", {"type": "text"}), print)


def test_a_given_tool_runs_like_any_other():
  runner = ToolRunner({"forecast": TOOL}, ToolLimits())
  observation = runner.run([ToolCall("forecast", {"city": "Oslo", "days": 2}), ToolCall("forecast", {})])
  assert observation.text == '{"city": "Oslo", "days": 2}\nerror: missing argument \'city\''
  assert [result.failure for result in observation.results] == [None, ToolFailure.ARGUMENTS]
  assert runner.refuse(Action(TurnKind.MALFORMED, "<", problem="a call never ends")).text == "error: a call never ends"
  assert runner.specs[0].text_parameter is None
