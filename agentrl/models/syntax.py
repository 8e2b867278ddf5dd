"""How a turn writes a tool call or an answer, and how it is read.

A `Syntax` gives text in parts: what stands in `Markup` is the format's own, anything else came from outside.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from agentrl.types import MOST_NESTED, Action, ToolCall, TurnKind, is_nested_too_deeply


class Markup(str):
  """Words of the format itself, in which the tokenizer's special and added tokens stand; any other text is plain."""

  __slots__ = ()


class Syntax(Protocol):
  """How a turn is written."""

  @property
  def inline(self) -> tuple[TurnKind, ...]:
    """Kinds of turn whose answer, a tool's output or a reply, goes on in the same assistant message."""

  def for_tools(self, tools: Sequence[Any]) -> Syntax:
    """The same for an episode in which these tools may be called: what reading and writing a call may depend on."""

  def stops(self) -> tuple[str, ...]:
    """Texts that end a turn."""

  def parse(self, text: str) -> Action:
    """Reads a whole turn: a text stop included, an end-of-turn token excluded."""

  def write(self, action: Action) -> tuple[list[str], str]:
    """A turn for the calls or the answer: its parts, and the text stop after them; empty: the end-of-turn token."""

  def tools(self, tools: Sequence[Any]) -> list[str]:
    """What the system message says of the tools, in parts."""

  def results(self, texts: Sequence[str]) -> list[str]:
    """Wraps what tools, or the environment, answered, in parts."""


@dataclasses.dataclass(frozen=True)
class TagSyntax:
  """One tool, called by text between two tags; the tool's output follows in line.

  Attributes:
    tool: its name.
    parameter: the argument that takes the text between the tags.
    open: the tag before a call.
    close: the tag behind a call; ends the turn.
    observation_open: before the output.
    observation_close: behind the output.
    answer_open: before the answer; empty: a turn without a call is the answer, whole.
    answer_close: behind the answer; ends the turn.
  """

  tool: str
  parameter: str
  open: str
  close: str
  observation_open: str
  observation_close: str
  answer_open: str = ""
  answer_close: str = ""
  inline = (TurnKind.TOOL_CALL,)

  def __post_init__(self):
    if not (self.open and self.close):
      raise ValueError("chat.open and chat.close must not be empty: they delimit a tool call")
    if self.close in self.open:
      raise ValueError(f"chat.close={self.close!r} stands in chat.open={self.open!r}: no call could ever be opened")
    if bool(self.answer_open) != bool(self.answer_close):
      raise ValueError("chat.answer_open and chat.answer_close: set both or none")

  def for_tools(self, tools: Sequence[Any]) -> TagSyntax:
    del tools
    return self

  def stops(self) -> tuple[str, ...]:
    return (self.close, self.answer_close) if self.answer_close else (self.close,)

  def parse(self, text: str) -> Action:
    head, closed, _ = text.partition(self.close)
    _, opened, code = head.rpartition(self.open)
    if closed and opened:
      return Action(TurnKind.TOOL_CALL, head, calls=(ToolCall(self.tool, {self.parameter: code}),))
    if closed or opened:
      return _malformed(head, f"a call of {self.tool}", self.open, self.close, missing_close=bool(opened))
    return answer_between(text, self.answer_open, self.answer_close) if self.answer_open else answer_or_void(text, text)

  def write(self, action: Action) -> tuple[list[str], str]:
    if action.kind is TurnKind.ANSWER:
      return [Markup(self.answer_open), str(action.answer)], self.answer_close
    if [(call.name, set(call.arguments)) for call in action.calls] != [(self.tool, {self.parameter})]:
      raise ValueError(
        f"tags write one call a turn, of {self.tool} with the argument {self.parameter!r}; got {list(action.calls)}"
      )
    return [Markup(self.open), str(action.calls[0].arguments[self.parameter])], self.close

  def tools(self, tools: Sequence[Any]) -> list[str]:
    if tools and self.tool not in [tool.name for tool in tools]:
      raise ValueError(f"the tags call {self.tool!r}, but the tools are {[tool.name for tool in tools]}")
    return []  # a tag is explained by the system message or by examples

  def results(self, texts: Sequence[str]) -> list[str]:
    opening, closing = Markup(self.observation_open), Markup(self.observation_close)
    return [part for text in texts for part in (opening, text, closing)]


