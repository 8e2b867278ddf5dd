import json
import sys

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors

from agentrl.models.tokenizer import Tokenizer, TokenizerError
from agentrl.models.weights.gguf import smollm2_path

BYTES = Tokenizer.byte_level()
MARKUP = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<tool_call>", "</tool_call>"]
TEXTS = st.lists(st.one_of(st.text(), st.sampled_from(MARKUP))).map("".join)


def with_words(path):
  """A tokenizer like Qwen's: merges, a control token, and added tokens that are ordinary words."""
  Tokenizer.byte_level([]).save(path)
  inner = tokenizers.Tokenizer.from_file(str(path))
  vocabulary = {**inner.get_vocab(), "to": 256, "ol": 257, "tool": 258}
  inner.model = models.BPE(vocabulary, [("t", "o"), ("o", "l"), ("to", "ol")])
  inner.add_special_tokens([AddedToken("<|im_end|>", special=True, normalized=False)])
  inner.add_tokens([AddedToken(text, special=False, normalized=False) for text in ("<tool_call>", "</tool_call>")])
  return Tokenizer(inner)


@pytest.fixture(scope="module")
def words(tmp_path_factory):
  return with_words(tmp_path_factory.mktemp("tokenizer") / "tokenizer.json")


@pytest.fixture(scope="module")
def smollm2():
  try:
    return Tokenizer.from_gguf(smollm2_path())
  except FileNotFoundError as error:
    pytest.skip(str(error))


# ---- bytes ------------------------------------------------------------------------------------------------------


@given(TEXTS)
def test_byte_level_ids_are_the_bytes(text):
  assert BYTES.encode(text) == list(text.encode())
  assert BYTES.decode(BYTES.encode(text)) == text


def test_byte_level_specials_follow_in_order():
  tokenizer = Tokenizer.byte_level(["<b>", "<a>"])
  assert (tokenizer.special("<b>"), tokenizer.special("<a>"), tokenizer.vocab_size) == (256, 257, 258)


# ---- trained ----------------------------------------------------------------------------------------------------

GAME = [f"Is it {kind} {thing}?\nYes.\n" for kind in ("a", "an") for thing in ("crab", "igloo", "mole") * 3]


def test_trained_words_are_one_token():
  tokenizer = Tokenizer.trained(GAME, 400)
  ids = tokenizer.encode("Is it an igloo?\nIs")
  assert [tokenizer.token_bytes(i) for i in ids] == [b"Is", b" it", b" an", b" igloo", b"?", b"\n", b"Is"]


def test_trained_has_at_most_the_vocabulary_and_its_specials():
  for vocabulary in (256, 260, 270):
    assert Tokenizer.trained(GAME, vocabulary).vocab_size == vocabulary + 3
  assert Tokenizer.trained(GAME, 10_000).vocab_size < 320, "pairs that occur once are not merged"
  tokenizer = Tokenizer.trained(GAME, 270, ["<b>", "<a>"])
  assert (tokenizer.special("<b>"), tokenizer.special("<a>")) == (270, 271)


@given(TEXTS)
def test_trained_keeps_bytes_and_never_makes_a_control_token(text):
  tokenizer = Tokenizer.trained(GAME, 300)
  ids = tokenizer.encode(text)
  assert tokenizer.decode(ids) == text
  assert all(tokenizer.token_bytes(i) not in (m.encode() for m in MARKUP) for i in ids)
  assert [tokenizer.token_bytes(i) for i in range(256)] == [bytes([i]) for i in range(256)]


def test_trained_is_a_function_of_the_texts(tmp_path):
  def spelled(tokenizer):
    return [tokenizer.token_bytes(i) for i in range(tokenizer.vocab_size)]

  tokenizer = Tokenizer.trained(GAME, 300)
  assert spelled(Tokenizer.trained(iter(GAME), 300)) == spelled(tokenizer)
  tokenizer.save(tmp_path / "tokenizer.json")
  assert spelled(Tokenizer.from_file(tmp_path)) == spelled(tokenizer)


def test_trained_keeps_digits_alone():
  tokenizer = Tokenizer.trained(["population 1234567 and 1234567"] * 4, 400)
  assert [tokenizer.token_bytes(token) for token in tokenizer.encode(" 1234")] == [b" ", b"1", b"2", b"3", b"4"]


def test_trained_needs_room_for_the_bytes():
  with pytest.raises(TokenizerError, match="no room for the 256 bytes"):
    Tokenizer.trained(GAME, 255)


