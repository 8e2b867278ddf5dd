"""Reads metrics.jsonl, for the run that goes on and for its report; `training/metrics.py` says what a line is.

And the names of metrics: those that a function may report, and those that are the run's own.
"""

from __future__ import annotations

import json
import math
import pathlib
from collections.abc import Collection, Mapping
from typing import Any

# Groups of metrics that a run itself reports.
RUN_GROUPS = (
  "train", "update", "optimizer", "time", "rollout", "reward", "eval", "eval_search", "hosting", "curriculum",
)  # fmt: skip
_SHOWN_BYTES = 60  # of a wrong line, in its error


def read_metrics(path: pathlib.Path) -> list[dict[str, Any]]:
  """The lines of a metrics.jsonl; a last line that a kill cut short is left out.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: any other line is not one that a run wrote; names it.
  """
  *whole, _ = path.read_bytes().split(b"\n")
  return [_line(text, f"{path} is damaged, line {number}") for number, text in enumerate(whole, 1)]


def check_names(names: Collection[Any], *, named: str, taken: Collection[str] = RUN_GROUPS) -> None:
  """Checks the names of metrics that a function reports.

  Args:
    names: of its metrics.
    named: the function, and the key of the config that chooses it.
    taken: groups, and whole names, that are not for it.

  Raises:
    ValueError: one is not of the form "group/name", or would write over a metric of the run.
  """
  for name in names:
    if not isinstance(name, str) or not all(name.partition("/")):
      raise ValueError(f"{named} reports a metric called {name!r}: name it 'group/name', such as 'mine/{name}'")
    group, _, rest = name.partition("/")
    if group in taken or name in taken:
      raise ValueError(
        f"{named} reports a metric called {name!r}, which the run reports itself: give it another name, such as "
        f"'mine/{rest}'"
      )


def joined(credit: Mapping[str, Any], objective: Mapping[str, Any]) -> dict[str, Any]:
  """The metrics of an update: those of its credit and those of its objective.

  Raises:
    ValueError: both report one, so that one of the two would be lost; names it.
  """
  if both := sorted(set(credit) & set(objective)):
    raise ValueError(
      f"the credit and the objective both report a metric called {both[0]!r}: give that of the credit, or of the term, "
      "another name"
    )
  return {**credit, **objective}


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
