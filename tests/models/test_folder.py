import json

import pytest
import tokenizers
from tokenizers import AddedToken, pre_tokenizers

from agentrl.models import folder
from agentrl.models.tokenizer import Tokenizer, TokenizerError

# Ids 256 to 258, then 259.
SPECIAL, WORD = ("<|endoftext|>", "<|im_start|>", "<|im_end|>"), "<tool_call>"


@pytest.fixture
def model(tmp_path):
  """A folder like Qwen's, without weights: `model(name, key=value)` changes one of its files."""
  inner = tokenizers.Tokenizer.from_str(Tokenizer.byte_level(SPECIAL)._inner.to_str())
  inner.add_tokens([AddedToken(WORD, special=False, normalized=False)])
  inner.save(str(tmp_path / "tokenizer.json"))
  decoder = {str(256 + n): {"content": text, "special": text != WORD} for n, text in enumerate((*SPECIAL, WORD))}
  files = {
    "config.json": {"vocab_size": 264, "eos_token_id": 256},
    "generation_config.json": {"eos_token_id": [258, 256], "bos_token_id": 256},
    "tokenizer_config.json": {"added_tokens_decoder": decoder, "eos_token": "<|im_end|>", "add_prefix_space": False},
    "special_tokens_map.json": {"eos_token": {"content": "<|im_end|>", "lstrip": False}},
    "added_tokens.json": {WORD: 259},
  }

  def write(name, **changes):
    files[name] |= changes
    (tmp_path / name).write_text(json.dumps(files[name]))
    return tmp_path

  for name in files:
    write(name)
  return write


def test_a_folder_whose_files_agree_is_read(model):
  path = model("config.json")
  tokenizer = folder.read_tokenizer(path)
  assert (tokenizer.vocab_size, tokenizer.ends, tokenizer.folder) == (260, {258, 256}, path)
  assert tokenizer.special(WORD) == 259


def test_the_tokenizer_alone_is_enough(model):
  path = model("config.json", eos_token_id=None)
  for name in ("generation_config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"):
    (path / name).unlink()
  assert folder.read_tokenizer(path).ends == set()


@pytest.mark.parametrize(
  ("generation", "config", "own", "ends"),
  [
    ([258, 256], 256, "<|im_end|>", {258, 256}),
    (258, [256, 257], "<|im_end|>", {258}),  # config.json is not asked
    (None, [256, 257], "<|im_end|>", {256, 257, 258}),
    (None, None, "<|endoftext|>", {256}),
    (256, None, None, {256}),
  ],
)
def test_what_ends_a_text_is_read_in_one_order(model, generation, config, own, ends):
  model("generation_config.json", eos_token_id=generation)
  model("tokenizer_config.json", eos_token=own)
  model("special_tokens_map.json", eos_token=own)
  assert folder.read_tokenizer(model("config.json", eos_token_id=config)).ends == ends


@pytest.mark.parametrize(
  ("name", "changes", "problem"),
  [
    (
      "config.json",
      {"vocab_size": 259},
      r"tokenizer\.json has ids up to 259 \('<tool_call>'\), .*config.json says vocab_size=259",
    ),
    (
      "generation_config.json",
      {"eos_token_id": [258, 65]},
      r"generation_config.json says eos_token_id=\[258, 65\], .*tokenizer\.json id 65 is 'A'",
    ),
    ("generation_config.json", {"eos_token_id": 263}, "id 263 is no token"),
    ("generation_config.json", {"eos_token_id": "<|im_end|>"}, "neither an id nor a list of ids"),
    ("generation_config.json", {"eos_token_id": [True]}, "neither an id nor a list of ids"),
    (
      "tokenizer_config.json",
      {"eos_token": "</s>"},
      r"tokenizer_config\.json says eos_token='</s>', .*special_tokens_map\.json says '<\|im_end",
    ),
    (
      "tokenizer_config.json",
      {"eos_token": None, "added_tokens_decoder": {"260": {"content": "<pad>"}}},
      r"tokenizer_config\.json gives the added token '<pad>' the id 260, .*tokenizer\.json does not list it",
    ),
    (
      "tokenizer_config.json",
      {"added_tokens_decoder": {"256": {"content": "<|im_end|>"}}},
      r"'<\|im_end\|>' the id 256, .*tokenizer\.json gives it 258",
    ),
    ("tokenizer_config.json", {"added_tokens_decoder": {"256": {}}}, "is not a token"),
    ("added_tokens.json", {WORD: 260}, r"added_tokens\.json gives the added token '<tool_call>' the id 260"),
    (
      "tokenizer_config.json",
      {"add_prefix_space": True},
      r"tokenizer_config\.json says add_prefix_space=True, .*tokenizer\.json says False",
    ),
  ],
)
def test_files_that_disagree_are_named_with_both_values(model, name, changes, problem):
  with pytest.raises(ValueError, match=problem):
    folder.read_tokenizer(model(name, **changes))


