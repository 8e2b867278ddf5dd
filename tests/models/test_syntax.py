"""Turns as text; tests of the tokens they are made of are in test_chat.py."""

import json
import types

import pytest

from agentrl.models.syntax import DialogueSyntax, JsonSyntax, Markup, TagSyntax, tag_syntax
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


def deep(levels):
  """A call whose arguments have so many levels."""
  return f'<tool_call>{{"name": "f", "arguments": {{"x": {"[" * (levels - 1)}{"]" * (levels - 1)}}}}}</tool_call>'


@pytest.mark.parametrize("levels", [65, 490, 600, 975, 978, 100_000])
def test_a_call_that_could_not_be_written_or_sent_is_malformed(levels):
  parsed = JsonSyntax().parse(deep(levels))
  assert (parsed.kind, parsed.problem) == (TurnKind.MALFORMED, "the tool call is nested more than 64 levels deep")


def test_a_call_may_be_nested_as_deep_as_a_sensible_one():
  parsed = JsonSyntax().parse(deep(64))
  assert parsed.kind is TurnKind.TOOL_CALL
  json.dumps(parsed.calls[0].arguments)


def test_more_calls_than_have_results_are_malformed():
  call = '<tool_call>{"name": "f"}</tool_call>'
  assert len(JsonSyntax().parse(1000 * call).calls) == 1000
  assert JsonSyntax().parse(20_000 * call).problem == "there are more than 1000 tool calls in one turn"


@pytest.mark.parametrize("text", ["</tool_call>", '<tool_call>{"name": "f"}</tool_call> </tool_call>'])
def test_a_closing_tag_without_its_opening_one_is_malformed(text):
  assert JsonSyntax().parse(text).problem == "there is a </tool_call> without its <tool_call>"
