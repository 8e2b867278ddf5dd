"""Many tools in few bytes: `<look:koka>`, `<pay:ana|12>`, and `<look:koka;pay:ana|12>` for two calls in one turn."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agentrl.models.syntax import Markup, answer_between, answer_or_void
from agentrl.types import Action, ToolCall, TurnKind

_RESERVED = re.compile(r"[<>:;|=,()?\s]")  # a tool's name and a parameter's have none of these


@dataclasses.dataclass(frozen=True)
class Parameter:
  """One parameter of a tool, as a call writes it.

  Attributes:
    name: of the parameter.
    required: a call without it is wrong.
    read: the text in a call as a JSON value; text that does not fit the schema stays text, and the tool refuses it.
    default: its JSON value where the schema has one.
  """

  name: str
  required: bool
  read: Callable[[str], Any]
  default: Any = None


@dataclasses.dataclass(frozen=True)
class CallsSyntax:
  """Calls between `<` and `>`: the tool, `:`, its arguments with `|` between them; `;` between calls.

  The tools' schemas say which argument is which, of what type it is, and how many there are. A turn that cannot be read
  by them is malformed: an unknown tool, too many arguments, a `<` or `>` too many. A call that lacks an argument is
  read, and the tool refuses it. Output follows in line.

  Attributes:
    observation_open: before the output of each call.
    observation_close: behind it.
    answer_open: before the answer; empty: a turn without a call is the answer, whole.
    answer_close: behind the answer; ends the turn.
    max_calls: of one turn.
    named: arguments are written with their names, `<pay:who=ana|sum=12>`, in any order.
    tools_by_name: parameters of the tools that there are; `for_tools` gives them.
  """

  observation_open: str
  observation_close: str
  answer_open: str = ""
  answer_close: str = ""
  max_calls: int = 8
  named: bool = False
  tools_by_name: Mapping[str, Sequence[Parameter]] = dataclasses.field(default_factory=dict)
  inline = (TurnKind.TOOL_CALL,)

  def __post_init__(self):
    if bool(self.answer_open) != bool(self.answer_close):
      raise ValueError("chat.answer_open and chat.answer_close: set both or none")
    if re.search("[<>]", self.answer_open + self.answer_close):
      raise ValueError(
        f"chat.answer_open={self.answer_open!r} and chat.answer_close={self.answer_close!r}: with chat.style='calls' < "
        "and > delimit calls and can stand in no other tag; use others, such as [ and ]"
      )

  def for_tools(self, tools: Sequence[Any]) -> CallsSyntax:
    """See `Syntax`.

    Raises:
      ValueError: a name, or the type of an argument, cannot be written in this style.
    """
    return dataclasses.replace(self, tools_by_name={tool.name: _parameters(tool) for tool in tools})

  def stops(self) -> tuple[str, ...]:
    return (">", self.answer_close) if self.answer_close else (">",)

  def tools(self, tools: Sequence[Any]) -> list[str]:
    signatures = [
      f"{name}({','.join(map(_shown, known))})" for name, known in self.for_tools(tools).tools_by_name.items()
    ]
    return ["\n", " ".join(signatures)] if signatures else []

  def results(self, texts: Sequence[str]) -> list[str]:
    opening, closing = Markup(self.observation_open), Markup(self.observation_close)
    return [part for text in texts for part in (opening, text, closing)]

  # -- reading -------------------------------------------------------------------------------------------------------

  def parse(self, text: str) -> Action:
    head, closed, _ = text.partition(">")
    _, opened, body = head.partition("<")
    if not (opened or closed):
      return (
        answer_between(text, self.answer_open, self.answer_close) if self.answer_open else answer_or_void(text, text)
      )
    try:
      if not (opened and closed):
        raise ValueError(f"a call is written <tool:argument>; {'>' if opened else '<'} is missing")
      return Action(TurnKind.TOOL_CALL, head, calls=self._calls(body))
    except ValueError as error:
      return Action(TurnKind.MALFORMED, head, problem=str(error))

  def _calls(self, body: str) -> tuple[ToolCall, ...]:
    """The calls of a turn; ValueError says what is wrong with one, in words for the policy."""
    if "<" in body:
      raise ValueError("there is a < inside a call")
    written = body.split(";")
    if len(written) > self.max_calls:
      raise ValueError(f"there are more than {self.max_calls} calls in one turn")
    return tuple(map(self._call, written))

  def _call(self, written: str) -> ToolCall:
    name, has_arguments, rest = written.partition(":")
    if name not in self.tools_by_name:
      raise ValueError(f"no tool is called {name!r}")
    texts = rest.split("|") if has_arguments else []
    return ToolCall(name, (self._named if self.named else self._in_order)(name, texts))

  def _in_order(self, name: str, texts: Sequence[str]) -> dict[str, Any]:
    known = self.tools_by_name[name]
    if len(texts) > len(known):
      raise ValueError(f"{name} takes {len(known)} arguments, not {len(texts)}")
    return {parameter.name: parameter.read(text) for parameter, text in zip(known, texts, strict=False)}

  def _named(self, name: str, texts: Sequence[str]) -> dict[str, Any]:
    """An argument that the tool does not have is text, and the tool refuses it."""
    known = {parameter.name: parameter.read for parameter in self.tools_by_name[name]}
    arguments: dict[str, Any] = {}
    for text in texts:
      key, has_value, value = text.partition("=")
      if not (key and has_value) or key in arguments:
        raise ValueError(f"an argument of {name} is written name=value, and each once")
      arguments[key] = known.get(key, str)(value)
    return arguments

  # -- writing -------------------------------------------------------------------------------------------------------

  def write(self, action: Action) -> tuple[list[str], str]:
    if action.kind is TurnKind.ANSWER:
      return [Markup(self.answer_open), str(action.answer)], self.answer_close
    return [Markup("<"), ";".join(map(self._written, action.calls))], ">"

  def _written(self, call: ToolCall) -> str:
    if call.name not in self.tools_by_name:
      raise ValueError(f"the tools are {[*self.tools_by_name]}; there is none called {call.name!r}")
    if self.named:
      texts = [f"{name}={_text(value)}" for name, value in call.arguments.items()]
    else:
      texts = [_text(value) for value in self._ordered(call)]
    return f"{call.name}:{'|'.join(texts)}" if texts else call.name

  def _ordered(self, call: ToolCall) -> list[Any]:
    """The arguments in the tool's order, up to the last that is given; defaults stand for those left out before it."""
    known = self.tools_by_name[call.name]
    given = [n for n, parameter in enumerate(known) if parameter.name in call.arguments]
    if len(given) < len(call.arguments):
      raise ValueError(f"{call.name} takes {[p.name for p in known]}; cannot write {dict(call.arguments)}")
    return [call.arguments.get(p.name, p.default) for p in known[: max(given, default=-1) + 1]]


