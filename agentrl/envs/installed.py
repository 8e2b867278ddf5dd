"""Files that installed packages bring."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def folder_of(package: str) -> Path:
  """Where an installed package is, without importing it: what holds data often imports far more.

  Raises:
    ModuleNotFoundError: it is not installed.
  """
  found = importlib.util.find_spec(package)
  if found is None or found.origin is None:
    raise ModuleNotFoundError(f"No module named {package!r}", name=package)
  return Path(found.origin).parent
