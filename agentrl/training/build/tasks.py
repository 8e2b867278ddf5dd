"""From the sections `task` and `hosting` to tasks and environments."""

from __future__ import annotations

from ml_collections import ConfigDict

from agentrl import envs
from agentrl.envs.hosting import Hosting
from agentrl.settings import above, at_least, from_function

TaskSettings = from_function(
  envs.make,
  "TaskSettings",
  ranges={
    "difficulty": at_least(0),
    "examples": at_least(0),
    "call_seconds": above(0),
    "max_output_chars": at_least(1),
  },
  given={"family": "arithmetic", "tool": "calculator", "options": {}, "tool_options": {}},
)


def open_tasks(task: ConfigDict, hosting: ConfigDict, *, environment_seconds: float) -> envs.TaskSource:
  """Tasks and environments as the config has them; whoever is done with them closes them.

  Args:
    task: section of a config.
    hosting: section of a config.
    environment_seconds: that one environment call may take.

  Raises:
    ValueError: a wrong setting; names the section.
  """
  hosted = Hosting(**hosting, call_seconds=environment_seconds)
  try:
    return envs.make(**task.to_dict(), hosting=hosted)
  except ValueError as error:
    raise ValueError(f"task: {error}") from error
