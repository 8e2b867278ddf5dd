"""From the section `chat` to a chat format: how the policy is talked to."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple

from agentrl import envs
from agentrl.models import chat, syntax
from agentrl.models.calls import CallsSyntax
from agentrl.models.chat import ChatFormat, Template
from agentrl.models.tokenizer import Tokenizer
from agentrl.named import by_name
from agentrl.settings import at_least, setting


@dataclasses.dataclass(frozen=True)
class ChatSettings:
  """The section `chat` of a config: how the policy is talked to."""

  style: str = setting(
    "tags",
    '"tags": <open>code</close> inline; "calls": <tool:argument|argument> inline, any tools; "chatml_json", '
    '"llama3_json": JSON calls in ChatML or in Llama 3\'s messages; "dialogue": utterances, without tools',
  )
  template: str = setting("plain", '"plain", "chatml" or "llama3"; read by "tags", "calls" and "dialogue"')
  stop: str = setting("\n", 'ends an utterance and its reply; empty: the end-of-turn token; read by "dialogue"')
  open: str = setting("<calc>", 'begins a tool call; read by "tags"')
  close: str = setting("</calc>", 'ends a tool call; read by "tags"')
  observation_open: str = setting("=", 'before a tool\'s output; read by "tags" and "calls"')
  observation_close: str = setting("\n", 'behind a tool\'s output; read by "tags" and "calls"')
  answer_open: str = setting("", 'before an answer; empty: the whole last turn; read by "tags" and "calls"')
  answer_close: str = setting("", 'behind an answer; read by "tags" and "calls"')
  max_calls: int = setting(8, 'calls of one turn; more are malformed; read by "calls"', at_least(1))
  named_arguments: bool = setting(False, 'a call names its arguments, <tool:name=value>; read by "calls"')


def make_chat(settings: ChatSettings, tokenizer: Tokenizer, tasks: envs.TaskSource) -> ChatFormat:
  """The chat format that the config names.

  Args:
    settings: see the class.
    tokenizer: of the policy.
    tasks: whose tools the format must be able to call.

  Raises:
    ValueError: an unknown style or template, or one that fits neither the tokenizer nor the tools.
  """
  return by_name(STYLES, settings.style, kind="chat.style").make(settings, tokenizer, tasks)


def end_tokens(settings: ChatSettings, tokenizer: Tokenizer) -> tuple[int, ...]:
  """The tokens that end a turn in the chat format of the settings: `ChatFormat.stop_tokens`, whatever the tools."""
  return by_name(STYLES, settings.style, kind="chat.style").template(settings).end_tokens(tokenizer)


class Style(NamedTuple):
  """A way to write turns and tool calls.

  Attributes:
    template: what surrounds messages, from the settings.
    make: the format, from the settings, the policy's tokenizer and the tasks.
  """

  template: Callable[[ChatSettings], Template]
  make: Callable[[ChatSettings, Tokenizer, envs.TaskSource], ChatFormat]


def _named_template(settings: ChatSettings) -> Template:
  return by_name(chat.TEMPLATES, settings.template, kind="chat.template")


def _dialogue(settings: ChatSettings, tokenizer: Tokenizer, tasks: envs.TaskSource) -> ChatFormat:
  dialogue = ChatFormat.dialogue(tokenizer, settings.stop, _named_template(settings))
  dialogue.syntax.tools([*tasks.tools, *tasks.more_tools])  # a tool is an error here, not in the first prompt
  return dialogue


def _tags(settings: ChatSettings, tokenizer: Tokenizer, tasks: envs.TaskSource) -> ChatFormat:
  template = _named_template(settings)
  if len(tasks.tools) != 1 or tasks.more_tools or tasks.tools[0].text_parameter is None:
    raise ValueError(
      "chat.style='tags' needs exactly one tool with one text parameter, the same for all tasks; use 'calls', "
      "'chatml_json' or 'llama3_json', or 'dialogue' where there is no tool"
    )
  tags = {name: getattr(settings, name) for name in _TAGS}
  return ChatFormat.tags(tokenizer, syntax.tag_syntax(tasks.tools[0], tags), template)


def _calls(settings: ChatSettings, tokenizer: Tokenizer, tasks: envs.TaskSource) -> ChatFormat:
  tags = {name: getattr(settings, name) for name in _AROUND}
  written = CallsSyntax(**tags, max_calls=settings.max_calls, named=settings.named_arguments)
  written.for_tools([*tasks.tools, *tasks.more_tools])  # what it cannot call is an error here, not in the first prompt
  return ChatFormat(tokenizer, _named_template(settings), written)


_AROUND = ("observation_open", "observation_close", "answer_open", "answer_close")
_TAGS = ("open", "close", *_AROUND)
STYLES: Mapping[str, Style] = {
  "tags": Style(_named_template, _tags),
  "calls": Style(_named_template, _calls),
  "chatml_json": Style(lambda _: chat.CHATML, lambda _, tokenizer, __: ChatFormat.chatml_json(tokenizer)),
  "llama3_json": Style(lambda _: chat.LLAMA3, lambda _, tokenizer, __: ChatFormat.llama3_json(tokenizer)),
  "dialogue": Style(_named_template, _dialogue),
}
