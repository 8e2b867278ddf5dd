import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrl.envs.tasks import answers


@pytest.mark.parametrize(
  ("answer", "expected", "right"),
  [
    ("Paris", "Paris", True),
    ("It is the city of  PARIS.", "Paris", True),
    ("Reykjavik", "Reykjavík", True),
    ("the Hague", "The Hague", True),
    ("Paris or London", "Paris", False),
    ("New York", "York", True),
    ("York", "New York", False),
    ("", "Paris", False),
    ("Paris", "", False),
    ("room A101", "A101", True),
    ("2001-12-31", "2001-12-31", True),
  ],
)
def test_the_last_words_count(answer, expected, right):
  assert answers.ends_with(answer, expected) is right


@pytest.mark.parametrize(
  ("answer", "number"),
  [
    ("1912", 1912.0),
    ("It was 1,234,567.", 1234567.0),
    ("between 3 and 4.5", 4.5),
    ("-7", -7.0),
    ("12%", 12.0),
    ("$1,900", 1900.0),
    ("1912.", 1912.0),
    ("x12", None),
    ("none", None),
  ],
)
def test_the_last_number_counts(answer, number):
  assert answers.last_number(answer) == number


def test_a_number_may_be_off_by_the_tolerance():
  assert answers.is_number("3.14", 3.142, 0.005)
  assert not answers.is_number("3.1", 3.142, 0.005)
  assert not answers.is_number("", 0.0, 1.0)


@given(st.text())
def test_no_text_breaks_them(text):
  answers.last_number(text)
  assert answers.ends_with(text, "x y") in (True, False)
