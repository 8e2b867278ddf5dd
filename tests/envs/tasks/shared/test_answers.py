import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrl.envs.tasks.shared import answers


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


@given(st.text())
def test_no_text_breaks_them(text):
  assert answers.ends_with(text, "x y") in (True, False)
