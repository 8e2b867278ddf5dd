"""Intervals, their ends, and what is said of a number outside."""

import math

import pytest

from agentrl.ops.ranges import FINITE, above, at_least, between, check_ranges


@pytest.mark.parametrize(
  ("allowed", "inside", "outside", "said"),
  [
    (at_least(1), [1, 1.5, 10**9], [0, 0.999, -1], "at least 1"),
    (above(0), [1e-30, 3], [0, 0.0, -1e-30], "above 0"),
    (between(0, 1), [0, 0.5, 1], [-0.001, 1.001], "at least 0 and at most 1"),
    (between(0, 1, below_high=True), [0, 0.999], [1, 1.0, -1], "at least 0 and below 1"),
    (between(0, 1, above_low=True), [0.001, 1], [0, 2], "above 0 and at most 1"),
    (between(0, 2**32 - 1), [2**32 - 1], [2**32], "at least 0 and at most 4294967295"),
    (FINITE, [-1e300, 0, 7], [], "a finite number"),
  ],
)
def test_a_range_holds_what_it_says(allowed, inside, outside, said):
  assert all(allowed.holds(value) for value in inside)
  assert not any(allowed.holds(value) for value in [*outside, math.nan, math.inf, -math.inf])
  assert str(allowed) == said


def test_the_first_number_outside_is_named_with_what_is_allowed():
  ranges = {"rate": at_least(0), "norm": above(0, "a large number clips nothing")}
  check_ranges({"rate": 0, "norm": 1.0, "name": "x", "on": False, "absent": None}, ranges)
  with pytest.raises(ValueError, match=r"^optimizer\.rate=-1 must be at least 0$"):
    check_ranges({"rate": -1, "norm": 0}, ranges, section="optimizer")
  with pytest.raises(ValueError, match=r"^norm=0\.0 must be above 0: a large number clips nothing$"):
    check_ranges({"norm": 0.0}, ranges)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_without_a_range_must_be_finite(value):
  with pytest.raises(ValueError, match=r"weight=.* must be a finite number"):
    check_ranges({"weight": value}, {})
