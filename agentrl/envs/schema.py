"""Type hints and docstrings to JSON schema, and JSON values checked against the hints.

Supported hints: `str`, `int`, `float`, `bool`, `list`, `list[X]`, `dict`, `dict[str, X]`, `Literal[...]`, `X | None`
and `Optional[X]`. Any other hint is an error when the tools are collected, never when the policy calls one.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import re
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

_SCALARS = {str: "string", int: "integer", float: "number", bool: "boolean"}
_NOUNS = {str: "a string", int: "an integer", float: "a number", bool: "true or false"}
_SHOWN_CHARS = 60  # of a wrong value, in an error message


class ToolArgumentError(Exception):
  """The policy called a tool wrongly. The text is told to the policy, so it says what was wrong and what to do."""


@dataclasses.dataclass(frozen=True)
class Parameter:
  """One parameter of a tool: its name, hint, JSON schema, and default where `required` is False."""

  name: str
  hint: Any
  schema: Mapping[str, Any]
  required: bool
  default: Any = None


def parameters_of(function: Callable[..., Any]) -> tuple[Parameter, ...]:
  """Parameters of a function from its signature, hints and the `Args:` section of its docstring; `self` left out.

  Raises:
    TypeError: a hint is missing or not supported, or the function takes `*args`, `**kwargs` or positional-only ones.
  """
  hints = typing.get_type_hints(function)
  described = _described_arguments(function)
  parameters = []
  for name, parameter in inspect.signature(function).parameters.items():
    if name == "self":
      continue
    where = f"parameter {name!r} of tool {function.__qualname__}"
    if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
      raise TypeError(f"{where}: tools are called by keyword; *args, **kwargs and positional-only cannot be shown")
    if name not in hints:
      raise TypeError(f"{where} has no type hint; its JSON schema is made from the hint")
    schema = dict(schema_of(hints[name], where))
    if name in described:
      schema["description"] = described[name]
    required = parameter.default is parameter.empty
    if not required:
      schema["default"] = parameter.default
    parameters.append(Parameter(name, hints[name], schema, required, None if required else parameter.default))
  return tuple(parameters)


def schema_of(hint: Any, where: str) -> Mapping[str, Any]:
  """JSON schema of a type hint; `where` opens the TypeError for a hint that is not supported."""
  if hint in _SCALARS:
    return {"type": _SCALARS[hint]}
  origin, inner = typing.get_origin(hint), typing.get_args(hint)
  if origin is typing.Literal:
    return {"enum": list(inner)}
  if hint is list or origin is list:
    return {"type": "array", "items": schema_of(inner[0], where)} if inner else {"type": "array"}
  if hint is dict or (origin is dict and inner[0] is str):
    return {"type": "object", "additionalProperties": schema_of(inner[1], where)} if inner else {"type": "object"}
  if _is_optional(hint):
    return {"anyOf": [schema_of(_without_none(hint), where), {"type": "null"}]}
  raise TypeError(f"{where} has the hint {hint}; supported: str, int, float, bool, list, dict, Literal and X | None")


def coerce(value: Any, hint: Any, where: str) -> Any:
  """The JSON value as the hint wants it; numbers written as strings and strings written as numbers are converted.

  Args:
    value: what the policy gave.
    hint: a supported hint.
    where: opens the error, such as "argument 'n'".

  Raises:
    ToolArgumentError: the value does not fit.
  """
  if hint in _SCALARS:
    return _coerce_scalar(value, hint, where)
  origin, inner = typing.get_origin(hint), typing.get_args(hint)
  if origin is typing.Literal:
    if not any(value == option and type(value) is type(option) for option in inner):
      raise ToolArgumentError(f"{where} must be one of {', '.join(map(repr, inner))}, got {_shown(value)}")
    return value
  if hint is list or origin is list:
    if not isinstance(value, list):
      raise ToolArgumentError(f"{where} must be a list, got {_shown(value)}")
    return [coerce(item, inner[0], f"{where}[{i}]") for i, item in enumerate(value)] if inner else value
  if hint is dict or origin is dict:
    if not isinstance(value, Mapping):
      raise ToolArgumentError(f"{where} must be an object, got {_shown(value)}")
    return {key: coerce(item, inner[1], f"{where}[{key!r}]") for key, item in value.items()} if inner else dict(value)
  return None if value is None else coerce(value, _without_none(hint), where)


def bind(parameters: tuple[Parameter, ...], arguments: Mapping[str, Any]) -> dict[str, Any]:
  """Keyword arguments for a call: every name known, every required one there, every value coerced, defaults left out.

  Raises:
    ToolArgumentError: told to the policy.
  """
  known = [p.name for p in parameters]
  for name in arguments:
    if name not in known:
      raise ToolArgumentError(f"unexpected argument {name!r}; expected: {', '.join(known) or 'none'}")
  for parameter in parameters:
    if parameter.required and parameter.name not in arguments:
      raise ToolArgumentError(f"missing argument {parameter.name!r}")
  return {p.name: coerce(arguments[p.name], p.hint, f"argument {p.name!r}") for p in parameters if p.name in arguments}


def summary_of(function: Callable[..., Any]) -> str:
  """First paragraph of the docstring, on one line.

  Raises:
    TypeError: there is none; the policy would be shown a tool without a description.
  """
  text = inspect.getdoc(function)
  if not text:
    raise TypeError(f"tool {function.__qualname__} has no docstring; its first paragraph is what the policy reads")
  return " ".join(text.split("\n\n")[0].split())


def _coerce_scalar(value: Any, hint: type, where: str) -> Any:
  number = isinstance(value, int | float) and not isinstance(value, bool)
  if hint is str and (isinstance(value, str) or number):
    return str(value)
  if hint is bool and (isinstance(value, bool) or value in ("true", "false")):
    return value is True or value == "true"
  if hint is int and (number or isinstance(value, str)) and re.fullmatch(r"\s*[+-]?[0-9]{1,1000}(\.0)?\s*", str(value)):
    return int(str(value).strip().removesuffix(".0"))
  if hint is float and (number or isinstance(value, str)):
    try:
      converted = float(value)
    except (ValueError, OverflowError):
      converted = math.nan
    if math.isfinite(converted):
      return converted
  raise ToolArgumentError(f"{where} must be {_NOUNS[hint]}, got {_shown(value)}")


def shortened(text: str, chars: int = 3 * _SHOWN_CHARS) -> str:
  """The beginning of a text, with dots where it was cut."""
  return text if len(text) <= chars else text[:chars] + "..."


def _shown(value: Any) -> str:
  return shortened(repr(value), _SHOWN_CHARS)


def _is_optional(hint: Any) -> bool:
  inner = typing.get_args(hint)
  return typing.get_origin(hint) in (typing.Union, types.UnionType) and len(inner) == 2 and type(None) in inner


def _without_none(hint: Any) -> Any:
  return next(option for option in typing.get_args(hint) if option is not type(None))


def _described_arguments(function: Callable[..., Any]) -> dict[str, str]:
  """Name to text of the `Args:` section of a Google-style docstring."""
  section = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", inspect.getdoc(function) or "", re.MULTILINE)
  if section is None:
    return {}
  entries = re.split(r"^ {2,4}(?=\w+(?: \([^)]*\))?: )", section.group(1), flags=re.MULTILINE)[1:]
  pairs = (entry.split(":", 1) for entry in entries)
  return {name.split(" (")[0].strip(): " ".join(text.split()) for name, text in pairs}
