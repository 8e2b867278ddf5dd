"""Text and JSON Lines in files that other people wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def read_text(path: Path) -> str:
  r"""The text of a file in UTF-8; a byte order mark is left out, and "\r\n" becomes "\n".

  Raises:
    ValueError: it is not UTF-8; says where, and what to do.
  """
  try:
    text = path.read_bytes().decode("utf-8-sig")
  except UnicodeDecodeError as error:
    raise ValueError(
      f"{path} is not UTF-8: byte 0x{error.object[error.start]:02x} at {error.start}; save it as UTF-8, for example by "
      f"`iconv -f latin1 -t utf-8`"
    ) from error
  return text.replace("\r\n", "\n")


def read_json_lines(path: Path) -> Iterator[tuple[int, Any]]:
  r"""The number of each line that is not empty, from 1, and its JSON value.

  Only "\n" ends a line: a string of JSON may hold U+2028 and other characters that `str.splitlines` takes for ends.

  Raises:
    ValueError: a line is not JSON, or the file is not UTF-8; says which and where.
  """
  for number, line in enumerate(read_text(path).split("\n"), start=1):
    if not line.strip():
      continue
    try:
      value = json.loads(line)
    except ValueError as error:
      raise ValueError(f"{path}, line {number} is not JSON: {error}") from error
    yield number, value
