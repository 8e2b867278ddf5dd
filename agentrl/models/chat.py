"""Messages -> tokens, observation -> tokens, sampled tokens -> Action.

A `ChatFormat` joins a template (which special tokens surround a message) and a syntax (how a turn writes a tool call
or an answer). Template markup becomes special tokens; message content, tool output included, never does. What the
policy sampled is parsed from the bytes of its tokens and never encoded again.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from agentrl.models.syntax import DialogueSyntax, JsonSyntax, Markup, Syntax, TagSyntax
from agentrl.models.tokenizer import Piece, Tokenizer, TokenizerError
from agentrl.types import Action, Message, Observation, TurnKind


@dataclasses.dataclass(frozen=True)
class Template:
  """Markup around messages; special tokens are written by name, `{role}` is replaced.

  Attributes:
    before: markup before a system, user or example message.
    after: markup behind it.
    ends: tokens that end a turn, as far as the tokenizer has them, beside those that it counts among its own `ends`.
      The first that it has is the one that we write.
    reply: markup between an end-of-turn token and the message that follows it.
    start: before the first message.
    system: what the system message says that tells of tools, where nobody wrote one.
  """

  before: str
  after: str
  ends: tuple[str, ...]
  reply: str
  start: str = ""
  system: str = ""

  def end_tokens(self, tokenizer: Tokenizer) -> tuple[int, ...]:
    """Ids of the tokens that end a turn outright; the first is the one that we write."""
    named = [tokenizer.special(name) for name in self.ends if tokenizer.has(name)]
    return tuple(dict.fromkeys([*named, *sorted(tokenizer.ends)]))


_HELPFUL = "You are a helpful assistant."
CHATML = Template(
  "<|im_start|>{role}\n", "<|im_end|>\n", ends=("<|im_end|>", "<|endoftext|>"), reply="\n", system=_HELPFUL
)
LLAMA3 = Template(
  "<|start_header_id|>{role}<|end_header_id|>\n\n",
  "<|eot_id|>",
  ends=("<|eot_id|>", "<|eom_id|>", "<|end_of_text|>"),
  reply="",
  start="<|begin_of_text|>",
  system=_HELPFUL,
)
PLAIN = Template("", "\n", ends=("<|im_end|>", "<|eot_id|>", "<|endoftext|>", "<|end_of_text|>"), reply="\n")
TEMPLATES = {"chatml": CHATML, "llama3": LLAMA3, "plain": PLAIN}


@dataclasses.dataclass(frozen=True)
class ChatFormat:
  """One way to talk to a policy; see the module's docstring."""

  tokenizer: Tokenizer
  template: Template
  syntax: Syntax

  def __post_init__(self):
    markup = self.template.start + self.template.before + self.template.after + self.template.reply
    needed = re.findall(r"<\|\w+\|>", markup) if self._ends else self.template.ends[:1]
    try:
      for name in needed:
        self.tokenizer.special(name)
    except TokenizerError as error:
      raise TokenizerError(
        f"{error}. The chat template writes it: choose chat.style and chat.template by the model's family ('chatml' "
        "for Qwen, 'llama3' for Llama 3; 'plain' needs nothing but a token that ends a text)"
      ) from error

  @classmethod
  def chatml_json(cls, tokenizer: Tokenizer) -> ChatFormat:
    """ChatML with JSON tool calls."""
    return cls(tokenizer, CHATML, JsonSyntax())

  @classmethod
  def llama3_json(cls, tokenizer: Tokenizer) -> ChatFormat:
    """Llama 3's messages with JSON tool calls, which the system message explains: not Llama 3.1's own way to call."""
    return cls(tokenizer, LLAMA3, JsonSyntax())

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
        f"chat.stop={stop!r} is for the template 'plain'; one that marks roles ends turns with {template.ends[0]}: "
        "set chat.stop to ''"
      )
    return cls(tokenizer, template, DialogueSyntax(stop))

  def for_tools(self, tools: Sequence[Any]) -> ChatFormat:
    """The format of an episode in which these tools may be called.

    Args:
      tools: have `name` and `schema`, a JSON schema.

    Raises:
      ValueError: the syntax cannot write a call of one of them.
    """
    syntax = self.syntax.for_tools(tools)
    return self if syntax is self.syntax else dataclasses.replace(self, syntax=syntax)

  # -- to tokens -----------------------------------------------------------------------------------------------------

  def prompt(self, messages: Sequence[Message], tools: Sequence[Any] = ()) -> list[int]:
    """Ids of the conversation so far, up to where the policy's turn begins.

    Args:
      messages: system first, if any; assistant messages are examples.
      tools: have `name`, `description` and `schema`, a JSON schema; the syntax says what is told of them.

    Raises:
      ValueError: a message has an unknown role.
    """
    return self.for_tools(tools)._prompt(messages, self.syntax.tools(tools))

  def _prompt(self, messages: Sequence[Message], about: list[str]) -> list[int]:
    if about and (not messages or messages[0].role != "system"):
      messages = [Message("system", self.template.system), *messages]
    parts: list[str] = [Markup(self.template.start)]
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
      ended_by_token: the turn ended with one of `stop_tokens`, which is in the sequence already.
    """
    texts = [result.text for result in observation.results] or [observation.text]
    if self.syntax.inline and not ended_by_token:
      return self._ids(self.syntax.results(texts))
    close = [] if ended_by_token else [self._ends[0]]
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
    ids = self._ids([*parts, Markup(stop)]) + ([] if stop else [self._ends[0]])
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
    pieces: list[Piece] = []
    for is_markup, run in itertools.groupby(parts, lambda part: isinstance(part, Markup)):
      texts = list(run)
      pieces += self.tokenizer.split("".join(texts)) if is_markup else texts
    return self.tokenizer.join(pieces)

  @functools.cached_property
  def _ends(self) -> tuple[int, ...]:
    return self.template.end_tokens(self.tokenizer)

  # -- from tokens ---------------------------------------------------------------------------------------------------

  def stop_tokens(self) -> np.ndarray:
    """int32 ids that end a turn outright; the first is the one that authored turns end with."""
    return np.asarray(self._ends, np.int32)

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
    table[list(self._ends)] = True
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
      if ids[position] in self._ends:
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
    if stop is not None and ids[-1] in self._ends:
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
