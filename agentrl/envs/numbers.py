"""Numbers as people, models and our own calculator write them: the one reader of numbers in text."""

from __future__ import annotations

import re
from fractions import Fraction

_MAX_CHARS = 100  # of a number; a longer one is right for nothing we ask
# 12, 1,234, 3.5, 5., .5 and 1.5E-7: what `calculator.to_text` shows, and no exponent that would fill the memory.
UNSIGNED = (
  r"(?:(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]*)?|(?<!\.)\.[0-9]+)"
  r"(?:[eE][+-]?[0-9]{1,3}(?![0-9A-Za-z_]))?"
)
# A sign belongs to the number unless something stands before it that it could be subtracted from or added to. What
# stands within a name or a version, such as A101 and the end of 1.2.3, is no number; a unit may follow one.
_NUMBER = re.compile(rf"(?:(?<![0-9A-Za-z_)])[-+])?\$?(?<![0-9A-Za-z_])(?<![0-9]\.){UNSIGNED}")


def number_of(text: str) -> Fraction | None:
  """The number that a text is, thousands separators and "$" allowed; None where it is anything else."""
  plain = text.strip().replace("\N{MINUS SIGN}", "-")
  if len(plain) > _MAX_CHARS or not _NUMBER.fullmatch(plain):
    return None
  return Fraction(plain.replace("$", "").replace(",", ""))


def last_number(text: str) -> Fraction | None:
  """The last number in a text; None where there is none, or it is too long to be one that anybody asks for."""
  found = _NUMBER.findall(text.replace("\N{MINUS SIGN}", "-"))
  return number_of(found[-1]) if found else None


def is_number(answer: str, reference: str, tolerance: float = 0.0) -> bool:
  """Whether the last number of an answer is the right one: "The answer is $1,012.0." is right for "1012".

  Args:
    answer: any text.
    reference: the right number, as text.
    tolerance: by how much the answer may be off.

  Raises:
    ValueError: the reference is no number.
  """
  number, right = last_number(answer), number_of(reference)
  if right is None:
    raise ValueError(f"the reference {reference!r} is no number")
  return number is not None and abs(number - right) <= tolerance
