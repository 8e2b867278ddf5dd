import collections
import io
import pathlib
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrl.envs.output import clean, error_line, to_text


@pytest.mark.parametrize(
  ("value", "text"),
  [
    (None, ""),
    ("a", "a"),
    (b"\xc3\xa9\xff", "é\ufffd"),
    (bytearray(b"b"), "b"),
    ([1, "é", None], '[1, "é", null]'),
    ({"a": (1,)}, '{"a": [1]}'),
    (True, "true"),
    (1.5, "1.5"),
    (memoryview(b"\xc3\xa9"), "é"),
    ({"b", "a", "c"}, '["a", "b", "c"]'),  # in one order, whatever the run
    ({(1, 2): {"x"}}, '{"[1, 2]": ["x"]}'),
    ({"a": 1}.keys(), '["a"]'),
    ([b"a", pathlib.PurePosixPath("b"), 2.5], '["a", "b", 2.5]'),
    ("<object at 0x7f>", "<object at 0x7f>"),
  ],
)
def test_values_become_text(value, text):
  assert to_text(value) == text


@pytest.mark.parametrize(
  "value",
  [object(), (n for n in "ab"), enumerate("a"), iter([1]), io.StringIO("a"), len.__call__, threading.Lock(),
   [object()], {"a": {"b": map(str, "a")}}, collections.defaultdict(list, a=[lambda: 0])],
)  # fmt: skip
def test_what_has_no_text_is_an_error(value):
  with pytest.raises(TypeError, match="which has no text; it should return a string"):
    to_text(value)


def test_clean_says_what_it_cut():
  assert clean("abcdef", 3) == "abc\n[output cut: 6 characters, first 3 shown]"
  assert clean("abc", 3) == "abc"
  assert clean("", 3) == "[no output]"


@given(st.text(st.characters(codec=None), max_size=50), st.integers(1, 20))
def test_clean_text_is_valid_and_short(text, limit):
  cleaned = clean(text, limit)
  cleaned.encode()  # lone surrogates would raise
  assert "\0" not in cleaned
  assert len(cleaned) <= limit + 60


def test_error_line_is_one_short_line_whatever_the_exception():
  class Mute(Exception):
    def __str__(self):
      raise ValueError

  assert error_line(ZeroDivisionError("division\nby  zero")) == "ZeroDivisionError: division by zero"
  assert error_line(ValueError()) == "ValueError"
  assert error_line(Mute()) == "Mute"
  assert len(error_line(ValueError("x" * 10_000))) < 400
