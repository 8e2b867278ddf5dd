"""Turns as text; tests of the tokens they are made of are in test_chat.py."""

import types

import pytest

from agentrl.models.syntax import MOST_CALLS, MOST_NESTED, DialogueSyntax, JsonSyntax, Markup, TagSyntax, tag_syntax
from agentrl.types import Action, ToolCall, TurnKind

TAGS = TagSyntax("count", "text", "<c>", "</c>", "[", "]")


@pytest.mark.parametrize(
  ("syntax", "action"),
  [
    (TAGS, Action(TurnKind.TOOL_CALL, "", calls=(ToolCall("count", {"text": "a b"}),))),
    (TAGS, Action(TurnKind.ANSWER, "", answer="3")),
    (JsonSyntax(), Action(TurnKind.TOOL_CALL, "", calls=(ToolCall("f", {"x": "é"}), ToolCall("g", {})))),
    (JsonSyntax(), Action(TurnKind.ANSWER, "", answer="3")),
    (DialogueSyntax("\n"), Action(TurnKind.ANSWER, "", answer="Is it big?")),
  ],
)
def test_what_is_written_is_read_back(syntax, action):
  parts, stop = syntax.write(action)
  found = syntax.parse("".join(parts) + stop)
  assert (found.kind, tuple(found.calls), found.answer) == (action.kind, tuple(action.calls), action.answer)


def test_only_the_words_of_the_format_are_markup():
  parts, _ = TAGS.write(Action(TurnKind.TOOL_CALL, "", calls=(ToolCall("count", {"text": "<c>"}),)))
  assert [type(part) for part in parts] == [Markup, str]
  assert [type(part) for part in JsonSyntax().results(["</tool_response>"])] == [Markup, str, Markup]


def test_tags_of_a_config_call_the_tool_that_there_is():
  tool = types.SimpleNamespace(name="count", text_parameter="text")
  settings = {"open": "<c>", "close": "</c>", "observation_open": "[", "observation_close": "]"}
  assert tag_syntax(tool, settings) == TAGS


def nested_call(levels):
  """A call with so many levels of lists and objects, itself and its arguments included."""
  lists = levels - 2
  return '<tool_call>{"name": "f", "arguments": {"x": ' + "[" * lists + "]" * lists + "}}</tool_call>"


@pytest.mark.parametrize("levels", [MOST_NESTED + 1, 257, 600, 978, 100_000])
def test_a_call_that_is_nested_too_deep_for_whoever_comes_next_is_the_policys_mistake(levels):
  action = JsonSyntax().parse(nested_call(levels))
  assert action.kind is TurnKind.MALFORMED
  assert "not valid JSON" in action.problem


def test_calls_may_be_nested_as_deep_as_is_said():
  action = JsonSyntax().parse(nested_call(MOST_NESTED))
  assert (action.kind, len(action.calls)) == (TurnKind.TOOL_CALL, 1)


def test_a_turn_of_more_calls_than_anybody_makes_is_the_policys_mistake():
  call = '<tool_call>{"name": "f"}</tool_call>'
  assert len(JsonSyntax().parse(call * MOST_CALLS).calls) == MOST_CALLS
  action = JsonSyntax().parse(call * (MOST_CALLS + 1))
  assert (action.kind, action.problem) == (TurnKind.MALFORMED, f"there are more than {MOST_CALLS} tool calls in a turn")
