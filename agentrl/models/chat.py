"""Messages -> tokens, observation -> tokens, sampled tokens -> Action.

A `ChatFormat` joins a template (which special tokens surround a message) and a syntax (how a turn writes a tool call
or an answer). Template markup becomes special tokens; message content, tool output included, never does. What the
policy sampled is parsed from the bytes of its tokens and never encoded again.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from agentrl.models.tokenizer import Tokenizer
from agentrl.types import Action, Message, Observation, ToolCall, TurnKind


class Markup(str):
  """Words of the format itself, in which the tokenizer's special and added tokens stand; any other text is plain."""

  __slots__ = ()


@dataclasses.dataclass(frozen=True)
class Template:
  """Markup around messages; special tokens are written by name, `{role}` is replaced.

  Attributes:
    before, after: around a system, user or example message.
    end_of_turn: the special token with which the policy ends its turn.
    reply: markup between an end-of-turn token and the message that follows it.
  """

  before: str
  after: str
  end_of_turn: str
  reply: str


CHATML = Template(before="<|im_start|>{role}\n", after="<|im_end|>\n", end_of_turn="<|im_end|>", reply="\n")
PLAIN = Template(before="", after="\n", end_of_turn="<|im_end|>", reply="\n")
TEMPLATES = {"chatml": CHATML, "plain": PLAIN}


class Syntax(Protocol):
  """How a turn is written."""

  @property
  def inline(self) -> tuple[TurnKind, ...]:
    """Kinds of turn whose answer, a tool's output or a reply, goes on in the same assistant message."""

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
    tool: its name. parameter: the argument that takes the text between the tags.
    open, close: the tags of a call; the closing tag ends the turn.
    observation_open, observation_close: around the output.
    answer_open, answer_close: around the answer, whose closing tag ends the turn; empty: a turn without a call is
      the answer, whole.
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

  def stops(self) -> tuple[str, ...]:
    return (self.close, self.answer_close) if self.answer_close else (self.close,)

  def parse(self, text: str) -> Action:
    head, closed, _ = text.partition(self.close)
    _, opened, code = head.rpartition(self.open)
    if closed and opened:
      return Action(TurnKind.TOOL_CALL, head, calls=(ToolCall(self.tool, {self.parameter: code}),))
    if closed or opened:
      return _malformed(head, f"a call of {self.tool}", self.open, self.close, missing_close=bool(opened))
    return self._answer(text) if self.answer_open else _answer_or_void(text, text)

  def _answer(self, text: str) -> Action:
    head, closed, _ = text.partition(self.answer_close)
    _, opened, answer = head.rpartition(self.answer_open)
    if bool(closed) != bool(opened):
      return _malformed(head, "an answer", self.answer_open, self.answer_close, missing_close=bool(opened))
    return _answer_or_void(head, answer) if closed else Action(TurnKind.VOID, text)

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


def _answer_or_void(text: str, answer: str) -> Action:
  answer = answer.strip()
  return Action(TurnKind.ANSWER, text, answer=answer) if answer else Action(TurnKind.VOID, text)


def _malformed(text: str, what: str, opening: str, closing: str, *, missing_close: bool) -> Action:
  problem = f"{what} is written {opening}...{closing}; {closing if missing_close else opening} is missing"
  return Action(TurnKind.MALFORMED, text, problem=problem)


@dataclasses.dataclass(frozen=True)
class JsonSyntax:
  """Calls as JSON objects between <tool_call> tags, several a turn, in the manner of Hermes and Qwen."""

  inline = ()

  def stops(self) -> tuple[str, ...]:
    return ()

  def parse(self, text: str) -> Action:
    said = _after_thinking(text)
    try:
      calls = _json_calls(said)
    except ValueError as error:
      return Action(TurnKind.MALFORMED, text, problem=str(error))
    return Action(TurnKind.TOOL_CALL, text, calls=calls) if calls else _answer_or_void(text, said)

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


_DECODER = json.JSONDecoder(parse_constant=_finite, parse_float=_finite)


def _json_calls(text: str) -> tuple[ToolCall, ...]:
  """The calls in a turn; ValueError says what is wrong with one, in words for the policy."""
  calls = []
  while True:
    outside, opened, text = text.partition(_CALL_OPEN)
    if _CALL_CLOSE in outside:
      raise ValueError(f"there is a {_CALL_CLOSE} without its {_CALL_OPEN}")
    if not opened:
      return tuple(calls)
    call, text = _json_call(text.lstrip())
    calls.append(call)


