"""Which numbers a setting may have. Whoever has a default for a number says its range beside it.

With `RANGES = {"learning_rate": at_least(0)}`, `check_ranges({"learning_rate": -1.0}, RANGES, section="optimizer")`
says: optimizer.learning_rate=-1.0 must be at least 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple


class Range(NamedTuple):
  """An interval of finite numbers.

  Attributes:
    low, high: its ends; infinite where it has none.
    above_low, below_high: whether the end itself lies outside.
    hint: what to tell whoever leaves it; may be empty.
  """

  low: float = -math.inf
  high: float = math.inf
  above_low: bool = False
  below_high: bool = False
  hint: str = ""

  def holds(self, value: float) -> bool:
    """Whether the number lies inside; NaN and infinity never do."""
    over = value > self.low if self.above_low else value >= self.low
    under = value < self.high if self.below_high else value <= self.high
    return math.isfinite(value) and over and under

  def __str__(self) -> str:
    low = f"{'above' if self.above_low else 'at least'} {self.low:.15g}" if math.isfinite(self.low) else ""
    high = f"{'below' if self.below_high else 'at most'} {self.high:.15g}" if math.isfinite(self.high) else ""
    return " and ".join(part for part in (low, high) if part) or "a finite number"


FINITE = Range()


def at_least(low: float, hint: str = "") -> Range:
  """From `low` on."""
  return Range(low, hint=hint)


def above(low: float, hint: str = "") -> Range:
  """Everything that exceeds `low`."""
  return Range(low, above_low=True, hint=hint)


def between(low: float, high: float, *, above_low: bool = False, below_high: bool = False) -> Range:
  """From `low` to `high`; either end may be left out."""
  return Range(low, high, above_low, below_high)


def check_ranges(settings: Mapping[str, Any], ranges: Mapping[str, Range], *, section: str = "") -> None:
  """Raises ValueError for the first number outside its range; names key, value and what is allowed.

  Args:
    settings: values by dotted key. A number whose key has no range must be finite; what is no number may be anything.
    ranges: by the same keys; those that `settings` lacks are not looked at.
    section: of the config that the keys stand in, for the message.
  """
  for key, value in settings.items():
    if isinstance(value, bool) or not isinstance(value, int | float):
      continue
    allowed = ranges.get(key, FINITE)
    if not allowed.holds(value):
      name = f"{section}.{key}" if section else key
      raise ValueError(f"{name}={value} must be {allowed}" + (f": {allowed.hint}" if allowed.hint else ""))
