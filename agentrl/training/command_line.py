"""What the launchers share: errors that a user can act on are one message, and everything else keeps its traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable

from agentrl.training.checkpoint import CheckpointError
from agentrl.training.config import ConfigError
from agentrl.training.disk import DiskFullError
from agentrl.training.run_folder import RunFolderError

EXPECTED = (ConfigError, RunFolderError, CheckpointError, DiskFullError, ValueError, FileNotFoundError, RuntimeError)


def run_command(command: Callable[[], None], *, traceback: bool, interrupted: str) -> int:
  """Runs a command; returns the exit status.

  Args:
    traceback: let expected errors through, to see where they came from.
    interrupted: what to tell a user who pressed Ctrl-C.
  """
  try:
    command()
  except KeyboardInterrupt:
    print(f"\nInterrupted. {interrupted}", file=sys.stderr)
    return 130
  except EXPECTED as error:
    if traceback:
      raise
    print(f"{type(error).__name__}: {error}", file=sys.stderr)
    return 1
  return 0
