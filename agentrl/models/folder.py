"""The files beside the weights in the folder of a published model.

Several of them say the same thing. Each thing is read from one file, and where another one contradicts it, that is an
error which names both:

  which token has which id   tokenizer.json; tokenizer_config.json and added_tokens.json list its added tokens again
  how many ids there are     config.json; the tokenizer may have fewer of them, not more
  what ends a text           generation_config.json, or config.json where that one says nothing; and besides the
                             end-of-text token of tokenizer_config.json, which special_tokens_map.json says again
  a space before a text      tokenizer.json, and again tokenizer_config.json
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from agentrl.models.tokenizer import Tokenizer, TokenizerError

CONFIG_FILE = "config.json"
GENERATION_FILE = "generation_config.json"
TOKENIZER_FILE = "tokenizer.json"
TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
SPECIAL_TOKENS_FILE = "special_tokens_map.json"
ADDED_TOKENS_FILE = "added_tokens.json"

# All that other libraries may read to make their tokenizer of the folder.
TOKENIZER_FILES = (
  TOKENIZER_FILE, TOKENIZER_CONFIG_FILE, SPECIAL_TOKENS_FILE, ADDED_TOKENS_FILE, "vocab.json", "merges.txt",
  "tokenizer.model", "chat_template.jinja", "chat_template.json",
)  # fmt: skip


def read_json(path: Path) -> dict[str, Any]:
  """The object in a JSON file of a model's folder.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: it is no JSON, or no object.
  """
  if not path.is_file():
    raise FileNotFoundError(
      f"no {path}; give the folder of a downloaded model, with {CONFIG_FILE} and its safetensors in it"
    )
  try:
    content = json.loads(path.read_text(encoding="utf-8"))
  except ValueError as error:
    raise ValueError(f"{path} is not valid JSON ({error}); download it again") from error
  if not isinstance(content, dict):
    raise ValueError(f"{path} is a JSON {type(content).__name__}, not an object; download it again")
  return content


def read_tokenizer(folder: str | Path) -> Tokenizer:
  """The tokenizer of a model's folder, after all that its files say of it was compared.

  Raises:
    FileNotFoundError: config.json is missing.
    ValueError: tokenizer.json is missing, a file cannot be read, or two contradict each other.
  """
  folder = Path(folder)
  rows = required(folder / CONFIG_FILE, read_json(folder / CONFIG_FILE), "vocab_size")
  tokenizer = Tokenizer.from_file(folder)
  if tokenizer.vocab_size > rows:
    raise TokenizerError(
      f"{folder / TOKENIZER_FILE} has ids up to {tokenizer.vocab_size - 1} "
      f"({tokenizer.decode([tokenizer.vocab_size - 1])!r}), but {folder / CONFIG_FILE} says vocab_size={rows}: the "
      "model has no embedding for the highest; take both files from the same model"
    )
  _compare_added_tokens(folder, tokenizer)
  _compare_prefix_space(folder)
  return tokenizer.read_from(folder, ends=_ends(folder, tokenizer))


def read_generation(tokenizer: Tokenizer) -> dict[str, Any]:
  """Content of generation_config.json beside the tokenizer; empty where there is none."""
  return {} if tokenizer.folder is None else _read_if_there(tokenizer.folder / GENERATION_FILE)


def save_tokenizer(tokenizer: Tokenizer, folder: Path, end: int) -> None:
  """Puts the tokenizer's files into an existing folder: copies of those that it came from, or files made for it.

  Args:
    tokenizer: what to save.
    folder: where; holds none of `TOKENIZER_FILES`.
    end: the token that ends a text, for a tokenizer without files.

  Raises:
    FileExistsError: the folder holds files of a tokenizer.
  """
  require_absent(folder, TOKENIZER_FILES)
  if tokenizer.folder is not None:
    for name in TOKENIZER_FILES:
      if (tokenizer.folder / name).is_file():
        shutil.copyfile(tokenizer.folder / name, folder / name)
    return
  tokenizer.save(folder / TOKENIZER_FILE)
  # Without the class, other libraries take the one of the model's type, which may split words in another way.
  about = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": tokenizer.decode([end])}
  about |= {"clean_up_tokenization_spaces": False}
  (folder / TOKENIZER_CONFIG_FILE).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def require_absent(folder: Path, patterns: Iterable[str]) -> None:
  """Raises FileExistsError where the folder has files of these names."""
  present = sorted(path.name for pattern in patterns for path in folder.glob(pattern))
  if present:
    raise FileExistsError(f"{folder} already holds {present[:3]}; give another folder, or delete those first")


def _read_if_there(path: Path) -> dict[str, Any]:
  return read_json(path) if path.is_file() else {}


def required(path: Path, settings: Mapping[str, Any], key: str) -> Any:
  """A setting that the config.json at `path` must have; raises ValueError where it has not."""
  if key not in settings:
    raise ValueError(f"{path} has no {key!r}: it is not the complete config.json of a model")
  return settings[key]


# ---- added tokens -------------------------------------------------------------------------------------------------


def _compare_added_tokens(folder: Path, tokenizer: Tokenizer) -> None:
  for path, text, token in _listed_again(folder):
    found = tokenizer.special(text) if tokenizer.has(text) else None
    if found != token:
      says = "does not list it" if found is None else f"gives it {found}"
      raise TokenizerError(
        f"{path} gives the added token {text!r} the id {token}, but {folder / TOKENIZER_FILE} {says}: take both files "
        "from the same model, or have transformers write them again (AutoTokenizer.from_pretrained(folder)"
        ".save_pretrained(folder))"
      )


def _listed_again(folder: Path) -> Iterator[tuple[Path, str, int]]:
  """The added tokens that files beside tokenizer.json list: (file, text, id)."""
  path = folder / TOKENIZER_CONFIG_FILE
  for token, entry in _read_if_there(path).get("added_tokens_decoder", {}).items():
    yield path, _text_of(entry, path), int(token)
  path = folder / ADDED_TOKENS_FILE
  for text, token in _read_if_there(path).items():
    yield path, text, token


def _text_of(entry: Any, path: Path) -> str:
  """The text of a token that is written as such, or as an object with what else is known of it."""
  text = entry.get("content") if isinstance(entry, dict) else entry
  if not isinstance(text, str):
    raise TokenizerError(f"{path}: {entry!r} is not a token; download the file again")
  return text


def _compare_prefix_space(folder: Path) -> None:
  first = read_json(folder / TOKENIZER_FILE).get("pre_tokenizer") or {}
  done, said = first.get("add_prefix_space"), _read_if_there(folder / TOKENIZER_CONFIG_FILE).get("add_prefix_space")
  if isinstance(done, bool) and isinstance(said, bool) and done != said:
    raise TokenizerError(
      f"{folder / TOKENIZER_CONFIG_FILE} says add_prefix_space={said}, but the pre-tokenizer in "
      f"{folder / TOKENIZER_FILE} says {done}: set the first to what the model was trained with, and the second too"
    )


# ---- what ends a text ---------------------------------------------------------------------------------------------


def _ends(folder: Path, tokenizer: Tokenizer) -> set[int]:
  ends: set[int] = set()
  for name in (GENERATION_FILE, CONFIG_FILE):
    said = _read_if_there(folder / name).get("eos_token_id")
    if said is not None:
      ends = _ids(said, folder / name, tokenizer)
      break
  own = _end_of_text(folder)
  if own is not None:
    path, text = own
    if not tokenizer.has(text):
      raise TokenizerError(
        f"{path} says eos_token={text!r}, which {folder / TOKENIZER_FILE} does not list among its added "
        "tokens; set it to the one that ends a text, or to null"
      )
    ends.add(tokenizer.special(text))
  return ends


def _ids(said: Any, path: Path, tokenizer: Tokenizer) -> set[int]:
  """The added tokens that an `eos_token_id` stands for: one id or a list of them."""
  listed = said if isinstance(said, list) else [said]
  for token in listed:
    if type(token) is not int:
      raise ValueError(f"{path}: eos_token_id={said!r} is neither an id nor a list of ids")
    if not tokenizer.is_added(token):
      what = repr(tokenizer.decode([token])) if 0 <= token < tokenizer.vocab_size else "no token"
      raise TokenizerError(
        f"{path} says eos_token_id={said!r}, but in {path.parent / TOKENIZER_FILE} id {token} is {what}, not an added "
        "token: a turn would end in the middle of a text; set it to the ids of the tokens that end one, or to null"
      )
  return set(listed)


def _end_of_text(folder: Path) -> tuple[Path, str] | None:
  """The end-of-text token of the tokenizer's files, and the file that names it."""
  paths = (folder / TOKENIZER_CONFIG_FILE, folder / SPECIAL_TOKENS_FILE)
  said = [(path, _read_if_there(path).get("eos_token")) for path in paths]
  named = [(path, _text_of(entry, path)) for path, entry in said if entry is not None]
  if len(named) > 1 and named[0][1] != named[1][1]:
    raise TokenizerError(
      f"{named[0][0]} says eos_token={named[0][1]!r}, but {named[1][0]} says {named[1][1]!r}: make them say the same"
    )
  return named[0] if named else None
