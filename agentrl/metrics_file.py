"""Reads metrics.jsonl, for the run that goes on and for its report; `training/metrics.py` says what a line is."""

from __future__ import annotations

import json
import math
import pathlib
from typing import Any

_SHOWN_BYTES = 60  # of a wrong line, in its error


def read_metrics(path: pathlib.Path) -> list[dict[str, Any]]:
  """The lines of a metrics.jsonl; a last line that a kill cut short is left out.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: any other line is not one that a run wrote; names it.
  """
  *whole, _ = path.read_bytes().split(b"\n")
  return [_line(text, f"{path} is damaged, line {number}") for number, text in enumerate(whole, 1)]


def _line(text: bytes, where: str) -> dict[str, Any]:
  advice = f"{text[:_SHOWN_BYTES]!r}; put the file back from a copy"
  try:
    line = json.loads(text)
  except (ValueError, RecursionError) as error:
    raise ValueError(f"{where} is not JSON: {advice}") from error
  if not (isinstance(line, dict) and type(line.get("step")) is int and line.get("wall_s") is not None):
    raise ValueError(f"{where} holds no step and time: {advice}")
  if wrong := [name for name, value in line.items() if not _is_metric(name, value)]:
    raise ValueError(f"{where}: {wrong[0]!r} is no number: {advice}")
  return line


def _is_metric(name: str, value: Any) -> bool:
  return name == "nonfinite" or value is None or (isinstance(value, int | float) and math.isfinite(value))