# ---- spelling ---------------------------------------------------------------------------------------------------


def test_every_token_has_its_exact_bytes():
  assert [BYTES.token_bytes(i) for i in range(256)] == [bytes([i]) for i in range(256)]
  assert BYTES.token_bytes(BYTES.special("<|im_end|>")) == b"<|im_end|>"


def test_broken_utf8_is_replaced_and_specials_are_spelled():
  assert BYTES.decode([0xC3, 0xA9, BYTES.special("<|im_end|>"), 0xC3, 65]) == "é<|im_end|>\ufffdA"


def test_ids_beyond_the_vocabulary_are_visible_and_negative_ones_refused():
  assert BYTES.decode([65, BYTES.vocab_size + 40, 66]) == "A\ufffdB"
  with pytest.raises(TokenizerError, match="-1 is negative"):
    BYTES.token_bytes(-1)


# ---- control tokens ---------------------------------------------------------------------------------------------


@given(TEXTS)
def test_markup_in_text_never_becomes_an_added_token(words, text):
  ids = words.encode(text)
  assert max(ids, default=0) <= 258  # the added tokens come after the vocabulary
  assert words.decode(ids) == text


def test_only_trusted_text_is_split_at_added_tokens(words):
  call, end = words.split("<tool_call>")[1], words.special("<|im_end|>")
  pieces = words.split("a<tool_call>tool<|im_end|>")
  assert [p for p in pieces if p != ""] == ["a", call, "tool", end]
  assert words.join(pieces) == [ord("a"), call, 258, end]


def test_neighbouring_strings_are_encoded_together(words):
  assert words.join(["to", "ol", 3, "to"]) == [258, 3, 256]
  assert words.join([]) == []


def test_a_token_by_name_need_not_be_flagged_special_and_an_unknown_one_names_the_known_ones(words):
  assert words.special("<tool_call>") == words.split("<tool_call>")[1]
  with pytest.raises(
    TokenizerError, match=r"no special or added token '<eot>'; it has \['</tool_call>', '<tool_call>', '"
  ):
    words.special("<eot>")
  many = Tokenizer.byte_level([f"<{n:03}>" for n in range(256)])
  with pytest.raises(TokenizerError, match=r"'<011>'\] and 244 more$"):
    many.special("<eot>")


WHITE = ["<plain>", "<left>", "<right>", "<both>", "<word>", "<words>", "<left>er"]


@given(st.lists(st.sampled_from([*WHITE, " ", "\n", "  ", "a", "tool", "<"])).map("".join))
def test_markup_is_split_as_the_library_splits_it(markup):
  inner = tokenizers.Tokenizer.from_str(Tokenizer.byte_level([])._inner.to_str())
  inner.add_tokens([AddedToken(text, normalized=False) for text in ("<plain>", "<words>", "<left>er")])
  inner.add_tokens([AddedToken("<left>", lstrip=True, normalized=False)])
  inner.add_tokens([AddedToken("<right>", rstrip=True, normalized=False)])
  inner.add_tokens([AddedToken("<both>", lstrip=True, rstrip=True, normalized=False)])
  inner.add_tokens([AddedToken("<word>", single_word=True, normalized=False)])
  tokenizer = Tokenizer(inner)
  assert tokenizer.join(tokenizer.split(markup)) == inner.encode(markup, add_special_tokens=False).ids


def test_a_character_that_the_vocabulary_cannot_spell_is_visible_in_the_text():
  description = json.loads(Tokenizer.byte_level([])._inner.to_str())
  description["model"]["vocab"] = {char: i for char, i in description["model"]["vocab"].items() if i != 4}
  tokenizer = Tokenizer(tokenizers.Tokenizer.from_str(json.dumps(description)))
  assert tokenizer.decode(tokenizer.encode("a\x04\u0104b")) == "a\ufffd\u0104b"


# ---- what a file keeps of earlier use ----------------------------------------------------------------------------

QUESTION = "A shop sells 12 apples and 30 pears. How many fruits is that in all? "
AROUND = processors.TemplateProcessing(
  "<|im_start|> $A <|im_end|>", special_tokens=[("<|im_start|>", 256), ("<|im_end|>", 257)]
)
STATE = {
  "truncation": lambda inner: inner.enable_truncation(8),
  "padding": lambda inner: inner.enable_padding(length=512),
  "dropout": lambda inner: setattr(inner.model, "dropout", 0.9),
  "tokens around a text": lambda inner: setattr(inner, "post_processor", AROUND),
}


