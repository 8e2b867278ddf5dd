"""Turns as text; tests of the tokens they are made of are in test_chat.py."""

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