def test_an_end_that_the_tokenizer_lacks_is_named(model):
  path = model("tokenizer_config.json", eos_token="</s>")
  (path / "special_tokens_map.json").unlink()
  with pytest.raises(TokenizerError, match=r"says eos_token='</s>', which .*tokenizer\.json does not list"):
    folder.read_tokenizer(path)


def test_a_space_before_a_text_is_compared_only_where_both_files_say_it(model):
  """In a sequence of pre-tokenizers other libraries do not change it either."""
  path = model("tokenizer_config.json", add_prefix_space=True)
  inner = tokenizers.Tokenizer.from_file(str(path / "tokenizer.json"))
  inner.pre_tokenizer = pre_tokenizers.Sequence(
    [pre_tokenizers.Digits(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
  )
  inner.save(str(path / "tokenizer.json"))
  assert folder.read_tokenizer(path).decode(folder.read_tokenizer(path).encode("a")) == "a"


@pytest.mark.parametrize(
  ("content", "problem"), [("{", "is not valid JSON"), ("[]", "is a JSON list"), ("\xff", "is not valid")]
)
def test_broken_files_are_named(model, content, problem):
  path = model("config.json")
  (path / "generation_config.json").write_bytes(content.encode("latin-1"))
  with pytest.raises(ValueError, match=rf"generation_config\.json {problem}"):
    folder.read_tokenizer(path)


def test_a_folder_without_config_says_what_to_give(tmp_path):
  with pytest.raises(FileNotFoundError, match=r"config\.json; give the folder of a downloaded model"):
    folder.read_tokenizer(tmp_path)
  (tmp_path / "config.json").write_text("{}")
  with pytest.raises(ValueError, match="has no 'vocab_size'"):
    folder.read_tokenizer(tmp_path)


def test_saved_files_are_those_of_the_source(model, tmp_path):
  source, out = model("config.json"), tmp_path / "out"
  (source / "chat_template.jinja").write_text("{{ messages }}")
  out.mkdir()
  folder.save_tokenizer(folder.read_tokenizer(source), out, end=258)
  names = {
    "added_tokens.json",
    "chat_template.jinja",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
  }
  assert {path.name for path in out.iterdir()} == names
  assert all((out / name).read_bytes() == (source / name).read_bytes() for name in names)
  with pytest.raises(FileExistsError, match="already holds"):
    folder.save_tokenizer(folder.read_tokenizer(source), out, end=258)


def test_a_tokenizer_made_here_is_saved_with_its_class_and_end(tmp_path):
  tokenizer = Tokenizer.byte_level(SPECIAL)
  folder.save_tokenizer(tokenizer, tmp_path, end=258)
  assert json.loads((tmp_path / "tokenizer_config.json").read_text())["eos_token"] == "<|im_end|>"
  (tmp_path / "config.json").write_text('{"vocab_size": 259}')
  again = folder.read_tokenizer(tmp_path)
  assert again.encode("a b") == tokenizer.encode("a b") and again.ends == {258}
  assert folder.read_generation(tokenizer) == {} == folder.read_generation(again)