def answer_between(text: str, opening: str, closing: str) -> Action:
  """A turn without a call whose answer stands between two tags; without any of them it is void."""
  head, closed, _ = text.partition(closing)
  _, opened, answer = head.rpartition(opening)
  if bool(closed) != bool(opened):
    return _malformed(head, "an answer", opening, closing, missing_close=bool(opened))
  return answer_or_void(head, answer) if closed else Action(TurnKind.VOID, text)


def answer_or_void(text: str, answer: str) -> Action:
  """The turn `text` as an answer, unless that is empty."""
  answer = answer.strip()
  return Action(TurnKind.ANSWER, text, answer=answer) if answer else Action(TurnKind.VOID, text)


def _malformed(text: str, what: str, opening: str, closing: str, *, missing_close: bool) -> Action:
  problem = f"{what} is written {opening}...{closing}; {closing if missing_close else opening} is missing"
  return Action(TurnKind.MALFORMED, text, problem=problem)


@dataclasses.dataclass(frozen=True)
class JsonSyntax:
  """Calls as JSON objects between <tool_call> tags, several a turn, in the manner of Hermes and Qwen."""

  inline = ()

  def for_tools(self, tools: Sequence[Any]) -> JsonSyntax:
    del tools
    return self

  def stops(self) -> tuple[str, ...]:
    return ()

  def parse(self, text: str) -> Action:
    said = _after_thinking(text)
    try:
      calls = _json_calls(said)
    except ValueError as error:
      return Action(TurnKind.MALFORMED, text, problem=str(error))
    return Action(TurnKind.TOOL_CALL, text, calls=calls) if calls else answer_or_void(text, said)

  def write(self, action: Action) -> tuple[list[str], str]:
    if action.kind is TurnKind.ANSWER:
      return [str(action.answer)], ""
    calls = [{"name": call.name, "arguments": dict(call.arguments)} for call in action.calls]
    parts = [part for call in calls for part in (_CALL_OPEN, f"\n{_to_json(call)}\n", _CALL_CLOSE, "\n")]
    return parts[:-1], ""

  def tools(self, tools: Sequence[Any]) -> list[str]:
    if not tools:
      return []
    functions = [
      {"type": "function", "function": {"name": t.name, "description": t.description, "parameters": dict(t.schema)}}
      for t in tools
    ]
    before = "\n\n# Tools\n\nThese functions may be called; their signatures stand between <tools></tools>:\n<tools>\n"
    after = (
      "\n</tools>\n\nTo call one, write its name and arguments as JSON between <tool_call></tool_call>:\n"
      '<tool_call>\n{"name": "...", "arguments": {...}}\n</tool_call>'
    )
    return [Markup(before), "\n".join(map(_to_json, functions)), Markup(after)]

  def results(self, texts: Sequence[str]) -> list[str]:
    opening, closing = Markup("<tool_response>"), Markup("</tool_response>")
    parts = [part for text in texts for part in (opening, f"\n{text}\n", closing, "\n")]
    return parts[:-1]


def _after_thinking(text: str) -> str:
  """The turn without the thinking at its start, whose opening tag may stand in the prompt."""
  thinking, closed, rest = text.partition("</think>")
  if thinking.lstrip().startswith("<think>") or (closed and _CALL_OPEN not in thinking):
    return rest
  return text


_CALL_OPEN, _CALL_CLOSE = Markup("<tool_call>"), Markup("</tool_call>")


def _to_json(value: Any) -> str:
  return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _finite(literal: str) -> float:
  value = float(literal)
  if not math.isfinite(value):
    raise ValueError(f"{literal} is not a finite number")
  return value


_SPACES = re.compile(r"\s*")
_MOST_CALLS = 1000  # of one turn: each has a result
_DECODER = json.JSONDecoder(parse_constant=_finite, parse_float=_finite)


