"""Warnings that are told once, or a few times: tools and their servers are made anew for every trajectory."""

from __future__ import annotations

import functools
import logging

_FEW = 20


@functools.lru_cache(maxsize=1024)
def warn_once(log: logging.Logger, text: str) -> None:
  """Logs a warning, unless the same one was logged before."""
  log.warning("%s", text)


class FewWords(logging.Filter):
  """Lets the first 20 records of a logger through, without tracebacks: of a library that logs what a server sends."""

  def __init__(self):
    super().__init__()
    self._count = 0

  def filter(self, record: logging.LogRecord) -> bool:
    """Whether to log it."""
    self._count += 1
    record.exc_info = record.exc_text = None
    if self._count == _FEW:
      record.msg = f"{record.msg} (the last of {_FEW} that are told)"
    return self._count <= _FEW