def _json_call(text: str) -> tuple[ToolCall, str]:
  """One call, and the text after its closing tag. The tag may well stand inside a JSON string."""
  try:
    call, end = _DECODER.raw_decode(text)
    _to_json(call).encode()  # an escaped lone surrogate is JSON, but no text
  except (ValueError, RecursionError) as error:
    raise ValueError(f"the tool call is not valid JSON: {error}") from None
  if not isinstance(call, dict) or not isinstance(call.get("name"), str) or set(call) - {"name", "arguments"}:
    raise ValueError('a tool call is a JSON object with "name", a string, and "arguments", an object, and no more')
  arguments = call.get("arguments", {})
  if not isinstance(arguments, dict):
    raise ValueError(f'"arguments" of {call["name"]} must be a JSON object')
  rest = text[end:].lstrip()
  if not rest.startswith(_CALL_CLOSE):
    raise ValueError(f"{_CALL_CLOSE} is missing after the JSON object of the call")
  return ToolCall(call["name"], arguments), rest.removeprefix(_CALL_CLOSE)


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

  def stops(self) -> tuple[str, ...]:
    return (self.stop,) if self.stop else ()

  def parse(self, text: str) -> Action:
    said = text.partition(self.stop)[0] if self.stop else text
    return _answer_or_void(said, said)

  def write(self, action: Action) -> tuple[list[str], str]:
    if action.kind is not TurnKind.ANSWER:
      raise ValueError(f"a dialogue has no tools, so it cannot write {list(action.calls)}")
    return [str(action.answer)], self.stop

  def tools(self, tools: Sequence[Any]) -> list[str]:
    if tools:
      names = [tool.name for tool in tools]
      raise ValueError(f"chat.style='dialogue' takes no tools, but there are {names}; use 'tags' or 'chatml_json'")
    return []

  def results(self, texts: Sequence[str]) -> list[str]:
    return [part for text in texts for part in (text, Markup(self.stop))]


