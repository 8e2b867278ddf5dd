"""What run.json says about a start of a run: time, command, commit, versions, settings of JAX, machine.

It does not say who ran it, or where; config.json, beside it, has the paths of the config as they were given. The
command is told without credentials, see `redacted.py`.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import pathlib
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import jax

from agentrl.training.jax_flags import flags_that_move_numbers
from agentrl.training.redacted import redacted_command

PACKAGES = ("agentrl", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "tokenizers")
_CHECKOUT = pathlib.Path(__file__).parents[2]


def start_record() -> dict[str, Any]:
  """The record of a start that happens now, as JSON values."""
  return {
    "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    "command": shareable(redacted_command(sys.argv)),
    "commit": _commit(),
    "python": platform.python_version(),
    "versions": {name: _version(name) for name in PACKAGES},
    "jax_flags": flags_that_move_numbers(),
    "machine": _machine(),
  }


def shareable(arguments: Sequence[str]) -> list[str]:
  """Arguments of a command as they may be shown to others.

  A path below the checkout or the working directory is given from there, one below the home directory from "~".
  """
  folders = {str(_CHECKOUT): ".", str(pathlib.Path.cwd()): ".", os.path.expanduser("~"): "~"}
  return [_shortened(argument, folders) for argument in arguments]


def _shortened(argument: str, folders: dict[str, str]) -> str:
  for folder, name in folders.items():
    if folder != os.sep:
      # Only where a path begins: at the start, or behind what is no part of a name.
      argument = re.sub(rf"(?<![\w./~-]){re.escape(folder)}(?=/|$|[^\w.-])", name, argument)
  return argument.removeprefix("./")


def _commit() -> str | None:
  """Commit of the code, "+changes" where files differ from it; None outside a git checkout or without git."""

  def git(*arguments: str) -> str:
    command = ["git", "-C", str(pathlib.Path(__file__).parent), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

  try:
    head, changes = git("rev-parse", "HEAD"), git("status", "--porcelain", "--untracked-files=no")
  except (OSError, subprocess.SubprocessError):
    return None
  return head + ("+changes" if changes else "")


def _version(package: str) -> str | None:
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    return None


def _machine() -> dict[str, Any]:
  devices = jax.devices()
  return {
    "system": platform.platform(),
    "processor": _processor(),
    "cores": _cores(),
    "memory_gib": _memory_gib(),
    "devices": f"{len(devices)} x {devices[0].device_kind}",
  }


def _processor() -> str:
  cpuinfo = pathlib.Path("/proc/cpuinfo")
  lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines() if cpuinfo.exists() else []
  names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
  return names[0] if names else platform.machine()


def _cores() -> int | None:
  """Cores that this process may use; all of the machine's where the system does not tell, as on macOS."""
  try:
    return len(os.sched_getaffinity(0))
  except AttributeError:
    return os.cpu_count()


def _memory_gib() -> float | None:
  """None where the system does not tell."""
  try:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
  except (AttributeError, ValueError, OSError):
    return None
