from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrl.envs.numbers import is_number, last_number, number_of
from agentrl.envs.tools.calculator import evaluate, to_text


@pytest.mark.parametrize(
  ("text", "number"),
  [
    ("12", 12),
    ("The answer is 12.", 12),
    ("6*2 = 12", 12),
    ("It costs $1,234.50 in all.", Fraction("1234.5")),
    ("1,234,567", 1234567),
    ("1, 2", 2),
    ("1,2", 2),
    ("12.0", 12),
    ("-5", -5),
    ("x=-5", -5),
    ("\N{MINUS SIGN}5", -5),
    ("-$5", -5),
    ("47-36", 36),  # a subtraction
    ("(3)-4", 4),
    (".5", Fraction(1, 2)),
    ("none at all", None),
    ("", None),
    ("9" * 5000, None),
    ("\N{ARABIC-INDIC DIGIT ONE}", None),
    ("It was 1,234,567.", 1234567),
    ("between 3 and 4.5", Fraction("4.5")),
    ("12%", 12),
    ("12kg", 12),
    ("room A101", None),
    ("version 1.2.3", Fraction("1.2")),
    ("it is ...5", 5),
    ("1.5E-7", Fraction("1.5e-7")),
    ("about 2e3 of them", 2000),
    ("2e", 2),
    ("1e99999", 1),
    ("\u7b54\u6848\u662f12", 12),
  ],
)
def test_the_last_number(text, number):
  assert last_number(text) == number


@pytest.mark.parametrize(
  ("answer", "right"),
  [
    ("1012", True),
    ("The answer is $1,012.0.", True),
    ("1012 apples", True),
    ("1012 or 7", False),
    ("-1012", False),
    ("1012.5", False),
    ("10120", False),
    ("", False),
  ],
)
def test_answers(answer, right):
  assert is_number(answer, "1012") is right


def test_a_number_may_be_off_by_the_tolerance():
  assert is_number("3.14", "3.142", 0.005)
  assert not is_number("3.1", "3.142", 0.005)
  assert not is_number("", "0", 1.0)


@pytest.mark.parametrize(
  ("text", "number"), [("12", 12), (" -$1,200.5 ", Fraction("-1200.5")), ("5.", 5), ("12 apples", None), ("", None)]
)
def test_the_number_that_a_text_is(text, number):
  assert number_of(text) == number


def test_a_reference_that_is_no_number_is_an_error():
  with pytest.raises(ValueError, match="the reference 'Paris' is no number"):
    is_number("12", "Paris")


@given(st.fractions(max_denominator=10**9), st.integers(-30, 30))
def test_what_the_calculator_shows_is_read_the_same_by_it_and_by_the_checks(value, power):
  shown = to_text(value * Fraction(10) ** power)
  assert number_of(shown) == last_number(f"It is {shown}.") == evaluate(shown).value
  assert is_number(f"So x = {shown}", shown)


@given(st.integers(-(10**12), 10**12))
def test_any_way_to_write_a_whole_number(number):
  assert is_number(str(number), str(number))
  assert is_number(f"so it is {number:,}.", str(number))
  assert is_number(f"{number:.2f}", str(number))
  assert not is_number(str(number + 1), str(number))


@given(st.text())
def test_no_text_breaks_it(text):
  is_number(text, "1")
