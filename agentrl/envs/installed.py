"""Installed packages: where they are, and the files that they bring."""

from __future__ import annotations

import importlib.util
import os
import sys
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


def search_path() -> str:
  """PYTHONPATH of a process, in whatever folder, that is to find the same modules as this one."""
  return os.pathsep.join(part or os.getcwd() for part in sys.path)
