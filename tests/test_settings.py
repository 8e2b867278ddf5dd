"""Ranges and what is said of a number outside; sections from dataclasses and functions."""

import dataclasses
import math

import pytest

from agentrl.settings import (
  FINITE,
  DefaultsOf,
  above,
  at_least,
  between,
  check_fields,
  check_ranges,
  comments_in,
  defaults_of,
  from_function,
  ranges_of,
  section,
  setting,
  settings_in,
  told_of,
)


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


@dataclasses.dataclass(frozen=True)
class Inner:
  rate: float = setting(0.5, "how fast", between(0, 1))


@dataclasses.dataclass(frozen=True)
class Outer:
  """A section, and what a run derives."""

  derived: int = 3
  steps: int = setting(2, "how many", at_least(1))
  weights: dict = setting({}, "by name")
  inner: Inner = section(Inner)

  def __post_init__(self):
    check_fields(self, section="outer")


def test_a_dataclass_is_its_section():
  assert defaults_of(Outer) == {"steps": 2, "weights": {}, "inner": {"rate": 0.5}}
  found = settings_in(Outer, "outer.")
  assert [s.key for s in found] == ["outer.steps", "outer.weights", "outer.inner.rate"]
  assert found[2] == ("outer.inner.rate", 0.5, "how fast", between(0, 1))
  assert ranges_of(found) == {"outer.steps": at_least(1), "outer.inner.rate": between(0, 1)}
  assert Outer().weights is not Outer().weights
  with pytest.raises(ValueError, match=r"^outer\.steps=0 must be at least 1$"):
    Outer(steps=0)


def test_a_number_says_which_ones_it_takes():
  with pytest.raises(TypeError, match="the setting 'how many' is a number"):
    setting(3, "how many")


def make(name, *, size=3, shout=False, table=None, pool=None):
  """Makes.

  Args:
    name: who it is,
      in full.
    size: how large.
    shout: whether to.
    table: of words.
    pool: an object.

  Returns:
    nothing: at all.
  """


def test_a_function_is_its_section():
  kind = from_function(make, "Made", ranges={"size": at_least(1)}, given={"name": "x", "table": {}})
  found = [("name", "x", "who it is, in full.", None), ("table", {}, "of words.", None)]
  found += [("size", 3, "how large.", at_least(1)), ("shout", False, "whether to.", None)]
  assert settings_in(kind) == found


def default_config():
  return {
    # above
    "a": 1,
    "b": {  # of b
      "c": {},  # of c: {"d": 1}
      "e": 2,
    },
    "f": 3,  # of f
  }  # fmt: skip


def test_comments_belong_to_the_key_beside_them():
  assert comments_in(default_config) == {"a": "above", "b": "of b", "b.c": 'of c: {"d": 1}', "b.e": "", "f": "of f"}


def test_a_module_s_defaults_are_those_of_a_dataclass_or_stand_in_its_source():
  defaults = DefaultsOf(from_function(make, "Made", ranges={"size": at_least(1)}, given={"name": "x"}))
  assert defaults().to_dict() == {"name": "x", "size": 3, "shout": False}
  assert told_of(defaults) == {"name": "who it is, in full.", "size": "how large.", "shout": "whether to."}
  assert told_of(default_config) == comments_in(default_config)
