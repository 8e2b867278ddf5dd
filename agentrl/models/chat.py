"""Messages -> tokens, observation -> tokens, sampled tokens -> Action.

A `ChatFormat` joins a template (which special tokens surround a message) and a syntax (how a turn writes a tool call
or an answer). Template markup becomes special tokens; message content, tool output included, never does. What the
policy sampled is parsed from the bytes of its tokens and never encoded again.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from agentrl.models.tokenizer import Tokenizer
from agentrl.types import Action, Message, Observation, ToolCall, TurnKind


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

  inline: bool  # tool output goes on in the same assistant message

  def stops(self) -> tuple[str, ...]:
    """Texts that end a turn."""

  def parse(self, text: str) -> Action:
    """Reads a turn, end-of-turn token excluded."""

  def write(self, action: Action) -> str:
    """Writes a turn, end-of-turn token excluded."""

  def tools(self, tools: Sequence[Any]) -> str:
    """What the system message says of the tools."""

  def results(self, texts: Sequence[str]) -> str:
    """Wraps what tools, or the environment, answered."""


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
  inline = True

  def __post_init__(self):
    if not (self.open and self.close):
      raise ValueError("chat.open and chat.close must not be empty: they delimit a tool call")
    if bool(self.answer_open) != bool(self.answer_close):
      raise ValueError("chat.answer_open and chat.answer_close: set both or none")

  def stops(self) -> tuple[str, ...]:
    return (self.close, self.answer_close) if self.answer_close else (self.close,)

  def parse(self, text: str) -> Action:
    head, closed, _ = text.partition(self.close)
    before, opened, code = head.rpartition(self.open)
    del before
    if closed and opened:
      return Action(TurnKind.TOOL_CALL, text, calls=(ToolCall(self.tool, {self.parameter: code}),))
    if closed or opened:
      missing = self.open if closed else self.close
      return Action(TurnKind.MALFORMED, text, problem=f"a call of {self.tool} is written {self.open}...{self.close}; "
                    f"{missing} is missing")  # fmt: skip
    return self._answer(text)

  def _answer(self, text: str) -> Action:
    answer = text
    if self.answer_open:
      _, opened, rest = text.rpartition(self.answer_open)
      answer = rest.partition(self.answer_close)[0] if opened else ""
    answer = answer.strip()
    return Action(TurnKind.ANSWER, text, answer=answer) if answer else Action(TurnKind.VOID, text)

  def write(self, action: Action) -> str:
    if action.kind is TurnKind.TOOL_CALL:
      (call,) = action.calls
      return f"{self.open}{call.arguments[self.parameter]}{self.close}"
    return f"{self.answer_open}{action.answer}{self.answer_close}"

  def tools(self, tools: Sequence[Any]) -> str:
    del tools  # a tag is explained by the system message or by examples
    return ""

  def results(self, texts: Sequence[str]) -> str:
    return "".join(f"{self.observation_open}{text}{self.observation_close}" for text in texts)


@dataclasses.dataclass(frozen=True)
class JsonSyntax:
  """Calls as JSON objects between <tool_call> tags, several a turn, in the manner of Hermes and Qwen."""

  inline = False

  def stops(self) -> tuple[str, ...]:
    return ()

  def parse(self, text: str) -> Action:
    said = re.sub(r"<think>.*?</think>", "", text, flags=re.DOTALL)
    bodies = re.findall(r"<tool_call>(.*?)</tool_call>", said, flags=re.DOTALL)
    if not bodies and "<tool_call>" not in said:
      answer = said.strip()
      return Action(TurnKind.ANSWER, text, answer=answer) if answer else Action(TurnKind.VOID, text)
    try:
      if said.count("<tool_call>") != len(bodies):
        raise ValueError("a <tool_call> without its </tool_call>")
      return Action(TurnKind.TOOL_CALL, text, calls=tuple(_json_call(body) for body in bodies))
    except ValueError as error:
      return Action(TurnKind.MALFORMED, text, problem=str(error))

  def write(self, action: Action) -> str:
    if action.kind is not TurnKind.TOOL_CALL:
      return str(action.answer)
    calls = [{"name": call.name, "arguments": dict(call.arguments)} for call in action.calls]
    return "\n".join(f"<tool_call>\n{json.dumps(call, ensure_ascii=False)}\n</tool_call>" for call in calls)

  def tools(self, tools: Sequence[Any]) -> str:
    if not tools:
      return ""
    functions = [
      {"type": "function", "function": {"name": t.name, "description": t.description, "parameters": t.parameters}}
      for t in tools
    ]
    listed = "\n".join(json.dumps(function, ensure_ascii=False) for function in functions)
    return (
      "\n\n# Tools\n\nThese functions may be called; their signatures stand between <tools></tools>:\n"
      f"<tools>\n{listed}\n</tools>\n\n"
      "To call one, write its name and arguments as JSON between <tool_call></tool_call>:\n"
      '<tool_call>\n{"name": "...", "arguments": {...}}\n</tool_call>'
    )

  def results(self, texts: Sequence[str]) -> str:
    return "\n".join(f"<tool_response>\n{text}\n</tool_response>" for text in texts)


def _json_call(body: str) -> ToolCall:
  """One call; ValueError says what is wrong with it, in words for the policy."""
  try:
    call = json.loads(body)
  except (ValueError, RecursionError) as error:
    raise ValueError(f"the tool call is not valid JSON: {error}") from None
  if not isinstance(call, dict) or not isinstance(call.get("name"), str):
    raise ValueError('a tool call is a JSON object with "name", a string, and "arguments", an object')
  arguments = call.get("arguments", {})
  if not isinstance(arguments, dict):
    raise ValueError(f'"arguments" of {call["name"]} must be a JSON object')
  return ToolCall(call["name"], arguments)


@dataclasses.dataclass(frozen=True)
class ChatFormat:
  """One way to talk to a policy; see the module's docstring."""

  tokenizer: Tokenizer
  template: Template
  syntax: Syntax

  @classmethod
  def chatml_json(cls, tokenizer: Tokenizer) -> ChatFormat:
    """ChatML with JSON tool calls."""
    return cls(tokenizer, CHATML, JsonSyntax())

  @classmethod
  def tags(cls, tokenizer: Tokenizer, syntax: TagSyntax, template: Template = PLAIN) -> ChatFormat:
    """A single tool called by tags."""
    return cls(tokenizer, template, syntax)

  # -- to tokens -----------------------------------------------------------------------------------------------------

  def prompt(self, messages: Sequence[Message], tools: Sequence[Any] = ()) -> list[int]:
    """Ids of the conversation so far, up to where the policy's turn begins.

    Args:
      messages: system first, if any; assistant messages are examples.
      tools: have `name`, `description` and `parameters`, a JSON schema; the syntax says what is told of them.
    """
    about = self.syntax.tools(tools)
    if about and (not messages or messages[0].role != "system"):
      messages = [Message("system", "You are a helpful assistant."), *messages]
    ids: list[int] = []
    open_turn = False  # inside an assistant message that inline tool output goes on with
    for position, message in enumerate(messages):
      part, open_turn = self._message(message, about if position == 0 else "", open_turn)
      ids += part
    return ids if open_turn else ids + self._markup(self.template.before.format(role="assistant"))

  def _message(self, message: Message, about: str, open_turn: bool) -> tuple[list[int], bool]:
    before, after = self.template.before, self.template.after
    if message.role == "tool" and self.syntax.inline:
      return self.tokenizer.encode(self.syntax.results([message.content])), True
    role, content = message.role, message.content + about
    if message.role == "tool":
      role, content = "user", self.syntax.results([message.content])
    elif message.action is not None:
      content = self.syntax.write(message.action)
    goes_on = message.action is not None and message.action.kind is TurnKind.TOOL_CALL and self.syntax.inline
    head = [] if open_turn else self._markup(before.format(role=role))
    return head + self.tokenizer.encode(content) + ([] if goes_on else self._markup(after)), goes_on

  def observation(self, observation: Observation, ended_by_token: bool) -> list[int]:
    """Ids that follow a policy turn, up to where the next one begins.

    Args:
      observation: what the environment answered.
      ended_by_token: the turn ended with the end-of-turn token, which is in the sequence already.
    """
    texts = [result.text for result in observation.results] or [observation.text]
    if self.syntax.inline and not ended_by_token:
      return self.tokenizer.encode(self.syntax.results(texts))
    close = [] if ended_by_token else [self._end_of_turn]
    turn = self._markup(self.template.reply + self.template.before.format(role="user"))
    content = self.tokenizer.encode(self.syntax.results(texts) if observation.results else observation.text)
    return close + turn + content + self._markup(self.template.after + self.template.before.format(role="assistant"))

  def render(self, action: Action) -> list[int]:
    """Ids of an authored turn, its stop included; `parse` gives the action back."""
    if action.kind not in (TurnKind.TOOL_CALL, TurnKind.ANSWER):
      raise ValueError(f"only tool calls and answers can be authored, not {action.kind}")
    text = self.syntax.write(action)
    ids = self.tokenizer.encode(text)
    return ids if text.endswith(self.syntax.stops() or ("\0",)) else [*ids, self._end_of_turn]

  def _markup(self, text: str) -> list[int]:
    """Ids of template text, in which special tokens stand by name."""
    ids: list[int] = []
    for piece in re.split(r"(<\|[a-z_]+\|>)", text):
      ids += [self.tokenizer.special(piece)] if re.fullmatch(r"<\|[a-z_]+\|>", piece) else self.tokenizer.encode(piece)
    return ids

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
    table = np.zeros(vocab_size or self.tokenizer.vocab_size, bool)
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
    """The action that a turn's sampled tokens, stop included, spell."""
    ended = len(ids) > 0 and ids[-1] == self._end_of_turn
    return self.syntax.parse(self.tokenizer.decode(ids[:-1] if ended else ids))

  @functools.cached_property
  def _stop_bytes(self) -> tuple[bytes, ...]:
    return tuple(stop.encode() for stop in self.syntax.stops())


def tag_syntax(tool: Any, settings: Mapping[str, str]) -> TagSyntax:
  """The `TagSyntax` for a tool specification (`name`, `text_parameter`) and the tags in a config."""
  return TagSyntax(tool.name, tool.text_parameter, **settings)
