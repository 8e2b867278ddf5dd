from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrl.envs.tasks.numbers import is_number, last_number


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


@given(st.integers(-(10**12), 10**12))
def test_any_way_to_write_a_whole_number(number):
  assert is_number(str(number), str(number))
  assert is_number(f"so it is {number:,}.", str(number))
  assert is_number(f"{number:.2f}", str(number))
  assert not is_number(str(number + 1), str(number))


@given(st.text())
def test_no_text_breaks_it(text):
  is_number(text, "1")
