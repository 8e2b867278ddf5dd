"""Where a step ends, and whether it ever can."""

import pytest
import tokenizers

from agentrl.models.chat import ChatFormat
from agentrl.models.tokenizer import Tokenizer
from agentrl.rollout.search.steps import StepEnd, can_spell

BYTES = Tokenizer.byte_level()
CHAT = ChatFormat.dialogue(BYTES, "")
END = BYTES.special("<|im_end|>")


def test_a_step_ends_at_its_text_or_with_the_turn():
  end = StepEnd(CHAT, "\n\n")
  turn = BYTES.encode("ab\ncd\n\nef")
  assert end.find(turn, 0) == 7 and not end.ends_turn(turn[:7], 0)
  assert end.find(turn, 7) is None
  assert end.find([*turn, END, *turn], 7) == 10 and end.ends_turn([*turn, END], 7)
  # The text must stand in the step: half of it before the step does not count.
  assert end.find(BYTES.encode("a\n\nb"), 2) is None


def test_without_a_text_a_step_is_a_turn():
  end = StepEnd(CHAT)
  assert end.find(BYTES.encode("a\nb\n"), 0) is None
  assert end.find([*BYTES.encode("a\nb\n"), END], 0) == 5


def test_the_host_looks_wherever_a_step_may_end():
  table = StepEnd(CHAT, "xy").pause_table(BYTES.vocab_size + 3)
  # A token may complete the text where it begins with one of its suffixes, "xy" and "y"; a lone x cannot.
  assert {i for i, pauses in enumerate(table) if pauses} == {ord("y"), *CHAT.stop_tokens()}


def small_vocabulary(*tokens):
  """A tokenizer whose only texts are these, and the end of turn."""
  inner = tokenizers.Tokenizer(tokenizers.models.BPE({token: i for i, token in enumerate(tokens)}, []))
  inner.pre_tokenizer, inner.decoder = tokenizers.pre_tokenizers.ByteLevel(), tokenizers.decoders.ByteLevel()
  inner.add_special_tokens(["<|im_end|>"])
  return Tokenizer(inner)


@pytest.mark.parametrize(
  ("vocabulary", "text", "spelled"),
  [
    (("a", "b"), "ab", True),
    (("a", "b"), "abba", True),
    (("a",), "ab", False),
    (("xab", "by"), "ab", True),  # inside one token
    (("xa", "by"), "ab", True),  # across two
    (("xa", "bb", "cy"), "abbc", True),  # a whole token between
    (("xa", "bb", "cy"), "abc", False),  # bb is one token: a single b cannot be written
    (("ax", "by"), "ab", False),  # nothing ends in a
  ],
)
def test_can_spell(vocabulary, text, spelled):
  assert can_spell(small_vocabulary(*vocabulary), text.encode()) is spelled


def test_a_step_end_that_cannot_be_written_is_refused():
  chat = ChatFormat.dialogue(small_vocabulary("a", "b"), "")
  with pytest.raises(ValueError, match=r"search.step_end='\\n'.*no sequence"):
    StepEnd(chat, "\n")
