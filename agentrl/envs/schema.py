"""Type hints and docstrings to JSON schema, and JSON values checked against the hints.

Supported hints: `str`, `int`, `float`, `bool`, `list`, `list[X]`, `dict`, `dict[str, X]`, `Literal[...]`, `X | None`
and `Optional[X]`. Any other hint is an error when the tools are collected, never when the policy calls one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import json
import math
import re
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from agentrl.envs.numbers import number_of

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

  Other hints, such as that of what it returns, are not looked at. A default of None makes its hint `X | None`.

  Raises:
    TypeError: a hint is missing, unknown or not supported, a default is no JSON value that fits its hint, or the
      function takes `*args`, `**kwargs` or positional-only ones, or is not written in Python.
  """
  written = _written(function)
  described = _described_arguments(function)
  parameters = []
  for name, parameter in inspect.signature(function).parameters.items():
    if name == "self":
      continue
    where = f"parameter {name!r} of tool {function.__qualname__}"
    if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
      raise TypeError(f"{where}: tools are called by keyword; *args, **kwargs and positional-only cannot be shown")
    if parameter.annotation is parameter.empty:
      raise TypeError(f"{where} has no type hint; its JSON schema is made from the hint")
    hint = _evaluated(parameter.annotation, written, where)
    required = parameter.default is parameter.empty
    if parameter.default is None and not _is_optional(hint):
      hint = typing.Optional[hint]  # noqa: UP045 (hints that are no types have no `|`)
    schema = dict(schema_of(hint, where))
    if name in described:
      schema["description"] = described[name]
    if not required:
      schema["default"] = _checked_default(parameter.default, hint, where)
    _check_writable(schema, where)
    parameters.append(Parameter(name, hint, schema, required, None if required else parameter.default))
  return tuple(parameters)


def yields(function: Callable[..., Any]) -> bool:
  """Whether calling it gives a generator, which has not run yet."""
  written = _written(function)
  return inspect.isgeneratorfunction(written) or inspect.isasyncgenfunction(written)


def _written(function: Callable[..., Any]) -> types.FunctionType:
  """The function as it was written, under whatever wraps it."""
  inner = inspect.unwrap(function)
  inner = inner.__func__ if inspect.ismethod(inner) else inner
  if not inspect.isfunction(inner):
    raise TypeError(f"{function!r} cannot be a tool: only functions written in Python tell their parameters and hints")
  return inner


def _evaluated(annotation: Any, written: types.FunctionType, where: str) -> Any:
  """A hint, which `from __future__ import annotations` leaves as text, evaluated where the function was written."""
  alone = types.SimpleNamespace(__annotations__={"hint": annotation})
  try:
    hint = typing.get_type_hints(alone, written.__globals__)["hint"]
    hash(hint)  # the tables of hints ask for it
    return hint
  except Exception as error:  # a hint is any expression, and may raise anything
    raise TypeError(
      f"{where} has the hint {annotation!r}, which cannot be evaluated ({error!r}): what it names must be imported "
      f"when the program runs, at the top of {written.__module__}, not for type checkers alone"
    ) from error


def _checked_default(value: Any, hint: Any, where: str) -> Any:
  """A default as the schema shows it; a tuple becomes a list."""
  shown = list(value) if isinstance(value, tuple) else value
  try:
    coerce(shown, hint, "the default")
  except ToolArgumentError as error:
    raise TypeError(f"{where}: {error}; give one that fits the hint, or `X | None = None`") from error
  return shown


def _check_writable(schema: Mapping[str, Any], where: str) -> None:
  """Every prompt shows the schema as JSON: what cannot be written is told before there is one."""
  try:
    json.dumps(schema, allow_nan=False, ensure_ascii=False).encode()
  except (TypeError, ValueError) as error:  # one of Unicode is a ValueError
    raise TypeError(f"{where} has a hint or default that cannot be written as JSON: {error}") from error


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
  if hint in (int, float) and (number or isinstance(value, str)):
    read = number_of(value) if isinstance(value, str) else value
    with contextlib.suppress(TypeError, ValueError, OverflowError):  # of None, NaN, and what is too large for a float
      converted = hint(read)
      if math.isfinite(converted) if hint is float else converted == read:
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
