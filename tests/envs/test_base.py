import threading
import time

import pytest

from agentrl.envs.base import Setting, ToolEnvironment
from agentrl.envs.schema import ToolArgumentError
from agentrl.envs.tool import VOID_TEXT, ToolLimits, Toolset, ToolTimeout, tools_of
from agentrl.types import Action, EnvironmentFailed, Message, Task, ToolCall, ToolFailure, TurnKind

TASK = Task(id="t-0", family="tests", question="How many?", answer="4")


class Bench:
  """Tools that behave, and tools that do not."""

  def add(self, a: int, b: int = 1) -> int:
    """Adds two numbers.

    Args:
      a: the first.
      b: the second.
    """
    return a + b

  def echo(self, text: str) -> str:
    """Gives the text back."""
    return text

  def hang(self) -> str:
    """Never answers in time."""
    time.sleep(1.0)
    return "late"

  def explode(self) -> str:
    """Raises."""
    raise KeyError("x" * 10_000)

  def leave(self) -> str:
    """Tries to end the process."""
    raise SystemExit(3)

  def flood(self) -> str:
    """Answers with 10 MB."""
    return "y" * 10_000_000

  def garbage(self) -> dict:
    """Answers with bytes that are not UTF-8."""
    return b"ok \xff\xfe\x00"

  def surrogate(self) -> str:
    """Answers with half a character."""
    return "a\ud800b"

  def lost(self) -> str:
    """Loses its own machinery."""
    raise EnvironmentFailed("the server went away")

  def slow(self) -> str:
    """Gives up by itself."""
    raise ToolTimeout("stopped after 2 s")

  def _private(self) -> str:
    return "never shown"


def call(name, **arguments):
  return Action(TurnKind.TOOL_CALL, "", calls=(ToolCall(name, arguments),))


def answer(text):
  return Action(TurnKind.ANSWER, text, answer=text)


@pytest.fixture
def environment():
  setting = Setting(limits=ToolLimits(0.2, 50))
  environment = ToolEnvironment(Bench(), lambda task, text: text == task.answer, setting)
  environment.reset(TASK, 0)
  return environment


def step_one(environment, action):
  observation = environment.step(action)
  (result,) = observation.results
  assert observation.text == result.text
  assert observation.ok == result.ok
  assert not observation.done
  return result


def test_public_typed_methods_are_the_tools_in_order_of_definition():
  tools = tools_of(Bench())
  assert list(tools)[:3] == ["add", "echo", "hang"]
  assert "_private" not in tools
  spec = tools["add"].spec
  assert spec.description == "Adds two numbers."
  assert spec.schema == {
    "type": "object",
    "properties": {
      "a": {"type": "integer", "description": "the first."},
      "b": {"type": "integer", "description": "the second.", "default": 1},
    },
    "required": ["a"],
  }


def test_text_parameter_is_the_one_required_string():
  tools = tools_of(Bench())
  assert tools["echo"].spec.text_parameter == "text"
  assert tools["add"].spec.text_parameter is None  # an integer
  assert tools["hang"].spec.text_parameter is None  # no parameter


def test_reset_and_close_are_tools_of_a_plain_class_and_not_of_a_toolset():
  class Plain:
    def reset(self, seed: int) -> str:
      """Deals again."""

  class Held(Toolset):
    def reset(self, task, seed):
      self.seed = seed

    def close(self):
      self.closed = True

    def peek(self) -> int:
      """Shows the seed."""
      return self.seed

  assert list(tools_of(Plain())) == ["reset"]
  held = Held()
  assert list(tools_of(held)) == ["peek"]
  environment = ToolEnvironment(held, lambda task, text: True)
  environment.reset(TASK, 7)
  assert environment.step(call("peek")).text == "7"
  environment.close()
  assert held.closed


def test_a_method_without_docstring_is_refused_when_tools_are_collected():
  class Mute:
    def go(self) -> str:
      return ""

  with pytest.raises(TypeError, match="go has no docstring"):
    tools_of(Mute())


def test_opening_messages_come_in_order_and_end_with_the_question():
  examples = (Message("user", "1+1?"), Message("assistant", action=answer("2")))
  environment = ToolEnvironment(Bench(), lambda task, text: True, Setting("Be brief.", examples))
  assert environment.reset(TASK, 0) == [Message("system", "Be brief."), *examples, Message("user", "How many?")]


def test_a_call_is_answered_and_timed(environment):
  result = step_one(environment, call("add", a="2", b=2))
  assert (result.text, result.ok, result.failure) == ("4", True, None)
  assert result.seconds > 0


def test_calls_of_a_turn_run_in_order_up_to_the_limit():
  environment = ToolEnvironment(Bench(), lambda task, text: True, Setting(limits=ToolLimits(max_calls=2)))
  environment.reset(TASK, 0)
  calls = tuple(ToolCall("echo", {"text": text}) for text in "abc")
  observation = environment.step(Action(TurnKind.TOOL_CALL, "", calls=calls))
  assert [result.text for result in observation.results[:2]] == ["a", "b"]
  assert "at most 2 tool calls" in observation.results[2].text
  assert observation.text.startswith("a\nb\nerror:")
  assert not observation.ok
  assert observation.name is None


