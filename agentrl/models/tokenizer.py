"""Byte-level BPE tokenizers behind one small face, over the `tokenizers` library.

Two rules hold everywhere. Text that comes from outside (a question, a tool's output) is encoded as plain text: markup
in it never becomes a control token. And ids are turned into text by joining the exact bytes of each token, so that
what a growing sequence says is known without decoding it again from the start.
"""

from __future__ import annotations

import copy
import itertools
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers

from agentrl.models.byte_level import (
  BEYOND_VOCABULARY,
  BYTE_TO_CHAR,
  bytes_of_tokens,
  for_plain_text,
  missing_bytes,
  what_is_not_byte_level,
)

Piece = str | int

DEFAULT_SPECIAL = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")

# Values of `tokenizer.ggml.token_type` in a GGUF file.
_GGUF_CONTROL, _GGUF_USER_DEFINED = 3, 4
_GGUF_ADDED = (_GGUF_CONTROL, _GGUF_USER_DEFINED)


class TokenizerError(ValueError):
  """A tokenizer could not be read, or was asked for a token that it does not have."""


class Tokenizer:
  """Text to ids and back, without ever making a control token of plain text.

  Attributes:
    vocab_size: number of ids, special tokens included. A model's embedding may have more rows than that.
    ends: ids of the tokens that end a text, as far as the model's files say; a chat format knows further ones.
    folder: of the model whose files say all of this; None: there is none.
  """

  def __init__(self, inner: tokenizers.Tokenizer):
    description = json.loads(inner.to_str())
    if problem := what_is_not_byte_level(description):
      raise TokenizerError(
        f"only byte-level BPE is supported (Llama 3, Qwen, SmolLM), since the exact bytes of each token must be known; "
        f"of this tokenizer {problem}"
      )
    added = inner.get_added_tokens_decoder()
    self._inner = inner
    self._added = {token.content: i for i, token in added.items()}
    self._settings = {token.content: token for token in added.values()}
    self._markup = _pattern(added.values())
    self._plain = tokenizers.Tokenizer.from_str(json.dumps(for_plain_text(description)))
    self._bytes = bytes_of_tokens(inner.get_vocab(with_added_tokens=True), added)
    self._missing = missing_bytes(description)
    self.vocab_size = len(self._bytes)
    self.ends: frozenset[int] = frozenset()
    self.folder: Path | None = None

  @classmethod
  def from_file(cls, path: str | Path) -> Tokenizer:
    """Reads a `tokenizer.json`, or the one in a folder; the files beside it are for `models.folder.read_tokenizer`.

    Raises:
      TokenizerError: there is none, it cannot be read, or it is not a byte-level BPE.
    """
    path = Path(path)
    path = path / "tokenizer.json" if path.is_dir() else path
    if not path.is_file():
      raise TokenizerError(
        f"no tokenizer at {path}; a model folder needs its tokenizer.json beside config.json: copy it from where the "
        "model was published"
      )
    try:
      inner = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
      raise TokenizerError(f"{path} is not a readable tokenizer.json ({error}); copy or download it again") from error
    try:
      return cls(inner)
    except TokenizerError as error:
      raise TokenizerError(f"{path}: {error}") from error

  @classmethod
  def from_gguf(cls, path: str | Path) -> Tokenizer:
    """Rebuilds the tokenizer from the metadata of a GGUF file (GPT-2 style BPE with SmolLM pre-tokenization).

    Raises:
      TokenizerError: there is no such file, the `gguf` package is missing, or the file holds another kind of tokenizer.
    """
    names = ("model", "pre", "tokens", "merges", "token_type", "eos_token_id")
    kind, pre, tokens, merges, types, end = _gguf_metadata(Path(path), names)
    if (kind, pre) != ("gpt2", "smollm"):
      raise TokenizerError(
        f"{path} holds a {kind!r} tokenizer with pre-tokenization {pre!r}; only 'gpt2' with 'smollm' is known here. "
        "Use the model's tokenizer.json with Tokenizer.from_file"
      )
    merges = [tuple(merge.split(" ")) for merge in merges]
    inner = tokenizers.Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level])
    inner.decoder = decoders.ByteLevel()
    added = [(token, kind) for token, kind in zip(tokens, types, strict=True) if kind in _GGUF_ADDED]
    inner.add_tokens([AddedToken(token, special=kind == _GGUF_CONTROL, normalized=False) for token, kind in added])
    return cls(inner).read_from(None, ends=[end])

  @classmethod
  def byte_level(cls, special_tokens: Sequence[str] = DEFAULT_SPECIAL) -> Tokenizer:
    """For tiny models: ids 0 to 255 are the bytes, special tokens follow in the given order."""
    return cls(_of_merges([], special_tokens, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)))

  @classmethod
  def trained(cls, texts: Iterable[str], vocabulary: int, special_tokens: Sequence[str] = DEFAULT_SPECIAL) -> Tokenizer:
    """For small models of few words: ids 0 to 255 are the bytes, then what byte-pair encoding merges in `texts`.

    Merges stay inside words (with the space before them) and runs of punctuation, as in GPT-2 (Radford et al., 2019).
    Unlike there, digits stay alone: every number is then made of tokens that were seen often, and can be copied. The
    same texts give the same tokenizer.

    Args:
      vocabulary: ids at most, special tokens not counted; fewer where the texts hold no more pairs that occur twice.

    Raises:
      TokenizerError: a vocabulary of less than the 256 bytes.
    """
    if vocabulary < 256:
      raise TokenizerError(f"a vocabulary of {vocabulary} tokens has no room for the 256 bytes; ask for more")
    words = pre_tokenizers.ByteLevel(add_prefix_space=False)
    split = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), words])
    learner = _of_merges([], (), split)
    learner.train_from_iterator(
      texts,
      trainers.BpeTrainer(
        vocab_size=vocabulary, min_frequency=2, initial_alphabet=BYTE_TO_CHAR, special_tokens=[], show_progress=False
      ),
    )
    merges = [tuple(merge) for merge in json.loads(learner.to_str())["model"]["merges"]]
    return cls(_of_merges(merges, special_tokens, split))

  def encode(self, text: str) -> list[int]:
    """Ids of plain text. Markup of special and other added tokens in it is spelled out, never made a control token.

    Characters whose bytes the vocabulary lacks (of SmolLM2 six control characters, and planes of Unicode that hold
    none yet), which the library would leave out silently, become U+FFFD.

    Raises:
      TokenizerError: a lone surrogate in the text.
    """
    try:
      spelled = text.encode()
    except UnicodeEncodeError as error:
      raise TokenizerError(
        f"text is not valid Unicode at character {error.start} (a lone surrogate); replace it before encoding"
      ) from error
    if not self._missing.isdisjoint(spelled):
      text = "".join(char if self._missing.isdisjoint(char.encode()) else "\ufffd" for char in text)
    return self._plain.encode(text, add_special_tokens=False).ids

  def split(self, markup: str) -> list[Piece]:
    """Splits trusted text, such as a chat template's own words, at special and other added tokens; see `join`.

    A token that takes in the white space before or after it (`lstrip`, `rstrip`) does so here too.
    """
    pieces: list[Piece] = []
    at = 0
    for found in self._markup.finditer(markup):
      token, before = self._settings[found[0]], markup[at : found.start()]
      pieces += [before.rstrip() if token.lstrip else before, self._added[token.content]]
      at = found.end()
      if token.rstrip:
        at += len(markup[at:]) - len(markup[at:].lstrip())
    return [*pieces, markup[at:]]

  def join(self, pieces: Iterable[Piece]) -> list[int]:
    """Ids of pieces: an int stands for itself, neighbouring strings are encoded together as plain text."""
    ids: list[int] = []
    for is_text, neighbours in itertools.groupby(pieces, lambda piece: isinstance(piece, str)):
      run = list(neighbours)
      ids += self.encode("".join(run)) if is_text else run
    return ids

  def special(self, name: str) -> int:
    """Id of a special or other added token; files of one model family disagree on which ones they flag as special.

    Raises:
      TokenizerError: no such token; the message lists those there are.
    """
    if not self.has(name):
      known = sorted(self._added)
      listed = f"{known[:12]}{f' and {len(known) - 12} more' if len(known) > 12 else ''}" if known else "none"
      raise TokenizerError(f"the tokenizer has no special or added token {name!r}; it has {listed}")
    return self._added[name]

  def has(self, name: str) -> bool:
    """Whether `special` knows the token."""
    return name in self._added

  def is_added(self, token: int) -> bool:
    """Whether the id is that of a special or other added token."""
    return token in self._added.values()

  def read_from(self, folder: Path | None, ends: Iterable[int]) -> Tokenizer:
    """The same tokenizer with this `folder` and these `ends`."""
    changed = copy.copy(self)
    changed.folder, changed.ends = folder, frozenset(ends)
    return changed

  def token_bytes(self, token: int) -> bytes:
    """The exact bytes that a token stands for; U+FFFD for ids past the vocabulary, which padded embeddings can emit."""
    if token < 0:
      raise TokenizerError(f"token id {token} is negative")
    return self._bytes[token] if token < self.vocab_size else BEYOND_VOCABULARY

  def decode(self, ids: Iterable[int]) -> str:
    """Text of ids, special tokens spelled out; bytes that are not UTF-8 become U+FFFD."""
    return b"".join(self.token_bytes(int(token)) for token in ids).decode(errors="replace")

  def save(self, path: str | Path) -> None:
    """Writes a `tokenizer.json` that `from_file` and other libraries read."""
    self._inner.save(str(path))


