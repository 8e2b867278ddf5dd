"""Whatever a tool gave, as text that any tokenizer takes: valid, free of NULs, and cut to a length that is said."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping, Set
from typing import Any

SURROGATE = re.compile("[\ud800-\udfff]")  # half of a pair: JSON can write a lone one, and no text has it
_REPLACED = re.compile(rf"{SURROGATE.pattern}|\x00")
_ADDRESS = re.compile(r"<.* at 0x[0-9A-Fa-f]+>+", re.DOTALL)
_ERROR_CHARS = 300


def to_text(value: Any) -> str:
  """A tool's return value as text: strings as they are, bytes decoded, containers as JSON, anything else by `str`.

  The text is a plain `str`, whatever a class of the tool's own made of one.

  Raises:
    TypeError: it has no text: a generator or an iterator, which has not run yet, or an object that shows nothing but
      its address in memory, which is another one in every run.
  """
  if value is None:
    return ""
  if isinstance(value, str):
    return str.__str__(value)
  if isinstance(value, bytes | bytearray | memoryview):
    return bytes(value).decode("utf-8", errors="replace")
  if isinstance(value, list | tuple | Mapping | Set | bool):
    return json.dumps(_plain(value), ensure_ascii=False)
  text = str.__str__(str(value))
  if isinstance(value, Iterator | AsyncIterator | Awaitable) or _ADDRESS.fullmatch(text):
    raise TypeError(
      f"the tool returned an object of the type {type(value).__name__}, which has no text; it should return a string, "
      "or a list or dict of strings and numbers"
    )
  return text


def _plain(value: Any) -> Any:
  """What JSON knows: dicts, lists (a set in order), strings, numbers, booleans and None; anything else as text."""
  if isinstance(value, Mapping):
    return {key if _is_json_scalar(key) else to_text(key): _plain(inner) for key, inner in value.items()}
  if isinstance(value, list | tuple):
    return [_plain(inner) for inner in value]
  if isinstance(value, Set):
    return [_plain(inner) for inner in sorted(value, key=repr)]
  return value if _is_json_scalar(value) else to_text(value)


def _is_json_scalar(value: Any) -> bool:
  return value is None or isinstance(value, str | int | float | bool)


def clean(text: str, max_chars: int) -> str:
  """Cuts to `max_chars` characters with a note, and replaces lone surrogates and NULs; "[no output]" where empty."""
  shown = _REPLACED.sub("\ufffd", text[:max_chars])
  if len(text) > max_chars:
    return f"{shown}\n[output cut: {len(text)} characters, first {max_chars} shown]"
  return shown or "[no output]"


def error_line(error: BaseException) -> str:
  """An exception on one short line, such as "ZeroDivisionError: division by zero"."""
  line = f"{type(error).__name__}: {' '.join(_said_by(error)[:_ERROR_CHARS].split())}"
  return _REPLACED.sub("\ufffd", line.rstrip(": "))


def words_of(error: BaseException, max_chars: int = sys.maxsize) -> str:
  """What an exception says, cut to `max_chars` characters; the name of its class where it says nothing."""
  said = _said_by(error)
  shown = said if len(said) <= max_chars else f"{said[:max_chars]} [cut: {len(said)} characters]"
  return _REPLACED.sub("\ufffd", shown) or type(error).__name__


def _said_by(error: BaseException) -> str:
  """`str(error)`; nothing where the exception's own class breaks in `__str__`."""
  try:
    return str.__str__(str(error))
  except (Exception, SystemExit):
    return ""
