"""Values as Java and JavaScript source text: read as upstream reads them, and written so that they are read back.

Upstream reads with patterns and not with a grammar, and takes text that does not fit for a variable, which stays text.
What it reads wrongly (commas in strings, quotes in arrays of Java strings) is read wrongly here too.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

_INTEGER = r"-?\d+$"
_JAVA_DECIMAL = r"-?\d+(\.\d+)?([eE][+-]?\d+)?"
_SCALARS: dict[str, dict[str, tuple[str, Callable[[str], Any]]]] = {
  "java": {
    **dict.fromkeys(("byte", "short", "integer"), (_INTEGER, int)),
    "long": (r"-?\d+[lL]$", lambda text: int(text.strip()[:-1])),
    "float": (_JAVA_DECIMAL + "[fF]$", lambda text: float(text.strip()[:-1])),
    "double": (_JAVA_DECIMAL + "$", float),
    "boolean": (r"(?:true|false)\Z", lambda text: text == "true"),
  },
  "javascript": {
    "integer": (_INTEGER, int),
    "Bigint": (r"-?\d+n$", lambda text: int(text.strip()[:-1])),
    "float": (r"-?\d+(\.\d+)?$", float),
    "Boolean": (r"(?:true|false)\Z", lambda text: text == "true"),
  },
}


def _rows(closing: str) -> str:
  """A pattern of rows up to the closing bracket. A row ends where the next one or that bracket follows."""
  row = rf"\[(?:[^\]\n]|\](?!\s*(?:,\s*\[|{closing})))*+\]\s*+"
  return rf"\s*{row}(?:,\s*{row})*+{closing}"


# The policy wrote what is read here. No pattern takes more than the square of its length: what "+" behind a repetition
# or "(?>" has matched is not tried in another way.
_NESTED = re.compile(r"\[" + _rows(r"\]") + r"|\bnew\s+Array\(" + _rows(r"\)"))


def read(text: str, kind: str, language: str, items: str = "") -> Any:
  """The value of source text, or the text where it is none of the kind.

  Args:
    text: an expression.
    kind: upstream's type, such as "ArrayList".
    language: "java" or "javascript".
    items: type of the elements, where upstream tells.
  """
  if kind in _SCALARS[language]:
    pattern, convert = _SCALARS[language][kind]
    return convert(text) if re.match(pattern, text) else text
  readers = {
    ("java", "ArrayList"): _java_list,
    ("java", "Array"): _java_array,
    ("java", "HashMap"): _java_map,
    ("javascript", "array"): _javascript_array,
    ("javascript", "dict"): _javascript_object,
    ("javascript", "String"): lambda text, _: _without_quotes(text),
  }
  reader = readers.get((language, kind))
  return text if reader is None else reader(text, items)


def write(value: Any, kind: str, language: str, items: str = "") -> Iterator[str]:
  """Ways to write a value that upstream may read back, the proper one first.

  Args:
    value: what it should be read as; a string may be the name of a variable.
    kind: see `read`.
    language: see `read`.
    items: see `read`.
  """
  if isinstance(value, str):
    yield value
  elif language == "java":
    yield from _java_forms(value, kind, items)
  else:
    yield _javascript_text(value, kind)


def _java_list(text: str, items: str) -> Any:
  if found := re.search(r"new\s+ArrayList<\w*>\(Arrays\.asList\((.+?)\)\)", text):
    return [_java_item(part, items) for part in found[1].split(",")]
  if found := re.search(r"new\s+ArrayList<\w*>\(\)\s*\{\{(.+?)\}\}", text, re.DOTALL):
    return [_java_item(part, items) for part in re.findall(r"add\((.+?)\)", found[1])]
  return [] if re.search(r"new\s+ArrayList<\w*>\(\)", text) else text


def _java_item(text: str, items: str) -> Any:
  text = text.strip()
  if items in ("char", "String"):
    return text[1:-1]
  return read(text, items, "java") if items else _java_guess(text)


def _java_array(text: str, items: str) -> Any:
  found = re.search(r"new\s+\w+\[\]\s*\{(.*?)\}", text)
  if found is None:
    return text
  parts = [part.strip() for part in found[1].split(",") if part.strip()]
  return [read(part, items, "java") if items else _java_guess(part) for part in parts]


def _java_map(text: str, items: str) -> Any:
  del items
  if found := re.search(r"new\s+HashMap<(?>.*?>\s*\(\))\s*\{\s*+\{?+([^}]*+)\}", text, re.DOTALL):
    pairs = re.findall(r"put\(\"(?>(.*?)\",\s*)(.*?)\)", found[1])
    return {key: _java_guess(value.strip()) for key, value in pairs}
  return {} if re.search(r"new\s+HashMap<.*?>\s*\(\)", text) else text


def _java_guess(text: str) -> Any:
  """A value whose type nobody tells."""
  if text.startswith('"') and text.endswith('"'):
    return text[1:-1]
  return _first_read(text, "java", ("boolean", "long", "float"))


def _javascript_array(text: str, items: str) -> Any:
  text = text.strip()
  if found := _NESTED.match(text):
    rows = re.findall(r"\[(.*?)\]", found[0])
    rows[0] = rows[0].strip().removeprefix("[")
    return [[_javascript_guess(part) for part in row.strip().split(",")] for row in rows]
  found = re.match(r"\[(.*?)\]|\bnew\s+Array\((.*?)\)", text)
  if found is None:
    return text
  inner = (found[1] if found[1] is not None else found[2]).strip()
  parts = [part.strip() for part in inner.split(",")] if inner else []
  return [read(part, items, "javascript") if items else _javascript_guess(part) for part in parts]


def _javascript_object(text: str, items: str) -> Any:
  del items
  text = text.strip()
  found = re.match(r"\{(.*?)\}", text)
  if text == "{}" or found is None:
    return {} if text == "{}" else text
  pairs = re.findall(r"([^:]+):\s*(.*?)(?:,\s*(?=[^,]+:)|$)", found[1])
  return {key.strip().strip("'\""): _javascript_field(value.strip()) for key, value in pairs}


def _javascript_field(text: str) -> Any:
  if text.startswith("[") and text.endswith("]"):
    return _javascript_array(text, "")
  if text.startswith("{") and text.endswith("}"):
    return _javascript_object(text, "")
  return _javascript_guess(text.strip("'\""))


def _javascript_guess(text: str) -> Any:
  text = text.strip()
  unquoted = _without_quotes(text)
  return unquoted if unquoted != text else _first_read(text, "javascript", ("Boolean",))


def _without_quotes(text: str) -> str:
  quoted = any(text.startswith(quote) and text.endswith(quote) for quote in "\"'")
  return text[1:-1] if quoted else text


def _first_read(text: str, language: str, kinds: Sequence[str]) -> Any:
  """As the first kind that fits, or a number of Python's, or the text."""
  for kind in kinds:
    value = read(text, kind, language)
    if not isinstance(value, str):
      return value
  for convert in (int, float):
    try:
      return convert(text)
    except ValueError:
      pass  # not such a number
  return text