def _parameters(tool: Any) -> tuple[Parameter, ...]:
  """The parameters of a tool specification (`name`, `schema`), in the schema's order."""
  properties, required = tool.schema.get("properties", {}), tool.schema.get("required", ())
  for name in (tool.name, *properties):
    if _RESERVED.search(name):
      raise ValueError(
        f"chat.style='calls' cannot write the name {name!r} of or in the tool {tool.name!r}; use 'chatml_json'"
      )
  return tuple(
    Parameter(name, name in required, _reader(described, f"{name} of {tool.name}"), described.get("default"))
    for name, described in properties.items()
  )


def _shown(parameter: Parameter) -> str:
  return parameter.name if parameter.required else f"{parameter.name}?"


def _text(value: Any) -> str:
  """An argument as a call writes it."""
  return value if isinstance(value, str) else json.dumps(value)


def _reader(schema: Mapping[str, Any], what: str) -> Callable[[str], Any]:
  """What makes a JSON value of the text of an argument with this schema."""
  if "enum" in schema:
    return lambda text: next((option for option in schema["enum"] if _text(option) == text), text)
  kinds = schema.get("type", "string")
  inner = [option for option in schema.get("anyOf", ()) if option.get("type") != "null"]
  if len(inner) == 1:
    return _reader(inner[0], what)
  if not isinstance(kinds, str) or kinds not in _READERS or inner:
    raise ValueError(
      f"chat.style='calls' writes texts, numbers, true and false, and no {what} of this schema: "
      f"{json.dumps(schema)}; use chat.style='chatml_json'"
    )
  return _READERS[kinds]


def _json_of(*kinds: type) -> Callable[[str], Any]:
  def read(text: str) -> Any:
    try:
      value = json.loads(text)
    except (ValueError, RecursionError):
      return text
    is_finite = not isinstance(value, float) or math.isfinite(value)
    return value if type(value) in kinds and is_finite else text

  return read


_READERS: Mapping[str, Callable[[str], Any]] = {
  "string": str,
  "integer": _json_of(int),
  "number": _json_of(int, float),
  "boolean": _json_of(bool),
}
