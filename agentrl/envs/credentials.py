"""Tokens, passwords and keys in settings: what may be written down of settings that hold some.

A config that names a server may have to name what opens it. Such values are for the server alone. A config refers to
variables of the trainer's environment instead, and where it holds a value all the same, what is written of it, to a
file or a tracker, has `HIDDEN` in its place. These are taken for credentials:

- every value of a section called "env" or "headers";
- a text under a name that says so, such as "api_key", "token" or "db_password", also as a flag among arguments;
- user, password and query of a URL.

A reference to a variable, "${NAME}", is none.
"""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

HIDDEN = "<redacted>"

_SECTIONS = ("env", "headers")
_NAMES = re.compile(
  r"(?:^|_)(?:(?:api|access|private|secret)_?key|token|secret|password|passwd|credentials?|authorization|auth|cookie)$"
)
_REFERENCE = re.compile(r"\$\{(\w+)\}")
_SHORTEST = 6  # characters of a value that is looked for in texts: shorter ones would be found in words


def without(settings: Any, name: str = "") -> Any:
  """The same JSON value with `HIDDEN` in the place of each credential; `name` is what the value is called."""
  if isinstance(settings, Mapping):
    inner = name if name in _SECTIONS else ""
    return {key: without(value, inner or str(key)) for key, value in settings.items()}
  if isinstance(settings, str):
    return _without(settings, name)
  if isinstance(settings, Sequence):
    names = [_flag(before) or name for before in ("", *settings[:-1])] if settings else ()
    return type(settings)(without(value, called) for value, called in zip(settings, names, strict=True))
  return HIDDEN if name in _SECTIONS and settings is not None else settings


def is_hidden(text: str) -> bool:
  """Whether a text is what `without` leaves of one."""
  return HIDDEN in urllib.parse.unquote(text)


def filled(text: str, variables: Mapping[str, str]) -> str:
  """The text with the values of variables in the place of "${NAME}".

  Raises:
    ValueError: there is no such variable.
  """
  for name in references(text):
    if name not in variables:
      raise ValueError(f"{text!r} refers to the environment variable {name!r}, which is not set")
  return _REFERENCE.sub(lambda found: variables[found[1]], text)


def references(text: str) -> list[str]:
  """Names of the variables that a text refers to."""
  return _REFERENCE.findall(text)


def cut_out(text: str, values: Sequence[str]) -> str:
  """A text, such as an error of a server, with `HIDDEN` in the place of each of the values that is found in it.

  A value is also found as JSON writes it.
  """
  forms = {form for value in values if len(value) >= _SHORTEST for form in _forms(value)}
  for form in sorted(forms, key=len, reverse=True):
    text = text.replace(form, HIDDEN)
  return text


def cut_out_of_json(whole: Any, values: Sequence[str]) -> Any:
  """A JSON value whose texts, keys too, are without the values."""
  if isinstance(whole, str):
    return cut_out(whole, values)
  if isinstance(whole, Mapping):
    return {cut_out_of_json(key, values): cut_out_of_json(value, values) for key, value in whole.items()}
  return [cut_out_of_json(value, values) for value in whole] if isinstance(whole, list) else whole


def _forms(value: str) -> set[str]:
  """As it is, and as it stands within a text of JSON."""
  return {value, *(json.dumps(value, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False))}


def in_url(url: str) -> list[str]:
  """The values in a URL that count as credentials: user, password, and those of the query."""
  parts = urllib.parse.urlsplit(url)
  query = [value for _, value in urllib.parse.parse_qsl(parts.query)]
  return [urllib.parse.unquote(value) for value in (parts.username, parts.password, *query) if value]


def _without(text: str, name: str) -> str:
  if not text or _is_reference(text):
    return text
  if name in _SECTIONS or _is_telling(name):
    return HIDDEN
  called = re.match(r"(-*[\w.-]+)(=|: *)", text)  # an argument such as "--token=x", or a header
  if called and _is_telling(called[1]):
    return called[0] + HIDDEN
  head = called[0] if called and called[2] == "=" else ""
  return head + _without_in_url(text[len(head) :]) if "://" in text else text


def _is_telling(name: str) -> bool:
  """Whether a name, be it "db-password" or "apiKey", says that the value is a credential."""
  words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[.-]", "_", name)
  return _NAMES.search(words.lower()) is not None


def _is_reference(text: str) -> bool:
  """It holds a reference, and beside it no more than a word such as "Bearer"."""
  return bool(_REFERENCE.search(text)) and re.fullmatch(r"[A-Za-z]* ?", _REFERENCE.sub("", text)) is not None


def _without_in_url(url: str) -> str:
  try:
    parts = urllib.parse.urlsplit(url)
    query = urllib.parse.parse_qsl(parts.query, keep_blank_values=True)
  except ValueError:  # no URL
    return url
  user, at, host = parts.netloc.rpartition("@")
  kept = [(name, value if not value or _is_reference(value) else HIDDEN) for name, value in query]
  query = urllib.parse.urlencode(kept, safe="<>${}")
  netloc = f"{user if _is_reference(user) else HIDDEN}@{host}" if at else host
  return urllib.parse.urlunsplit(parts._replace(netloc=netloc, query=query))


def _flag(argument: Any) -> str:
  """The name of a flag whose value is the argument behind it."""
  return argument if isinstance(argument, str) and re.fullmatch(r"--?[\w-]+", argument) else ""
