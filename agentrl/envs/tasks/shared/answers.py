"""Short answers in a sentence or alone."""

from __future__ import annotations

import re
import unicodedata

_DROPPED = ("the", "a", "an")


def words(text: str) -> list[str]:
  """Lower-case words without accents, punctuation and articles."""
  plain = unicodedata.normalize("NFKD", text.casefold())
  bare = "".join(letter for letter in plain if not unicodedata.combining(letter))
  return [word for word in re.findall(r"\w+", bare) if word not in _DROPPED]


def ends_with(answer: str, expected: str) -> bool:
  """Whether the last words of the answer are the expected ones: of several answers the last counts."""
  wanted = words(expected)
  return bool(wanted) and words(answer)[-len(wanted) :] == wanted
