"""Whether tool calls are those that upstream takes for right, by upstream's rules and without running them.

Gold gives for each parameter a list of values that are right; "" among them means that it may be left out. Strings are
compared without case, spaces and some punctuation. A value whose type is not the parameter's may still be right,
where gold says so: it is then a variable.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agentrl.envs.adapters.bfcl import source_text
from agentrl.types import ToolCall

_PYTHON = {"string": str, "integer": int, "float": float, "boolean": bool, "array": list, "tuple": list, "dict": dict,
           "any": str}  # fmt: skip
_JAVA = {"byte": int, "short": int, "integer": int, "long": int, "float": float, "double": float, "boolean": bool,
         "char": str, "String": str, "any": str, "Array": list, "ArrayList": list, "HashMap": dict}  # fmt: skip
_JAVASCRIPT = {"String": str, "integer": int, "Bigint": int, "float": float, "Boolean": bool, "dict": dict,
               "array": list, "any": str}  # fmt: skip
_TYPES = {"": _PYTHON, "java": _JAVA, "javascript": _JAVASCRIPT}
_LISTS = {"": ("array", "tuple"), "java": ("Array", "ArrayList"), "javascript": ("array",)}

Gold = Sequence[Mapping[str, Mapping[str, Sequence[Any]]]]


def language_of(category: str) -> str:
  """Of the source text that arguments are: "java", "javascript", or "" where they are JSON values."""
  return {"simple_java": "java", "simple_javascript": "javascript"}.get(category, "")


def matches(category: str, functions: Sequence[Mapping[str, Any]], calls: Sequence[ToolCall], gold: Gold) -> bool:
  """Whether the calls are right.

  Args:
    category: its name tells the language, and whether there are several functions or calls.
    functions: upstream's descriptions of what could be called.
    calls: of the policy; their order does not matter in the parallel categories, and elsewhere there is one.
    gold: function name to its arguments, one for each call.
  """
  if len(calls) != len(gold):
    return False
  left = list(calls)
  for wanted in gold:  # each takes the first that fits, without going back, as upstream does
    function = _function_of(category, functions, wanted)
    found = next((call for call in left if _call_matches(call, function, wanted, language_of(category))), None)
    if found is None:
      return False
    left = [call for call in left if call is not found]
  return True


def solution(category: str, functions: Sequence[Mapping[str, Any]], gold: Gold) -> list[ToolCall] | None:
  """Calls that match; None where upstream's own check lets none pass that gold names."""
  language = language_of(category)
  calls = []
  for wanted in gold:
    function = _function_of(category, functions, wanted)
    (options,) = wanted.values()
    arguments = {}
    for name, values in options.items():
      described = function["parameters"]["properties"].get(name)
      given = () if described is None else _written_options(values, described, language)
      right = [value for value in given if _value_matches(value, described, values, language)]
      if name in function["parameters"]["required"] and "" in values:
        right.append("")  # gold lets it be left out and the function does not; upstream then takes the empty string
      if right:
        arguments[name] = right[0]
    calls.append(ToolCall(function["name"], arguments))
  return calls if matches(category, functions, calls, gold) else None


def _written_options(values: Sequence[Any], described: Mapping[str, Any], language: str) -> Iterator[Any]:
  """Gold's values as a policy would give them."""
  for value in values:
    if value == "":
      continue
    chosen = _chosen(value)
    if language:
      yield from source_text.write(chosen, described["type"], language, described.get("items", {}).get("type", ""))
    else:
      yield chosen


def _chosen(value: Any) -> Any:
  """Gold lists the right values of each field of an object, but not of each element of a list."""
  if isinstance(value, list):
    return [_chosen(inner) if isinstance(inner, dict) else inner for inner in value]
  if isinstance(value, dict):
    fields = {key: [option for option in options if option != ""] for key, options in value.items()}
    return {key: options[0] for key, options in fields.items() if options}
  return value


def _function_of(category: str, functions: Sequence[Mapping[str, Any]], wanted: Mapping[str, Any]) -> Mapping[str, Any]:
  """Where there is one function, upstream goes by its description and not by gold's name."""
  if "parallel" not in category and "multiple" not in category:
    return functions[0]
  (name,) = wanted
  return next(function for function in functions if function["name"] == name)


def _call_matches(
  call: ToolCall, function: Mapping[str, Any], wanted: Mapping[str, Mapping[str, Sequence[Any]]], language: str
) -> bool:
  (options,) = wanted.values()
  known = function["parameters"]["properties"]
  if call.name != function["name"] or any(name not in call.arguments for name in function["parameters"]["required"]):
    return False
  if any(name not in call.arguments and "" not in values for name, values in options.items()):
    return False
  return all(
    name in known and name in options and _value_matches(value, known[name], options[name], language)
    for name, value in call.arguments.items()
  )


def _value_matches(value: Any, described: Mapping[str, Any], options: Sequence[Any], language: str) -> bool:
  kind = described["type"]
  nested = described["items"]["type"] if kind in _LISTS[language] else ""
  if language:
    if not isinstance(value, str):
      return False
    value = source_text.read(value, kind, language, nested)
  elif kind == "float" and type(value) is int:
    value = float(value)
  types = _TYPES[language]
  expected, inner = types[kind], types[nested] if nested else None
  if not _type_fits(value, expected, inner, options):
    return False
  is_variable = type(value) is not expected or _type_of(options) not in (None, expected)
  return value in options if is_variable else _same(value, expected, inner, options)


def _type_fits(value: Any, expected: type, inner: type | None, options: Sequence[Any]) -> bool:
  """Whether the type is the parameter's, or that of gold's first value."""
  if type(value) is not expected:
    return type(value) is _type_of(options)
  if inner is None:
    return True
  return any(  # an option that is no list says nothing about elements, and upstream lets them pass
    not isinstance(option, list) or all(_type_fits(element, inner, None, option) for element in value)
    for option in options
  )


def _type_of(options: Sequence[Any]) -> type | None:
  """Of the first value; None where gold has none."""
  return next((type(option) for option in options if option != ""), None)


def _same(value: Any, expected: type, inner: type | None, options: Sequence[Any]) -> bool:
  if expected is dict:
    return any(_same_fields(value, option) for option in options if option != "")
  if expected is list and inner is dict:
    return any(_same_rows(value, option) for option in options)
  if expected is str:
    return _plain(value) in [_plain(option) for option in options if isinstance(option, str)]
  if expected is list:
    return [_plain(element) for element in value] in [[_plain(element) for element in option] for option in options]
  return value in options


def _same_fields(value: Mapping[str, Any], option: Mapping[str, Sequence[Any]]) -> bool:
  given = all(
    key in option and _plain(inner) in [_plain(right) for right in option[key]] for key, inner in value.items()
  )
  return given and all(key in value or "" in rights for key, rights in option.items())


def _same_rows(value: Sequence[Any], option: Sequence[Any]) -> bool:
  return len(value) == len(option) and all(
    isinstance(row, dict) and right != "" and _same_fields(row, right) for row, right in zip(value, option, strict=True)
  )


def _plain(value: Any) -> Any:
  """A string without what does not matter; anything else as it is."""
  return re.sub(r"[ ,./\-_*^]", "", value).lower().replace("'", '"') if isinstance(value, str) else value
