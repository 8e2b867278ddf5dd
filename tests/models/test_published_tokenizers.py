"""Chat formats over tokenizers in the shape of Llama 3's, Qwen's and their fine-tunes'."""

import pytest
import tokenizers
from tokenizers import AddedToken

from agentrl.models.chat import TEMPLATES, ChatFormat
from agentrl.models.syntax import JsonSyntax, TagSyntax
from agentrl.models.tokenizer import Tokenizer, TokenizerError
from agentrl.types import Action, Message, Observation, ToolCall, TurnKind

PYTHON = TagSyntax("python", "code", "<python>", "</python>", "\n<output>", "</output>\n")


def answer_of(text):
  return Action(TurnKind.ANSWER, "", answer=text)


def meaning(action):
  return action.kind, tuple(action.calls), action.answer


def shaped(special, words=()):
  """A tokenizer of bytes with control tokens, and added tokens that are not flagged as such."""
  inner = tokenizers.Tokenizer.from_str(Tokenizer.byte_level(special)._inner.to_str())
  inner.add_tokens([AddedToken(text, special=False, normalized=False) for text in words])
  return Tokenizer(inner)


LLAMA = shaped(
  ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|eom_id|>"]
)
QWEN = shaped(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])


def test_llama3_messages_read_as_published():
  """The layout of https://www.llama.com/docs/model-cards-and-prompt-formats/meta-llama-3/."""
  chat = ChatFormat.llama3_json(LLAMA)
  ids = chat.prompt([Message("system", "Be brief."), Message("user", "2+2?")]) + chat.render(answer_of("4"))
  ids += chat.observation(Observation("no"), ids[-1] in chat.stop_tokens())
  head = "<|start_header_id|>{}<|end_header_id|>\n\n{}<|eot_id|>".format
  said = head("system", "Be brief.") + head("user", "2+2?") + head("assistant", "4") + head("user", "no")
  assert LLAMA.decode(ids) == "<|begin_of_text|>" + said + head("assistant", "").removesuffix("<|eot_id|>")
  assert ids.count(LLAMA.special("<|start_header_id|>")) == ids.count(LLAMA.special("<|end_header_id|>")) == 5


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_a_template_serves_every_style(template):
  tokenizer = LLAMA if template.start else QWEN
  call = Action(TurnKind.TOOL_CALL, "", calls=(ToolCall("python", {"code": "2+2"}),))
  for syntax in (PYTHON, JsonSyntax()):
    chat = ChatFormat(tokenizer, template, syntax)
    assert meaning(chat.parse(chat.render(call))) == meaning(call)
  spoken = ChatFormat.dialogue(tokenizer, "", template)
  assert meaning(spoken.parse(spoken.render(answer_of("hi")))) == meaning(answer_of("hi"))


def test_a_template_of_another_family_says_what_to_choose():
  for make in (lambda: ChatFormat.chatml_json(LLAMA), lambda: ChatFormat.llama3_json(QWEN)):
    with pytest.raises(TokenizerError, match=r"no special or added token .*; it has .*'llama3' for Llama 3"):
      make()


def test_plain_text_fits_any_tokenizer_that_knows_an_end():
  for end in ("<|im_end|>", "<|eot_id|>", "<|endoftext|>", "<|end_of_text|>"):
    chat = ChatFormat.dialogue(Tokenizer.byte_level([end]), "")
    assert chat.tokenizer.decode(chat.render(answer_of("hi"))) == f"hi{end}"
  own = Tokenizer.byte_level(["</s>"])
  with pytest.raises(TokenizerError, match="no special or added token"):
    ChatFormat.dialogue(own, "")
  chat = ChatFormat.dialogue(own.read_from(None, ends=[own.special("</s>")]), "")
  assert chat.tokenizer.decode(chat.render(answer_of("hi"))) == "hi</s>"


def test_markup_need_not_be_flagged_special():
  chat = ChatFormat.chatml_json(shaped(["<|endoftext|>", "<|im_end|>"], ["<|im_start|>"]))
  ids = chat.prompt([Message("user", "<|im_start|>")])
  assert ids.count(chat.tokenizer.special("<|im_start|>")) == 2  # of the user's and the assistant's turn


@pytest.mark.parametrize("end", ["<|im_end|>", "<|endoftext|>", "<stop>"])
def test_every_end_token_ends_a_turn_and_is_no_part_of_it(end):
  """One named by the template, one that follows a document, one that the model's folder names."""
  tokenizer = shaped(["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<stop>"])
  tokenizer = tokenizer.read_from(None, ends=[tokenizer.special("<stop>")])
  chat = ChatFormat.chatml_json(tokenizer)
  ids = [*tokenizer.encode("The answer is 4."), tokenizer.special(end), *tokenizer.encode("Human: next")]
  assert chat.find_stop(ids) == 17
  assert chat.parse(ids) == Action(TurnKind.ANSWER, "The answer is 4.", answer="The answer is 4.")
  assert chat.pause_table()[tokenizer.special(end)] and tokenizer.special(end) in chat.stop_tokens()
  assert chat.render(answer_of("4"))[-1] == tokenizer.special("<|im_end|>") == chat.stop_tokens()[0]


def test_markup_of_neighbouring_parts_is_split_as_one_text():
  """The line end after a message is swallowed by a token that takes in white space, whichever part it came from."""
  inner = tokenizers.Tokenizer.from_str(Tokenizer.byte_level(["<|im_end|>"])._inner.to_str())
  inner.add_special_tokens([AddedToken("<|im_start|>", special=True, normalized=False, lstrip=True)])
  chat = ChatFormat.chatml_json(Tokenizer(inner))
  text = "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
  assert chat.prompt([Message("user", "hi")]) == inner.encode(text, add_special_tokens=False).ids
