"""Short answers in a sentence or alone."""

from __future__ import annotations

import re
import unicodedata

_NUMBER = re.compile(r"(?<![\w.])-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?![\w])")
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


def last_number(answer: str) -> float | None:
  """The last number of the answer, with commas between thousands or without; None where there is none."""
  found = _NUMBER.findall(answer)
  return float(found[-1].replace(",", "")) if found else None


def is_number(answer: str, expected: float, tolerance: float = 0.0) -> bool:
  """Whether the last number of the answer is the expected one.

  Args:
    answer: any text.
    expected: the right number.
    tolerance: by how much the answer may be off.
  """
  number = last_number(answer)
  return number is not None and abs(number - expected) <= tolerance