def _java_forms(value: Any, kind: str, items: str) -> Iterator[str]:
  scalar = functools.partial(_java_scalar, kind=items)
  if kind == "ArrayList":
    yield f"new ArrayList<>(Arrays.asList({', '.join(map(scalar, value))}))"
  elif kind == "Array":
    yield f"new {items or 'Object'}[]{{{', '.join(map(scalar, value))}}}"
    yield f"new {items or 'Object'}[]{{{', '.join(map(str, value))}}}"  # upstream does not take quotes off
  elif kind == "HashMap":
    puts = " ".join(f'put("{key}", {_java_scalar(inner, "")});' for key, inner in value.items())
    yield f"new HashMap<String, Object>() {{{{ {puts} }}}}"
  else:
    yield _java_scalar(value, kind)


def _java_scalar(value: Any, kind: str) -> str:
  if isinstance(value, bool):
    return str(value).lower()
  suffix = {"long": "L", "float": "f"}.get(kind, "")
  return f'"{value}"' if isinstance(value, str) else f"{value}{suffix}"


def _javascript_text(value: Any, kind: str = "") -> str:
  if isinstance(value, bool):
    return str(value).lower()
  if isinstance(value, list):
    return f"[{', '.join(map(_javascript_text, value))}]"
  if isinstance(value, dict):
    return "{" + ", ".join(f'"{key}": {_javascript_text(inner)}' for key, inner in value.items()) + "}"
  return f'"{value}"' if isinstance(value, str) else f"{value}{'n' if kind == 'Bigint' else ''}"
