import math
import re
from typing import Literal, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrl.envs.schema import ToolArgumentError, bind, coerce, parameters_of, schema_of, summary_of


def search(
  query: str,
  tags: list[str],
  limit: int = 3,
  order: Literal["new", "old"] = "new",
  within: float | None = None,
  weights: Optional[dict[str, float]] = None,  # noqa: UP045
):
  """Finds documents
  by their words.

  More that the policy does not read.

  Args:
    query: what to look for,
      in a few words: like this.
    limit (int): at most so many.

  Returns:
    documents.
  """


def test_schema_of_every_supported_hint():
  parameters = {p.name: p for p in parameters_of(search)}
  assert parameters["query"].schema == {
    "type": "string",
    "description": "what to look for, in a few words: like this.",
  }
  assert parameters["tags"].schema == {"type": "array", "items": {"type": "string"}}
  assert parameters["limit"].schema == {"type": "integer", "default": 3, "description": "at most so many."}
  assert parameters["order"].schema == {"enum": ["new", "old"], "default": "new"}
  assert parameters["within"].schema == {"anyOf": [{"type": "number"}, {"type": "null"}], "default": None}
  weights = {"type": "object", "additionalProperties": {"type": "number"}}
  assert parameters["weights"].schema == {"anyOf": [weights, {"type": "null"}], "default": None}
  assert [p.required for p in parameters.values()] == [True, True, False, False, False, False]
  assert schema_of(list, "x") == {"type": "array"}
  assert schema_of(dict, "x") == {"type": "object"}


def test_summary_is_the_first_paragraph_on_one_line():
  assert summary_of(search) == "Finds documents by their words."


@pytest.mark.parametrize("hint", [bytes, set[int], int | str, dict[int, str], object])
def test_other_hints_are_refused_when_tools_are_collected(hint):
  with pytest.raises(TypeError, match="parameter 'x' has the hint"):
    schema_of(hint, "parameter 'x'")


def test_signatures_that_cannot_be_called_by_keyword_are_refused():
  def unhinted(a):
    """Doc."""

  def starred(*a: int):
    """Doc."""

  def positional(a: int, /):
    """Doc."""

  with pytest.raises(TypeError, match=r"parameter 'a' of tool .*unhinted has no type hint"):
    parameters_of(unhinted)
  for function in (starred, positional):
    with pytest.raises(TypeError, match="called by keyword"):
      parameters_of(function)


@pytest.mark.parametrize(
  ("hint", "default", "words"),
  [
    (float, math.inf, "the default must be a number, got inf"),
    (list[float] | None, [math.nan], r"the default\[0\] must be a number, got nan"),
    (list, [math.nan], "cannot be written as JSON"),
    (dict, {"a": object()}, "cannot be written as JSON"),
    (str, "\ud800", "cannot be written as JSON"),
    (Literal[b"a"], b"a", "cannot be written as JSON"),
    (int, "three", "the default must be an integer, got 'three'"),
    (Literal["a", "b"], "c", "the default must be one of 'a', 'b', got 'c'"),
    ("Unknown", 1, "the hint 'Unknown', which cannot be evaluated .*imported when the program runs"),
    ("math.Real", 1, "the hint 'math.Real', which cannot be evaluated"),
    ("int |", 1, "which cannot be evaluated"),
    ({"type": "string"}, "a", "which cannot be evaluated"),
  ],
)
def test_a_default_or_hint_that_no_prompt_could_show_is_refused_by_name(hint, default, words):
  def look(x=default):
    """Looks."""

  look.__annotations__["x"] = hint
  with pytest.raises(TypeError, match=r"^parameter 'x' of tool .*look") as told:
    parameters_of(look)
  assert re.search(words, str(told.value))


def test_hints_that_are_not_of_parameters_do_not_matter():
  def look(x: int) -> None:
    """Looks."""

  look.__annotations__ |= {"x": "int", "return": "pandas.DataFrame"}
  assert parameters_of(look)[0].schema == {"type": "integer"}