@pytest.mark.parametrize("state", STATE)
def test_what_was_saved_of_earlier_use_does_not_touch_a_text(state, tmp_path):
  plain = Tokenizer.trained(GAME + [QUESTION] * 4, 330)
  inner = tokenizers.Tokenizer.from_str(plain._inner.to_str())
  STATE[state](inner)
  inner.save(str(tmp_path / "tokenizer.json"))
  assert tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json")).to_str() != plain._inner.to_str()
  again = Tokenizer.from_file(tmp_path)
  for _ in range(5):
    assert again.encode(QUESTION * 3) == plain.encode(QUESTION * 3)
  assert again.decode(again.encode(QUESTION)) == QUESTION, "no space before punctuation is cleaned up"


@pytest.mark.parametrize("prefix", [True, False])
def test_what_the_model_was_trained_with_stays(prefix):
  inner = tokenizers.Tokenizer.from_str(Tokenizer.byte_level()._inner.to_str())
  inner.normalizer = normalizers.NFC()
  inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
  tokenizer = Tokenizer(inner)
  assert tokenizer.decode(tokenizer.encode("e\u0301t\u00e9")) == " " * prefix + "\u00e9t\u00e9"


def test_lone_surrogates_are_refused():
  with pytest.raises(TokenizerError, match="at character 2"):
    BYTES.encode("ab\ud800")


# ---- files ------------------------------------------------------------------------------------------------------


def test_saved_and_read_again_it_is_the_same(words, tmp_path):
  words.save(tmp_path / "tokenizer.json")
  for path in (tmp_path, tmp_path / "tokenizer.json"):
    again = Tokenizer.from_file(path)
    assert again.vocab_size == words.vocab_size
    assert again.split("<tool_call>") == words.split("<tool_call>")
    assert again.encode("a tool <|im_end|>") == words.encode("a tool <|im_end|>")


def test_missing_and_broken_files_are_named(tmp_path):
  with pytest.raises(TokenizerError, match=r"no tokenizer at .*tokenizer\.json.*beside config\.json"):
    Tokenizer.from_file(tmp_path)
  (tmp_path / "tokenizer.json").write_text('{"model": ')
  with pytest.raises(TokenizerError, match=r"tokenizer\.json is not a readable"):
    Tokenizer.from_file(tmp_path)


def test_other_kinds_of_tokenizer_are_refused():
  inner = tokenizers.Tokenizer(models.BPE({"a": 0}, []))
  inner.decoder = decoders.Metaspace()
  with pytest.raises(TokenizerError, match=r"only byte-level BPE is supported .* its decoder is Metaspace"):
    Tokenizer(inner)


def test_gguf_errors_say_what_to_do(tmp_path, monkeypatch):
  with pytest.raises(TokenizerError, match="no GGUF file"):
    Tokenizer.from_gguf(tmp_path / "model.gguf")
  (tmp_path / "model.gguf").write_bytes(b"GGUF")
  monkeypatch.setitem(sys.modules, "gguf", None)
  with pytest.raises(TokenizerError, match=r"pip install agentrl\[smollm2\]"):
    Tokenizer.from_gguf(tmp_path / "model.gguf")


# ---- SmolLM2 ----------------------------------------------------------------------------------------------------


@pytest.mark.smollm2
def test_smollm2_round_trips(smollm2):
  text = "Hi, 2024 \t\n\n é 漢字 🙂\ndef f(x):\n  return x<|im_end|>"
  ids = smollm2.encode(text)
  assert smollm2.decode(ids) == text
  assert smollm2.special("<|im_end|>") == 2 and 2 not in ids
  assert smollm2.vocab_size == 49152


@pytest.mark.smollm2
def test_smollm2_splits_digits_one_by_one(smollm2):
  assert [smollm2.token_bytes(i) for i in smollm2.encode("in 2024")] == [b"in", b" ", b"2", b"0", b"2", b"4"]


@pytest.mark.smollm2
def test_smollm2_ids_are_those_of_transformers(smollm2):
  # AutoTokenizer.from_pretrained(folder, gguf_file=...).encode(text) of transformers 5.23.0.
  expected = [17517, 42, 1885, 33, 28, 34, 35, 36, 30, 37, 32, 365, 104, 39, 25, 339, 5248]
  assert smollm2.encode("price: $1,234.50 (x7) I'm") == expected