def _pattern(added: Iterable[AddedToken]) -> re.Pattern:
  """Finds added tokens, the longest at each place."""
  longest_first = sorted(added, key=lambda token: -len(token.content))
  texts = [(re.escape(token.content), token.single_word) for token in longest_first]
  return re.compile("|".join(rf"(?<!\w){text}(?!\w)" if word else text for text, word in texts) or "(?!)")


def _of_merges(
  merges: Sequence[tuple[str, str]], special_tokens: Sequence[str], split: pre_tokenizers.PreTokenizer
) -> tokenizers.Tokenizer:
  """Byte-level BPE whose ids are the bytes, the merges in their order, the special tokens."""
  spelled = [*BYTE_TO_CHAR, *(left + right for left, right in merges)]
  inner = tokenizers.Tokenizer(models.BPE({token: i for i, token in enumerate(spelled)}, merges))
  inner.pre_tokenizer = split
  inner.decoder = decoders.ByteLevel()
  inner.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special_tokens])
  return inner


# ---- GGUF metadata ------------------------------------------------------------------------------------------------


def _gguf_metadata(path: Path, names: Sequence[str]) -> list:
  """Values of `tokenizer.ggml.<name>`."""
  if not path.is_file():
    raise TokenizerError(f"no GGUF file {path}")
  try:
    import gguf
  except ImportError as error:
    raise TokenizerError("reading a GGUF file needs the gguf package: pip install agentrl[smollm2]") from error
  fields = gguf.GGUFReader(path).fields
  missing = [name for name in names if f"tokenizer.ggml.{name}" not in fields]
  if missing:
    raise TokenizerError(f"{path} lacks the metadata tokenizer.ggml.{missing[0]}: it carries no BPE tokenizer")
  return [fields[f"tokenizer.ggml.{name}"].contents() for name in names]
