import copy
import json

import pytest

from agentrl.models.byte_level import (
  BYTE_TO_CHAR,
  bytes_of_tokens,
  for_plain_text,
  missing_bytes,
  what_is_not_byte_level,
)
from agentrl.models.tokenizer import Tokenizer, TokenizerError

PLAIN = json.loads(Tokenizer.byte_level()._inner.to_str())


def test_the_alphabet_is_that_of_gpt2():
  # A space is U+0120 and a line end U+010A there; letters stand for themselves.
  assert (BYTE_TO_CHAR[ord(" ")], BYTE_TO_CHAR[ord("\n")], BYTE_TO_CHAR[ord("a")]) == ("\u0120", "\u010a", "a")
  assert len(set(BYTE_TO_CHAR)) == 256


def test_tokens_are_spelled_in_bytes_and_added_ones_in_their_own_text():
  assert bytes_of_tokens({"\u0120a": 0, "\u0120b": 2}, added=[2]) == [b" a", "\ufffd".encode(), "\u0120b".encode()]


@pytest.mark.parametrize(
  ("part", "value", "problem"),
  [
    ("model", {"type": "WordPiece"}, "its model is WordPiece"),
    ("decoder", {"type": "Metaspace"}, "its decoder is Metaspace"),
    ("decoder", None, "its decoder is missing"),
    ("decoder", {"type": "Sequence", "decoders": [{"type": "ByteLevel"}, {"type": "Strip"}]}, "ByteLevel and Strip"),
    ("pre_tokenizer", {"type": "Whitespace"}, "neither its normalizer nor its pre-tokenizer is ByteLevel"),
    ("model", {**PLAIN["model"], "end_of_word_suffix": "</w>"}, "end_of_word_suffix '</w>'"),
  ],
)
def test_what_hides_the_bytes_is_named(part, value, problem):
  assert problem in what_is_not_byte_level({**PLAIN, part: value})


def test_byte_level_parts_may_stand_in_a_sequence():
  assert what_is_not_byte_level(PLAIN) == ""
  members = {"type": "Sequence", "pretokenizers": [{"type": "Digits"}, {"type": "ByteLevel"}]}
  fused = {"type": "Sequence", "decoders": [{"type": "ByteLevel"}, {"type": "Fuse"}]}
  assert what_is_not_byte_level({**PLAIN, "pre_tokenizer": members, "decoder": fused}) == ""
  assert what_is_not_byte_level({**PLAIN, "pre_tokenizer": None, "normalizer": {"type": "ByteLevel"}}) == ""


def test_a_broken_pair_of_pre_tokenizer_and_decoder_is_refused_when_read(tmp_path):
  """Its decoder spells bytes, but what it encodes is not spelled in bytes: accents would be lost."""
  (tmp_path / "tokenizer.json").write_text(json.dumps({**PLAIN, "pre_tokenizer": {"type": "Whitespace"}}))
  with pytest.raises(
    TokenizerError, match=r"tokenizer\.json: only byte-level .* pre-tokenizer is ByteLevel, but its decoder is"
  ):
    Tokenizer.from_file(tmp_path)


def test_the_plain_description_is_a_copy_without_what_is_off():
  before = copy.deepcopy(PLAIN)
  plain = for_plain_text({**PLAIN, "truncation": {"max_length": 4}, "padding": {}, "post_processor": {}})
  assert [plain[key] for key in ("added_tokens", "truncation", "padding", "post_processor")] == [[], None, None, None]
  assert plain["model"]["vocab"] == PLAIN["model"]["vocab"] and before == PLAIN


def test_bytes_that_no_token_spells_are_known():
  assert missing_bytes(PLAIN) == frozenset()
  vocabulary = {char: i for i, char in enumerate(BYTE_TO_CHAR) if i not in (4, 0xF1)}
  without = {**PLAIN["model"], "vocab": vocabulary}
  assert missing_bytes({**PLAIN, "model": without}) == {4, 0xF1}
  assert missing_bytes({**PLAIN, "model": {**without, "unk_token": "a"}}) == frozenset()