@pytest.mark.parametrize(
  ("action", "words", "failure"),
  [
    (call("sub", a=1), "error: unknown tool 'sub'; available: add, echo", ToolFailure.ARGUMENTS),
    (call("add"), "error: missing argument 'a'", ToolFailure.ARGUMENTS),
    (call("add", a="abc"), "error: argument 'a' must be an integer, got 'abc'", ToolFailure.ARGUMENTS),
    (call("add", a=1, z=1), "error: unexpected argument 'z'; expected: a, b", ToolFailure.ARGUMENTS),
    (call("explode"), "error: explode: KeyError: 'xxx", ToolFailure.EXCEPTION),
    (call("leave"), "error: leave: RuntimeError: SystemExit raised", ToolFailure.EXCEPTION),
    (call("hang"), "error: hang: no answer within 0.2 s", ToolFailure.TIMEOUT),
    (call("slow"), "error: slow: stopped after 2 s", ToolFailure.TIMEOUT),
  ],
)
def test_failures_of_policy_and_tool_are_told_and_counted(environment, action, words, failure):
  result = step_one(environment, action)
  assert result.text.startswith(words[:50])  # max_output_chars
  assert (result.ok, result.failure) == (False, failure)
  assert environment.step(answer("4")).parts == {"correct": 1.0}  # the episode goes on


def test_output_is_valid_text_of_bounded_length(environment):
  assert step_one(environment, call("flood")).text == ("y" * 50 + "\n[output cut: 10000000 characters, first 50 shown]")
  assert step_one(environment, call("garbage")).text == "ok \ufffd\ufffd\ufffd"
  assert step_one(environment, call("surrogate")).text == "a\ufffdb"
  assert step_one(environment, call("echo", text="")).text == "[no output]"


def test_void_and_malformed_turns_are_told_and_go_on(environment):
  void = environment.step(Action(TurnKind.VOID, ""))
  malformed = environment.step(Action(TurnKind.MALFORMED, "", problem="</calc> is \ud800missing"))
  assert (void.text.splitlines()[0], void.ok, void.done) == (VOID_TEXT[:50], False, False)
  assert (malformed.text, malformed.ok) == ("error: </calc> is \ufffdmissing", False)


@pytest.mark.parametrize(("text", "correct"), [("4", 1.0), ("5", 0.0)])
def test_an_answer_ends_the_episode_with_its_verdict(environment, text, correct):
  observation = environment.step(answer(text))
  assert observation.done
  assert (observation.text, observation.parts) == ("", {"correct": correct})
  with pytest.raises(RuntimeError, match="outside an episode"):
    environment.step(answer(text))


def test_failures_of_the_environment_itself_raise(environment):
  with pytest.raises(EnvironmentFailed, match="went away"):
    environment.step(call("lost"))

  def broken(task, text):
    raise ZeroDivisionError("no reference")

  environment = ToolEnvironment(Bench(), broken)
  environment.reset(TASK, 0)
  with pytest.raises(EnvironmentFailed, match=r"task t-0: .*ZeroDivisionError: no reference"):
    environment.step(answer("4"))


@pytest.mark.parametrize(
  ("verdict", "parts"),
  [
    (True, {"correct": 1.0}),
    (False, {"correct": 0.0}),
    (1.0, {"correct": 1.0, "score": 1.0}),
    (0.99, {"correct": 0.0, "score": 0.99}),
    (0.0, {"correct": 0.0, "score": 0.0}),
  ],
)
def test_a_check_may_grade_and_only_full_marks_are_correct(verdict, parts):
  environment = ToolEnvironment(Bench(), lambda task, text: verdict)
  environment.reset(TASK, 0)
  assert environment.step(answer("4")).parts == parts


@pytest.mark.parametrize("verdict", [None, 1, 1.01, -0.1, float("nan"), "yes"])
def test_a_verdict_that_is_none_is_the_environments_failure(verdict):
  environment = ToolEnvironment(Bench(), lambda task, text: verdict)
  environment.reset(TASK, 0)
  with pytest.raises(EnvironmentFailed, match=r"a check gives True, False or a float from 0\.0 to 1\.0, not"):
    environment.step(answer("4"))


def test_a_check_that_never_ends_is_the_environments_failure():
  forever = threading.Event()
  environment = ToolEnvironment(Bench(), lambda task, text: forever.wait(2), Setting(limits=ToolLimits(0.1)))
  environment.reset(TASK, 0)
  with pytest.raises(EnvironmentFailed, match=r"no answer within 0\.1 s"):
    environment.step(answer("4"))
  forever.set()


@pytest.mark.parametrize("name", ["call_seconds", "max_output_chars", "max_calls"])
def test_limits_must_be_positive(name):
  with pytest.raises(ValueError, match=f"{name} must be positive, got 0"):
    ToolLimits(**{name: 0})


def test_tool_call_checks_its_arguments():
  with pytest.raises(ToolArgumentError, match="missing argument 'text'"):
    tools_of(Bench())["echo"].call({})
