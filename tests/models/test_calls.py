"""Calls in few bytes, bound by what the tools' schemas say."""

import types

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrl.envs.tool import tools_of
from agentrl.models.calls import CallsSyntax
from agentrl.models.chat import PLAIN, ChatFormat
from agentrl.models.tokenizer import Tokenizer
from agentrl.types import Action, Message, Observation, ToolCall, ToolResult, TurnKind

TOKENIZER = Tokenizer.byte_level()


def tool(name, required=None, **schemas):
  schema = {"type": "object", "properties": schemas, "required": list(schemas if required is None else required)}
  return types.SimpleNamespace(name=name, description="", schema=schema)


TEXT, INTEGER = {"type": "string"}, {"type": "integer"}
LOOK = tool("look", key=TEXT)
PAY = tool("pay", who=TEXT, sum=INTEGER)
NOW = tool("now")
BARE = CallsSyntax("=", "\n")
TOOLS = [LOOK, PAY, NOW]


def syntax(tools=TOOLS, **settings):
  return CallsSyntax("=", "\n", **settings).for_tools(tools)


def chat(tools=TOOLS, **settings):
  return ChatFormat(TOKENIZER, PLAIN, syntax(tools, **settings))


def calling(*calls):
  return Action(TurnKind.TOOL_CALL, "", calls=tuple(ToolCall(name, arguments) for name, arguments in calls))


# ---- written and read back --------------------------------------------------------------------------------------

VALUES = {
  "string": st.text(),
  "integer": st.integers(),
  "number": st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False)),
  "boolean": st.booleans(),
}
NAMES = st.text("abcxyz_1", min_size=1, max_size=3)
SPECS = st.dictionaries(
  NAMES, st.dictionaries(NAMES, st.sampled_from(sorted(VALUES)), max_size=3), min_size=1, max_size=4
)


@st.composite
def specs_and_calls(draw):
  specs = draw(SPECS)
  names = draw(st.lists(st.sampled_from(sorted(specs)), min_size=1, max_size=3))
  return specs, [(name, {key: draw(VALUES[kind]) for key, kind in specs[name].items()}) for name in names]


@given(specs_and_calls(), st.booleans())
def test_calls_of_random_tools_are_read_back_or_refused(made, named):
  specs, calls = made
  tools = [tool(name, **{key: {"type": kind} for key, kind in spec.items()}) for name, spec in specs.items()]
  spoken = chat(tools, named=named)
  texts = [value for _, arguments in calls for value in arguments.values() if isinstance(value, str)]
  try:
    found = spoken.parse(spoken.render(calling(*calls)))
  except ValueError:
    assert any(set(text) & set("<>|;") for text in texts)  # nothing else cannot be written
  else:
    assert (found.kind, list(found.calls)) == (TurnKind.TOOL_CALL, [ToolCall(*call) for call in calls])


@pytest.mark.parametrize("delimiter", "|;><")
def test_an_argument_with_a_delimiter_is_malformed_and_never_written(delimiter):
  action = calling(("look", {"key": f"a{delimiter}b"}))
  parts, stop = syntax().write(action)
  read = syntax().parse("".join(parts) + stop)
  assert read.kind is TurnKind.MALFORMED or delimiter == ">"  # the stop ends a turn before what follows is sampled
  with pytest.raises(ValueError, match="cannot write"):
    chat().render(action)


def test_a_call_takes_few_tokens():
  assert len(chat().render(calling(("look", {"key": "koka"})))) == 11  # <look:koka>
  assert len(chat().render(calling(("pay", {"who": "ana", "sum": 12})))) == 12  # <pay:ana|12>


@pytest.mark.parametrize(
  ("text", "calls"),
  [
    ("<look:koka>", [("look", {"key": "koka"})]),
    ("so I look <look:koka>", [("look", {"key": "koka"})]),
    ("<pay:ana|12>", [("pay", {"who": "ana", "sum": 12})]),
    ("<pay:ana|many>", [("pay", {"who": "ana", "sum": "many"})]),
    ("<pay:ana>", [("pay", {"who": "ana"})]),
    ("<now>", [("now", {})]),
    ("<look:>", [("look", {"key": ""})]),
    ("<look:a:b>", [("look", {"key": "a:b"})]),
    ("<look:a;now;pay:b|1>", [("look", {"key": "a"}), ("now", {}), ("pay", {"who": "b", "sum": 1})]),
  ],
)
def test_arguments_are_bound_by_the_tool_s_order_and_types(text, calls):
  assert list(syntax().parse(text).calls) == [ToolCall(*call) for call in calls]


@pytest.mark.parametrize(
  ("text", "problem"),
  [
    ("<see:koka>", "no tool is called 'see'"),
    ("<look:a|b>", "look takes 1 arguments, not 2"),
    ("<look:a;b>", "no tool is called 'b'"),
    ("<look:a<b>", "there is a < inside a call"),
    ("<look:koka", "> is missing"),
    ("look:koka>", "< is missing"),
    ("<>", "no tool is called ''"),
    ("<now;now;now>", "there are more than 2 calls in one turn"),
  ],
)
def test_what_the_schemas_cannot_read_is_malformed(text, problem):
  read = syntax(max_calls=2).parse(text)
  assert read.kind is TurnKind.MALFORMED and problem in read.problem