@dataclasses.dataclass(frozen=True)
class ChatFormat:
  """One way to talk to a policy; see the module's docstring."""

  tokenizer: Tokenizer
  template: Template
  syntax: Syntax

  def __post_init__(self):
    for text in (self.template.before, self.template.after, self.template.reply, self.template.end_of_turn):
      for name in re.findall(r"<\|\w+\|>", text):
        self.tokenizer.special(name)

  @classmethod
  def chatml_json(cls, tokenizer: Tokenizer) -> ChatFormat:
    """ChatML with JSON tool calls."""
    return cls(tokenizer, CHATML, JsonSyntax())

  @classmethod
  def tags(cls, tokenizer: Tokenizer, syntax: TagSyntax, template: Template = PLAIN) -> ChatFormat:
    """A single tool called by tags."""
    return cls(tokenizer, template, syntax)

  @classmethod
  def dialogue(cls, tokenizer: Tokenizer, stop: str, template: Template = PLAIN) -> ChatFormat:
    """Utterances and replies, without tools.

    Args:
      tokenizer: of the policy.
      stop: ends a turn, see `DialogueSyntax`.
      template: around messages; with one that marks roles `stop` must be empty.
    """
    if stop and template.before:
      raise ValueError(
        f"chat.stop={stop!r} is for the template 'plain'; one that marks roles ends turns with {template.end_of_turn}: "
        "set chat.stop to ''"
      )
    return cls(tokenizer, template, DialogueSyntax(stop))

  # -- to tokens -----------------------------------------------------------------------------------------------------

  def prompt(self, messages: Sequence[Message], tools: Sequence[Any] = ()) -> list[int]:
    """Ids of the conversation so far, up to where the policy's turn begins.

    Args:
      messages: system first, if any; assistant messages are examples.
      tools: have `name`, `description` and `schema`, a JSON schema; the syntax says what is told of them.

    Raises:
      ValueError: a message has an unknown role.
    """
    about = self.syntax.tools(tools)
    if about and (not messages or messages[0].role != "system"):
      messages = [Message("system", "You are a helpful assistant."), *messages]
    parts: list[str] = []
    open_turn = False  # inside an assistant message that inline tool output goes on with
    for position, message in enumerate(messages):
      written, open_turn = self._message(message, about if position == 0 else [], open_turn)
      parts += written
    return self._ids(parts if open_turn else [*parts, self._before("assistant")])

  def _message(self, message: Message, about: list[str], open_turn: bool) -> tuple[list[str], bool]:
    """Parts of one message, and whether the assistant's turn that it belongs to goes on."""
    if message.role not in ("system", "user", "assistant", "tool"):
      raise ValueError(f"a message has the role {message.role!r}; roles are system, user, assistant and tool")
    if message.role == "tool" and self.syntax.inline:
      return self.syntax.results([message.content]), True
    role, content, goes_on = message.role, [message.content, *about], False
    if message.role == "tool":
      role, content = "user", self.syntax.results([message.content])
    elif message.action is not None:
      written, stop = self._write(message.action)
      content = [*written, Markup(stop)]
      goes_on = message.action.kind in self.syntax.inline
    head = [] if open_turn else [self._before(role)]
    return [*head, *content] + ([] if goes_on else [Markup(self.template.after)]), goes_on

  def observation(self, observation: Observation, ended_by_token: bool) -> list[int]:
    """Ids that follow a policy turn, up to where the next one begins.

    Args:
      observation: what the environment answered.
      ended_by_token: the turn ended with the end-of-turn token, which is in the sequence already.
    """
    texts = [result.text for result in observation.results] or [observation.text]
    if self.syntax.inline and not ended_by_token:
      return self._ids(self.syntax.results(texts))
    close = [] if ended_by_token else [self._end_of_turn]
    content = self.syntax.results(texts) if observation.results else [observation.text]
    before = [Markup(self.template.reply), self._before("user")]
    return close + self._ids([*before, *content, Markup(self.template.after), self._before("assistant")])

  def render(self, action: Action) -> list[int]:
    """Ids of an authored turn, its stop included; `parse` gives the action back.

    Args:
      action: a tool call or an answer. Its text is written where there is any; otherwise its calls or its answer.

    Raises:
      ValueError: the format cannot write it: what is written would be read as something else.
    """
    parts, stop = self._write(action)
    ids = self._ids([*parts, Markup(stop)]) + ([] if stop else [self._end_of_turn])
    found = self.parse(ids)
    if self.find_stop(ids) != len(ids) or _meaning(found) != _meaning(action):
      raise ValueError(f"this chat format cannot write {action}: it would be read as {found}")
    return ids

  def _write(self, action: Action) -> tuple[list[str], str]:
    if action.kind not in (TurnKind.TOOL_CALL, TurnKind.ANSWER):
      raise ValueError(f"only tool calls and answers can be authored, not {action.kind}")
    parts, stop = self.syntax.write(action)
    return ([action.text] if action.text else parts), stop

  def _before(self, role: str) -> Markup:
    return Markup(self.template.before.format(role=role))

  def _ids(self, parts: Sequence[str]) -> list[int]:
    """Ids of text in parts; special and added tokens come out of `Markup` alone."""
    split = (self.tokenizer.split(part) if isinstance(part, Markup) else [part] for part in parts)
    return self.tokenizer.join(piece for pieces in split for piece in pieces)

  @functools.cached_property
  def _end_of_turn(self) -> int:
    return self.tokenizer.special(self.template.end_of_turn)

  # -- from tokens ---------------------------------------------------------------------------------------------------

  def stop_tokens(self) -> np.ndarray:
    """int32 ids that end a turn outright."""
    return np.asarray([self._end_of_turn], np.int32)

  def pause_table(self, vocab_size: int | None = None) -> np.ndarray:
    """bool [V]: tokens after which the host must look, because they end a turn or may complete a stop text.

    Args:
      vocab_size: of the model, where it is padded beyond the tokenizer's.
    """
    size = self.tokenizer.vocab_size if vocab_size is None else vocab_size
    if size < self.tokenizer.vocab_size:
      raise ValueError(
        f"the model has {size} token ids and the tokenizer {self.tokenizer.vocab_size}: they do not belong together"
      )
    table = np.zeros(size, bool)
    table[self._end_of_turn] = True
    for stop in self._stop_bytes:
      suffixes = tuple(stop[start:] for start in range(len(stop)))
      for index in range(self.tokenizer.vocab_size):
        token = self.tokenizer.token_bytes(index)
        table[index] |= token.startswith(suffixes) or stop in token
    return table

  def find_stop(self, ids: Sequence[int], start: int = 0) -> int | None:
    """Number of tokens up to and including the first that completes a stop, looking from token `start` on.

    Args:
      ids: the turn's tokens so far; those before `start` are known not to complete a stop.
    """
    longest = max(map(len, self._stop_bytes), default=1)
    tail = b"".join(self.tokenizer.token_bytes(i) for i in ids[max(0, start - longest) : start])
    for position in range(start, len(ids)):
      if ids[position] == self._end_of_turn:
        return position + 1
      seen = tail[max(0, len(tail) - longest + 1) :] + self.tokenizer.token_bytes(ids[position])
      if any(stop in seen for stop in self._stop_bytes):
        return position + 1
      tail = seen
    return None

  def parse(self, ids: Sequence[int]) -> Action:
    """The action that a turn's sampled tokens, stop included, spell; a turn that was cut off is void or malformed."""
    stop = self.find_stop(ids)
    ids = ids[:stop]
    if stop is not None and ids[-1] == self._end_of_turn:
      return self.syntax.parse(self.tokenizer.decode(ids[:-1]))
    written = b"".join(self.tokenizer.token_bytes(int(i)) for i in ids)
    ends = [written.find(text) + len(text) for text in self._stop_bytes if text in written]
    action = self.syntax.parse(written[: min(ends, default=None)].decode(errors="replace"))
    if stop is None and action.kind is not TurnKind.MALFORMED:
      return Action(TurnKind.VOID, action.text)
    return action

  @functools.cached_property
  def _stop_bytes(self) -> tuple[bytes, ...]:
    return tuple(stop.encode() for stop in self.syntax.stops())


def _meaning(action: Action) -> tuple:
  return action.kind, tuple(action.calls), action.answer


def tag_syntax(tool: Any, settings: Mapping[str, str]) -> TagSyntax:
  """The `TagSyntax` for a tool specification (`name`, `text_parameter`) and the tags in a config."""
  return TagSyntax(tool.name, tool.text_parameter, **settings)
