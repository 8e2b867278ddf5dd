"""What the launchers share: errors that a user can act on are one message, and everything else keeps its traceback."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

from agentrl.envs.sandbox import SandboxUnavailable
from agentrl.training.checkpoint import CheckpointError
from agentrl.training.config import ConfigError
from agentrl.training.disk import DiskFullError
from agentrl.training.evaluation import EnvironmentsFailed
from agentrl.training.run_folder import RunFolderError
from agentrl.types import EnvironmentFailed

# ValueError and FileNotFoundError are what settings and paths raise, `ConfigError` among them; ImportError says which
# extra a family or a tool needs.
EXPECTED = (
  ValueError, FileNotFoundError, FileExistsError, ImportError, RunFolderError, CheckpointError, DiskFullError,
  EnvironmentFailed, EnvironmentsFailed, SandboxUnavailable,
)  # fmt: skip


@contextlib.contextmanager
def settings_of(where: str) -> Iterator[None]:
  """Wrong settings are found deep inside, by code that does not know their file: adds it to the message."""
  try:
    yield
  except ConfigError:
    raise
  except ValueError as error:
    raise ValueError(f"{where}: {error}") from error


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
    print(f"{type(error).__name__}: {error}\n(--traceback shows where this came from)", file=sys.stderr)
    return 1
  return 0
