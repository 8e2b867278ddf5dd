"""What a `tokenizer.json` must describe, and how its tokens spell bytes.

Vocabularies of the GPT-2 kind write each byte as one printable character (Radford et al., 2019,
https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def _byte_alphabet() -> list[str]:
  """The character that stands for each byte.

  Printable Latin-1 characters stand for themselves, the others for code points from 256 on, in order.
  """
  printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
  others = iter(range(256, 512))
  return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


BYTE_TO_CHAR = _byte_alphabet()
CHAR_TO_BYTE = {char: byte for byte, char in enumerate(BYTE_TO_CHAR)}
BEYOND_VOCABULARY = "\ufffd".encode()


def what_is_not_byte_level(description: Mapping[str, Any]) -> str:
  """Why the exact bytes of the tokens cannot be known, in words; empty where they can.

  Args:
    description: content of a tokenizer.json.
  """
  model, decoder = description["model"], set(_kinds(description["decoder"], "decoders"))
  if model["type"] != "BPE":
    return f"its model is {model['type']}"
  if "ByteLevel" not in decoder or decoder - {"ByteLevel", "Fuse"}:
    return f"its decoder is {' and '.join(sorted(decoder)) or 'missing'}"
  before = {*_kinds(description["normalizer"], "normalizers"), *_kinds(description["pre_tokenizer"], "pretokenizers")}
  if "ByteLevel" not in before:
    return "neither its normalizer nor its pre-tokenizer is ByteLevel, but its decoder is"
  for affix in ("continuing_subword_prefix", "end_of_word_suffix"):
    if model[affix]:
      return f"its tokens carry the {affix} {model[affix]!r}, which is no text"
  return ""


def for_plain_text(description: Mapping[str, Any]) -> dict[str, Any]:
  """The same tokenizer for nothing but text.

  Added tokens are not found in it and none is put around it. Truncation and padding, which a tokenizer.json keeps from
  the last call before it was saved, and the dropout of merges, which belongs to training, are off.

  Args:
    description: content of a tokenizer.json.
  """
  off = {"added_tokens": [], "truncation": None, "padding": None, "post_processor": None}
  return {**description, **off, "model": {**description["model"], "dropout": None}}


def missing_bytes(description: Mapping[str, Any]) -> frozenset[int]:
  """The bytes that no token spells; none where the model has a token for what it does not know.

  Args:
    description: content of a tokenizer.json.
  """
  model = description["model"]
  if model["unk_token"] is not None:
    return frozenset()
  return frozenset(byte for byte, char in enumerate(BYTE_TO_CHAR) if char not in model["vocab"])


def bytes_of_tokens(vocabulary: Mapping[str, int], added: Iterable[int]) -> list[bytes]:
  """The bytes of each id.

  Args:
    vocabulary: id by text, added tokens included.
    added: ids of the added tokens, which stand for their own text.
  """
  added = set(added)
  table = [BEYOND_VOCABULARY] * (max(vocabulary.values()) + 1)
  for text, i in vocabulary.items():
    # Like the library's decoder: an entry that is not spelled in the byte alphabet stands for its own text.
    spelled = i not in added and all(char in CHAR_TO_BYTE for char in text)
    table[i] = bytes(CHAR_TO_BYTE[char] for char in text) if spelled else text.encode()
  return table


def _kinds(part: Mapping[str, Any] | None, members: str) -> list[str]:
  """Kinds of the members of a normalizer, pre-tokenizer or decoder, a sequence in a sequence included."""
  if part is None:
    return []
  if part["type"] != "Sequence":
    return [part["type"]]
  return [kind for member in part[members] for kind in _kinds(member, members)]
