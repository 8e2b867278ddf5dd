"""How to talk to the policy is chosen; what does not fit its tools is named."""

import dataclasses

import pytest

from agentrl import envs
from agentrl.models.syntax import JsonSyntax
from agentrl.models.tokenizer import Tokenizer
from agentrl.training.build.chat import ChatSettings, end_tokens, make_chat


@pytest.fixture
def tasks(tiny_experiment):
  return tiny_experiment().tasks


def test_json_calls_come_in_the_messages_of_either_family(tasks):
  names = ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
  for style, tokenizer in (("chatml_json", Tokenizer.byte_level()), ("llama3_json", Tokenizer.byte_level(names))):
    assert isinstance(make_chat(ChatSettings(style=style), tokenizer, tasks).syntax, JsonSyntax)


@pytest.mark.parametrize(
  "settings",
  [
    {"style": "tags"},
    {"style": "tags", "template": "chatml"},
    {"style": "calls"},
    {"style": "chatml_json"},
    {"style": "dialogue"},
  ],
)
def test_what_ends_a_turn_is_known_without_tools(tasks, settings):
  tokenizer, chosen = Tokenizer.byte_level(), ChatSettings(**settings)
  tools = dataclasses.replace(tasks, tools=[]) if settings["style"] == "dialogue" else tasks
  made = make_chat(chosen, tokenizer, tools)
  assert end_tokens(chosen, tokenizer) == tuple(made.stop_tokens().tolist())


def test_tags_need_a_tool_of_one_text(tasks):
  with pytest.raises(ValueError, match="chatml_json"):
    make_chat(ChatSettings(), Tokenizer.byte_level(), dataclasses.replace(tasks, tools=()))


def test_calls_take_the_tools_that_there_are(tasks):
  settings = ChatSettings(style="calls", observation_open="=", answer_open="[", answer_close="]", max_calls=3)
  made = make_chat(settings, Tokenizer.byte_level(), tasks).syntax
  assert (made.observation_open, made.answer_open, made.max_calls, made.named) == ("=", "[", 3, False)
  odd = dataclasses.replace(tasks.tools[0], schema={"type": "object", "properties": {"x": {"type": "array"}}})
  with pytest.raises(ValueError, match="no x of calculate"):
    make_chat(settings, Tokenizer.byte_level(), dataclasses.replace(tasks, more_tools=[odd]))


def test_a_dialogue_needs_a_family_without_tools(tasks):
  def made(tasks, **settings):
    return make_chat(ChatSettings(**{"style": "dialogue", **settings}), Tokenizer.byte_level(), tasks)

  conversation = envs.make("twenty_questions", "", options={"table": "sixteen"})
  assert made(conversation, stop="|").syntax.stops() == ("|",)
  assert made(conversation, stop="", template="chatml").template.before == "<|im_start|>{role}\n"
  with pytest.raises(ValueError, match=r"chat.style='dialogue' takes no tools, but there are \['calculate'\]"):
    made(tasks)
  with pytest.raises(ValueError, match=r"set chat\.stop to ''"):
    made(conversation, template="chatml")
  with pytest.raises(ValueError, match="'dialogue' where there is no tool"):
    made(conversation, style="tags")
