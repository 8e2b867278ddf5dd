"""What the launchers share: which errors of a run a user can act on, and where wrong settings came from."""

from __future__ import annotations

import contextlib
import functools
import pathlib
from collections.abc import Iterator

from agentrl import command_line
from agentrl.envs.sandbox import SandboxUnavailable
from agentrl.ops.finite import NonFinite
from agentrl.training.checkpoint import CheckpointError
from agentrl.training.config_values import ConfigError
from agentrl.training.evaluation import EnvironmentsFailed
from agentrl.training.left_out import TasksLeftOut
from agentrl.training.loop import NothingToTrainOn
from agentrl.training.run_folder import RunFolderError
from agentrl.types import EnvironmentFailed

# How a run ends that can go no further; what it has measured so far says why.
ENDED = (EnvironmentsFailed, NonFinite, NothingToTrainOn, TasksLeftOut)
EXPECTED = (
  *command_line.EXPECTED, *ENDED, RunFolderError, CheckpointError, EnvironmentFailed, SandboxUnavailable,
)  # fmt: skip


@contextlib.contextmanager
def settings_of(where: str) -> Iterator[None]:
  """Wrong settings are found deep inside, by code that does not know their file: adds it to the message.

  Where a file or a module is missing it may be a setting that names it: what says so keeps its words, with a note.
  """
  try:
    yield
  except ConfigError:
    raise
  except (OSError, ImportError) as error:
    error.add_note(f"(in the run of {where})")
    raise
  except ValueError as error:
    raise ValueError(f"{where}: {error}") from error


def check_out(path: pathlib.Path | None) -> None:
  """Raises FileNotFoundError, before the work is done, where a file for its result could not be written."""
  if path is not None and not path.absolute().parent.is_dir():
    raise FileNotFoundError(f"--out {path}: there is no folder {path.parent}; make it, or give another file")


# `agentrl.command_line.run_command`, with the errors of a run.
run_command = functools.partial(command_line.run_command, expected=EXPECTED)