def _json_calls(text: str) -> tuple[ToolCall, ...]:
  """The calls in a turn; ValueError says what is wrong with one, in words for the policy."""
  calls, end = [], 0
  while (start := text.find(_CALL_OPEN, end)) >= 0:
    _require_no_closing(text, end, start)
    if len(calls) == _MOST_CALLS:
      raise ValueError(f"there are more than {_MOST_CALLS} tool calls in one turn")
    call, end = _json_call(text, start + len(_CALL_OPEN))
    calls.append(call)
  _require_no_closing(text, end, len(text))
  return tuple(calls)


def _require_no_closing(text: str, start: int, end: int) -> None:
  if text.find(_CALL_CLOSE, start, end) >= 0:
    raise ValueError(f"there is a {_CALL_CLOSE} without its {_CALL_OPEN}")


def _json_call(text: str, start: int) -> tuple[ToolCall, int]:
  """The call that begins at `start`, and where its closing tag ends. The tag may well stand inside a JSON string."""
  try:
    call, end = _DECODER.raw_decode(text, _after_spaces(text, start))
  except RecursionError:
    raise ValueError(f"the tool call is nested more than {MOST_NESTED} levels deep") from None
  except ValueError as error:
    raise ValueError(f"the tool call is not valid JSON: {error}") from None
  if not isinstance(call, dict) or not isinstance(call.get("name"), str) or set(call) - {"name", "arguments"}:
    raise ValueError('a tool call is a JSON object with "name", a string, and "arguments", an object, and no more')
  arguments = call.get("arguments", {})
  if not isinstance(arguments, dict):
    raise ValueError(f'"arguments" of {call["name"]} must be a JSON object')
  if is_nested_too_deeply(arguments):
    raise ValueError(f"the tool call is nested more than {MOST_NESTED} levels deep")
  _require_text(call)
  end = _after_spaces(text, end)
  if not text.startswith(_CALL_CLOSE, end):
    raise ValueError(f"{_CALL_CLOSE} is missing after the JSON object of the call")
  return ToolCall(call["name"], arguments), end + len(_CALL_CLOSE)


def _require_text(call: Mapping[str, Any]) -> None:
  try:
    _to_json(call).encode()
  except UnicodeEncodeError as error:  # an escaped lone surrogate is JSON, but no text
    raise ValueError(f"the tool call is not valid JSON: {error}") from None


def _after_spaces(text: str, start: int) -> int:
  return _SPACES.match(text, start).end()


@dataclasses.dataclass(frozen=True)
class DialogueSyntax:
  """No tools: a turn is an utterance, whole, and the environment's reply follows.

  Attributes:
    stop: ends a turn and a reply, such as a newline; empty: the end-of-turn token does.
  """

  stop: str

  @property
  def inline(self) -> tuple[TurnKind, ...]:
    return (TurnKind.ANSWER,) if self.stop else ()

  def for_tools(self, tools: Sequence[Any]) -> DialogueSyntax:
    del tools
    return self

  def stops(self) -> tuple[str, ...]:
    return (self.stop,) if self.stop else ()

  def parse(self, text: str) -> Action:
    said = text.partition(self.stop)[0] if self.stop else text
    return answer_or_void(said, said)

  def write(self, action: Action) -> tuple[list[str], str]:
    if action.kind is not TurnKind.ANSWER:
      raise ValueError(f"a dialogue has no tools, so it cannot write {list(action.calls)}")
    return [str(action.answer)], self.stop

  def tools(self, tools: Sequence[Any]) -> list[str]:
    if tools:
      names = [tool.name for tool in tools]
      raise ValueError(
        f"chat.style='dialogue' takes no tools, but there are {names}; use 'tags', 'calls' or 'chatml_json'"
      )
    return []

  def results(self, texts: Sequence[str]) -> list[str]:
    return [part for text in texts for part in (text, Markup(self.stop))]


def tag_syntax(tool: Any, settings: Mapping[str, str]) -> TagSyntax:
  """The `TagSyntax` for a tool specification (`name`, `text_parameter`) and the tags in a config."""
  return TagSyntax(tool.name, tool.text_parameter, **settings)
