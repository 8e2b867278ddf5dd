"""Numbers in answers that people and models write."""

from __future__ import annotations

import re
from fractions import Fraction

_MAX_CHARS = 100  # of a number; a longer one is right for nothing we ask
# A minus sign belongs to the number unless something stands before it that it could be subtracted from.
_NUMBER = re.compile(r"(?:(?<![0-9A-Za-z_)])-)?\$?(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+")


def last_number(text: str) -> Fraction | None:
  """The last number in a text, thousands separators and "$" allowed; None where there is none."""
  found = _NUMBER.findall(text.replace("\N{MINUS SIGN}", "-"))
  if not found or len(found[-1]) > _MAX_CHARS:
    return None
  return Fraction(found[-1].replace("$", "").replace(",", ""))


def is_number(answer: str, reference: str) -> bool:
  """Whether the last number of an answer equals the reference: "The answer is $1,012.0." is right for "1012"."""
  return last_number(answer) == Fraction(reference)
