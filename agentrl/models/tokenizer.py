"""`tokenizers` behind one small face: text to ids, ids to text, and the exact bytes of every token."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Sequence

import tokenizers
from tokenizers import decoders, models, pre_tokenizers

BYTE_LEVEL_SPECIALS = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")


class TokenizerError(ValueError):
  """A tokenizer could not be read, or was asked for a token that it does not have."""


class Tokenizer:
  """Ids and text. Markup of special tokens inside text is encoded as plain text: tool output cannot forge a turn.

  Args:
    backend: a byte-level BPE of the `tokenizers` library (GPT-2 style: Llama 3, Qwen, SmolLM2).
  """

  def __init__(self, backend: tokenizers.Tokenizer):
    self._backend = backend
    self._backend.encode_special_tokens = True
    added = backend.get_added_tokens_decoder()
    self._special = {token.content: index for index, token in added.items() if token.special}
    self.vocab_size = backend.get_vocab_size(with_added_tokens=True)

  @classmethod
  def from_file(cls, path: str | pathlib.Path) -> Tokenizer:
    """Reads a `tokenizer.json`, or the one in a folder."""
    path = pathlib.Path(path)
    path = path / "tokenizer.json" if path.is_dir() else path
    if not path.is_file():
      raise TokenizerError(f"no tokenizer at {path}; a model folder needs its tokenizer.json beside config.json")
    try:
      return cls(tokenizers.Tokenizer.from_file(str(path)))
    except Exception as error:
      raise TokenizerError(f"{path} is not a tokenizer.json that the tokenizers library can read: {error}") from error

  @classmethod
  def from_gguf(cls, path: str | pathlib.Path) -> Tokenizer:
    """Rebuilds the byte-level BPE in a GGUF file's metadata (SmolLM2: digits one by one)."""
    try:
      import gguf
    except ImportError as error:
      raise TokenizerError("reading GGUF files needs the gguf package: pip install 'agentrl[smollm2]'") from error
    fields = gguf.GGUFReader(str(path)).fields

    def read(name):
      if f"tokenizer.ggml.{name}" not in fields:
        raise TokenizerError(f"{path} has no tokenizer.ggml.{name}: not a GGUF file with a BPE tokenizer")
      return fields[f"tokenizer.ggml.{name}"].contents()

    if read("model") != "gpt2" or read("pre") != "smollm":
      raise TokenizerError(f"{path}: tokenizer {read('model')}/{read('pre')} is not supported; gpt2/smollm is")
    tokens, control = read("tokens"), 3
    merges = [tuple(merge.split(" ")) for merge in read("merges")]
    backend = tokenizers.Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    digits = pre_tokenizers.Digits(individual_digits=True)
    backend.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    backend.decoder = decoders.ByteLevel()
    kinds = read("token_type")
    backend.add_special_tokens(
      [
        tokenizers.AddedToken(t, special=True, normalized=False)
        for t, k in zip(tokens, kinds, strict=True)
        if k == control
      ]
    )
    return cls(backend)

  @classmethod
  def byte_level(cls, special_tokens: Sequence[str] = BYTE_LEVEL_SPECIALS) -> Tokenizer:
    """One token per byte, ids 0 to 255, then the special tokens: for tiny models."""
    backend = tokenizers.Tokenizer(models.BPE({char: byte for byte, char in enumerate(_byte_alphabet())}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([tokenizers.AddedToken(t, special=True, normalized=False) for t in special_tokens])
    return cls(backend)

  def encode(self, text: str) -> list[int]:
    """Ids of plain text; nothing is added, and no special token ever comes out."""
    return self._backend.encode(text, add_special_tokens=False).ids

  def special(self, name: str) -> int:
    """Id of a special token such as "<|im_end|>"."""
    if name not in self._special:
      raise TokenizerError(f"no special token {name!r}; this tokenizer has {sorted(self._special)}")
    return self._special[name]

  def decode(self, ids: Sequence[int]) -> str:
    """Text of ids, special tokens by name; bytes that are not UTF-8 become the replacement character."""
    return b"".join(self.token_bytes(int(i)) for i in ids).decode("utf-8", errors="replace")

  def token_bytes(self, index: int) -> bytes:
    """The exact bytes of one token."""
    return self._bytes[index]

  def save(self, path: str | pathlib.Path) -> None:
    """Writes a `tokenizer.json`."""
    self._backend.save(str(path))

  @functools.cached_property
  def _bytes(self) -> list[bytes]:
    byte_of = {char: bytes([byte]) for byte, char in enumerate(_byte_alphabet())}
    names = {index: name.encode() for name, index in self._special.items()}

    def of(index):
      if index in names:
        return names[index]
      token = self._backend.id_to_token(index)
      return b"" if token is None else b"".join(byte_of.get(char, char.encode()) for char in token)

    return [of(index) for index in range(self.vocab_size)]


def _byte_alphabet() -> list[str]:
  """GPT-2's printable stand-in for each byte: printable Latin-1 stands for itself, the others come after it."""
  printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
  others = iter(range(256, 512))
  return [chr(byte if byte in printable else next(others)) for byte in range(256)]