def test_a_default_of_none_makes_the_hint_optional_and_a_tuple_a_list():
  def look(page: int = None, kind: Literal["a"] = None, tags: list[str] = ("x",)):  # noqa: RUF013
    """Looks."""

  page, kind, tags = parameters_of(look)
  assert page.schema == {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None}
  assert kind.schema == {"anyOf": [{"enum": ["a"]}, {"type": "null"}], "default": None}
  assert tags.schema["default"] == ["x"]
  assert bind((page, kind), {"page": None, "kind": "a"}) == {"page": None, "kind": "a"}


def test_what_is_not_written_in_python_is_refused():
  with pytest.raises(TypeError, match="cannot be a tool: only functions written in Python"):
    parameters_of(len)


@pytest.mark.parametrize(
  ("value", "hint", "expected"),
  [
    ("a", str, "a"),
    (12, str, "12"),
    (3, int, 3),
    ("3", int, 3),
    (3.0, int, 3),
    ("-3.0", int, -3),
    ("+3", int, 3),
    (" 1,234 ", int, 1234),
    ("1,234.5", float, 1234.5),
    ("1e3", int, 1000),
    (1e3, int, 1000),
    (10**300, int, 10**300),
    ("2.5", float, 2.5),
    (2, float, 2.0),
    (True, bool, True),
    ("false", bool, False),
    (["1", 2], list[int], [1, 2]),
    ({"a": 1}, dict[str, float], {"a": 1.0}),
    ([1, "x"], list, [1, "x"]),
    (None, int | None, None),
    ("4", int | None, 4),
    ("new", Literal["new", "old"], "new"),
  ],
)
def test_values_that_fit_are_converted(value, hint, expected):
  result = coerce(value, hint, "argument 'x'")
  assert result == expected
  assert type(result) is type(expected)


@pytest.mark.parametrize(
  ("value", "hint", "words"),
  [
    ([], str, "must be a string, got []"),
    (None, str, "must be a string, got None"),
    ("abc", int, "must be an integer, got 'abc'"),
    (2.5, int, "must be an integer, got 2.5"),
    (True, int, "must be an integer, got True"),
    (math.inf, int, "must be an integer, got inf"),
    ("nan", float, "must be a number, got 'nan'"),
    ("9" * 400, float, "must be a number, got '999"),
    (10**400, float, "must be a number, got 1000"),
    ("1_000", float, "must be a number, got '1_000'"),  # as for an integer
    ("\u0661\u0662", float, "must be a number"),
    ("2 apples", int, "must be an integer, got '2 apples'"),
    (1, bool, "must be true or false, got 1"),
    ("a", list[int], "must be a list, got 'a'"),
    (["a"], list[int], "argument 'x'[0] must be an integer"),
    ({"k": "a"}, dict[str, int], "argument 'x'['k'] must be an integer"),
    ([], dict[str, int], "must be an object, got []"),
    ("newest", Literal["new", "old"], "must be one of 'new', 'old', got 'newest'"),
    (True, Literal[1, 2], "must be one of 1, 2, got True"),
    ("x", int | None, "must be an integer"),
  ],
)
def test_values_that_do_not_fit_are_told(value, hint, words):
  with pytest.raises(ToolArgumentError) as told:
    coerce(value, hint, "argument 'x'")
  assert words in str(told.value)
  assert len(str(told.value)) < 200


def test_bind_leaves_defaults_to_the_function():
  parameters = parameters_of(search)
  assert bind(parameters, {"query": "a", "tags": []}) == {"query": "a", "tags": []}
  with pytest.raises(ToolArgumentError, match="missing argument 'tags'"):
    bind(parameters, {"query": "a"})
  with pytest.raises(ToolArgumentError, match="unexpected argument 'q'; expected: query, tags, limit"):
    bind(parameters, {"q": "a"})
  with pytest.raises(ToolArgumentError, match="unexpected argument 'q'; expected: none"):
    bind((), {"q": "a"})


json_values = st.recursive(
  st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
  lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
  max_leaves=5,
)
hints = st.sampled_from([str, int, float, bool, list, dict, list[int], dict[str, str], int | None, Literal["a", 1]])


@given(json_values, hints)
def test_any_json_value_is_converted_or_told(value, hint):
  try:
    converted = coerce(value, hint, "argument 'x'")
  except ToolArgumentError:
    return
  if hint in (str, int, float, bool, list, dict):
    assert type(converted) is hint
  assert coerce(converted, hint, "argument 'x'") == converted