@pytest.mark.parametrize(
  ("schema", "text", "value"),
  [
    (INTEGER, "12.0", "12.0"),
    (INTEGER, "true", "true"),
    ({"type": "number"}, "1e999", "1e999"),
    ({"type": "number"}, "0.5", 0.5),
    ({"type": "boolean"}, "false", False),
    ({"type": "boolean"}, "1", "1"),
    ({"enum": ["x", 3]}, "3", 3),
    ({"enum": ["x", 3]}, "4", "4"),
    ({"anyOf": [INTEGER, {"type": "null"}]}, "7", 7),
    ({}, "7", "7"),
  ],
)
def test_text_that_fits_no_type_stays_text(schema, text, value):
  (call,) = syntax([tool("f", x=schema)]).parse(f"<f:{text}>").calls
  assert call.arguments["x"] == value and type(call.arguments["x"]) is type(value)


def test_arguments_with_names_come_in_any_order():
  named = syntax(named=True)
  assert named.parse("<pay:sum=12|who=a=b>").calls == (ToolCall("pay", {"sum": 12, "who": "a=b"}),)
  assert named.parse("<pay:who=ana|to=eve>").calls == (
    ToolCall("pay", {"who": "ana", "to": "eve"}),
  )  # the tool refuses
  for text in ("<pay:ana|12>", "<pay:who=ana|who=eve>", "<pay:=ana>"):
    assert named.parse(text).problem == "an argument of pay is written name=value, and each once"


def test_what_is_left_out_before_an_argument_stands_there_by_its_default():
  optional = tool("f", required=["x"], x=TEXT, y={**INTEGER, "default": 3}, z=TEXT)
  parts, _ = syntax([optional]).write(calling(("f", {"x": "a", "z": "b"})))
  assert "".join(parts) == "<f:a|3|b"
  assert "".join(syntax([optional]).write(calling(("f", {"x": "a"})))[0]) == "<f:a"
  assert syntax().tools([optional]) == ["\n", "f(x,y?,z?)"]


# ---- answers ----------------------------------------------------------------------------------------------------


def test_an_answer_is_the_whole_turn_or_stands_between_tags():
  assert syntax().parse("408").answer == "408" and syntax().parse(" ").kind is TurnKind.VOID
  tagged = syntax(answer_open="[", answer_close="]")
  assert tagged.stops() == (">", "]") and tagged.parse("so [408]").answer == "408"
  assert tagged.parse("408").kind is TurnKind.VOID and tagged.parse("[408").kind is TurnKind.MALFORMED
  spoken = chat(answer_open="[", answer_close="]")
  answer = Action(TurnKind.ANSWER, "", answer="408")
  assert (
    spoken.tokenizer.decode(spoken.render(answer)) == "[408]" and spoken.parse(spoken.render(answer)).answer == "408"
  )


@pytest.mark.parametrize("tags", [("[", ""), ("", "]"), ("<a>", "</a>")])
def test_answer_tags_that_cannot_work_are_refused(tags):
  with pytest.raises(ValueError, match=r"chat\.answer_open"):
    CallsSyntax("=", "\n", *tags)


# ---- prompts and episodes ---------------------------------------------------------------------------------------


def test_a_prompt_shows_the_signatures_of_its_own_tools():
  bare = ChatFormat(TOKENIZER, PLAIN, BARE)
  prompt = bare.prompt([Message("user", "What is koka?")], [LOOK, PAY])
  assert TOKENIZER.decode(prompt) == "\nlook(key) pay(who,sum)\nWhat is koka?\n"
  asked = [Message("system", "Look."), Message("user", "koka?")]
  assert TOKENIZER.decode(bare.prompt(asked, [LOOK])) == "Look.\nlook(key)\nkoka?\n"
  assert TOKENIZER.decode(bare.prompt(asked)) == "Look.\nkoka?\n"


def test_an_example_is_written_with_the_prompt_s_tools():
  example = [Message("assistant", action=calling(("look", {"key": "koka"}))), Message("tool", "372")]
  prompt = ChatFormat(TOKENIZER, PLAIN, BARE).prompt([Message("user", "koka?"), *example], [LOOK])
  assert TOKENIZER.decode(prompt) == "\nlook(key)\nkoka?\n<look:koka>=372\n"


def test_results_follow_in_line_one_after_the_other():
  results = [ToolResult(ToolCall("look", {"key": key}), text, True) for key, text in (("a", "1"), ("b", "2"))]
  assert TOKENIZER.decode(chat().observation(Observation("1\n2", results=results), False)) == "=1\n=2\n"


@pytest.mark.parametrize(
  ("made", "problem"),
  [
    (tool("a:b"), "cannot write the name 'a:b'"),
    (tool("f", **{"x y": TEXT}), "cannot write the name 'x y'"),
    (tool("f", x={"type": "array"}), "no x of f of this schema"),
    (tool("f", x={"anyOf": [TEXT, INTEGER]}), "use chat.style='chatml_json'"),
  ],
)
def test_a_tool_that_cannot_be_called_is_refused(made, problem):
  with pytest.raises(ValueError, match=problem):
    syntax([made])


def test_a_call_of_a_tool_that_is_not_there_cannot_be_written():
  with pytest.raises(ValueError, match="there is none called 'see'"):
    chat().render(calling(("see", {})))
  with pytest.raises(ValueError, match="cannot write"):
    chat().render(calling(("look", {"word": "a"})))


def test_methods_are_called_as_they_are_written():
  class Bank:
    def pay(self, who: str, amount: int, note: str = "") -> str:
      """Pays."""
      return f"{who} has {amount + 1}{note}"

  tools = tools_of(Bank())
  read = syntax([made.spec for made in tools.values()]).parse("<pay:ana|12>")
  assert tools["pay"].call(read.calls[0].arguments) == "ana has 13"
