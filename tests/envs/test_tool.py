import asyncio
import functools
import threading

import pytest

from agentrl.envs.base import ToolEnvironment
from agentrl.envs.schema import ToolArgumentError
from agentrl.envs.tool import Priced, ToolLimits, ToolRunner, Toolset, ToolSpec, given_tool, tools_of
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
  with pytest.raises(ValueError, match=r"tool 'bad' has a schema that is no JSON schema: .*text. is not valid"):
    given_tool(ToolSpec("bad", "", {"type": "text"}), print)


def test_a_given_tool_runs_like_any_other():
  runner = ToolRunner({"forecast": TOOL}, ToolLimits())
  observation = runner.run([ToolCall("forecast", {"city": "Oslo", "days": 2}), ToolCall("forecast", {})])
  assert observation.text == '{"city": "Oslo", "days": 2}\nerror: missing argument \'city\''
  assert [result.failure for result in observation.results] == [None, ToolFailure.ARGUMENTS]
  assert runner.refuse(Action(TurnKind.MALFORMED, "<", problem="a call never ends")).text == "error: a call never ends"
  assert runner.specs[0].text_parameter is None


class Weather:
  """Tools that answer later, each in another way."""

  def __init__(self):
    self.cancelled = threading.Event()

  async def plain(self, city: str) -> str:
    """Looks."""
    await asyncio.sleep(0)
    return f"sunny in {city}"

  def under_a_plain_one(self, city: str) -> str:
    """Looks."""
    return self.plain(city)

  async def broken(self) -> str:
    """Breaks."""
    raise TimeoutError("the station is silent")

  async def endless(self) -> str:
    """Waits."""
    try:
      await asyncio.sleep(600)
    finally:
      self.cancelled.set()


def ran(toolset, name, arguments, **limits):
  (result,) = ToolRunner(tools_of(toolset), ToolLimits(**limits)).run([ToolCall(name, arguments)]).results
  return result


@pytest.mark.parametrize("name", ["plain", "under_a_plain_one"])
def test_an_async_tool_is_awaited(name):
  result = ran(Weather(), name, {"city": "Rome"})
  assert (result.text, result.ok) == ("sunny in Rome", True)


def test_an_async_tool_of_a_given_schema_is_awaited():
  tool = given_tool(ToolSpec("look", "Looks.", {"type": "object", "properties": {"city": {}}}), Weather().plain)
  assert tool.call({"city": "Oslo"}) == "sunny in Oslo"


def test_what_an_async_tool_raises_is_its_own_failure():
  result = ran(Weather(), "broken", {})
  assert (result.text, result.failure) == ("error: broken: TimeoutError: the station is silent", ToolFailure.EXCEPTION)


def test_an_async_tool_is_cancelled_at_the_deadline():
  toolset = Weather()
  result = ran(toolset, "endless", {}, call_seconds=0.05)
  assert result.failure is ToolFailure.TIMEOUT
  assert toolset.cancelled.wait(30)


class Oracles:
  """Tools that cost something."""

  def ask(self, question: str) -> Priced:
    """Answers."""
    return Priced({"heard": question}, 2.5)

  async def wait(self) -> Priced:
    """Answers later."""
    return Priced("at last", 1)

  def guess(self) -> str:
    """Answers for nothing."""
    return "7"

  def cheat(self, cost: str) -> Priced:
    """Charges what one likes."""
    return Priced("7", float(cost))

  def unanswered(self) -> Priced:
    """Charges for nothing that could be read."""
    return Priced(iter([1]), 2.0)


def test_a_tool_sets_the_price_of_its_call():
  asked = ran(Oracles(), "ask", {"question": "why"})
  assert (asked.text, asked.cost) == ('{"heard": "why"}', 2.5)
  assert (ran(Oracles(), "wait", {}).text, ran(Oracles(), "wait", {}).cost) == ("at last", 1.0)
  assert (ran(Oracles(), "guess", {}).text, ran(Oracles(), "guess", {}).cost) == ("7", 0.0)


def test_a_call_that_fails_costs_nothing():
  for name, arguments in (("ask", {}), ("tell", {}), ("unanswered", {})):
    failed = ran(Oracles(), name, arguments)
    assert not failed.ok and failed.cost == 0.0


@pytest.mark.parametrize("cost", ["-1", "nan", "inf"])
def test_a_price_below_0_or_without_end_is_the_tools_failure(cost):
  failed = ran(Oracles(), "cheat", {"cost": cost})
  assert failed.failure is ToolFailure.EXCEPTION and "must be a finite number of at least 0" in failed.text


class Steps:
  def count(self, n: int):
    """Counts."""
    yield from range(n)


class AsyncSteps:
  async def count(self, n: int):
    """Counts."""
    yield n


class LateReset(Toolset):
  async def reset(self, task, seed):
    """Never awaited."""


@pytest.mark.parametrize(
  ("toolset", "words"),
  [
    (Steps(), "tool Steps.count yields; a tool returns its whole answer at once"),
    (AsyncSteps(), "tool AsyncSteps.count yields"),
    (LateReset(), "LateReset.reset is async, and nobody would await it"),
  ],
)
def test_what_would_never_run_is_refused_when_the_tools_are_collected(toolset, words):
  with pytest.raises(TypeError, match=words):
    tools_of(toolset)


def test_a_check_that_nobody_would_await_is_refused():
  async def check(task, answer):
    return True

  with pytest.raises(TypeError, match="the check is async"):
    ToolEnvironment(Weather(), check)


class Lazy:
  """Tools that return what has not run, or has no text."""

  def generator(self):
    """Gives."""
    return (n for n in range(3))

  def mapped(self):
    """Gives."""
    return map(str, range(3))

  def nested(self):
    """Gives."""
    return {"found": [object()]}


@pytest.mark.parametrize("name", ["generator", "mapped", "nested"])
def test_a_result_without_a_text_is_the_tools_failure(name):
  result = ran(Lazy(), name, {})
  assert result.failure is ToolFailure.EXCEPTION
  assert "which has no text; it should return a string" in result.text


class Base:
  def old(self) -> str:
    """Goes."""
    return "old"

  def kept(self) -> str:
    """Stays."""
    return "kept"

  @functools.cache  # noqa: B019
  def cached(self) -> str:
    """Is kept."""
    return "cached"


class Derived(Base):
  old = None


def test_a_subclass_takes_a_tool_away_and_a_wrapped_one_is_a_tool():
  assert list(tools_of(Derived())) == ["kept", "cached"]
  assert ran(Derived(), "cached", {}).text == "cached"


@pytest.mark.parametrize(
  "arguments", [{"city": "a\ud800"}, {"city": ["\udfff"]}, {"city": {"\udc00": 1}}, {"\ud900": 1}]
)
def test_half_of_a_character_is_told_before_any_tool_sees_it(arguments):
  called = []
  spec = ToolSpec("look", "Looks.", {"type": "object", "properties": {}, "additionalProperties": True})
  runner = ToolRunner({"look": given_tool(spec, lambda **given: called.append(given))}, ToolLimits())
  (result,) = runner.run([ToolCall("look", arguments)]).results
  assert result.failure is ToolFailure.ARGUMENTS
  assert "which is half of a character" in result.text
  assert not called
  assert runner.run([ToolCall("look", {"city": "\U0001f600"})]).ok
