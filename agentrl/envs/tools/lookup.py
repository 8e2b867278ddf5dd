"""The tool "lookup": the value of a key, from the table of the task."""

from __future__ import annotations

from agentrl.envs.tool import Toolset
from agentrl.types import Task

NO_SUCH_KEY = "no such key"


class KeyTable(Toolset):
  """The table of one task."""

  def __init__(self):
    self._table: dict[str, str] = {}

  def reset(self, task: Task, seed: int) -> None:
    """Takes the task's table; not a tool.

    Raises:
      ValueError: the task has none.
    """
    del seed
    if "table" not in task.data:
      raise ValueError(f"the tool 'lookup' needs a task with a table, such as key_lookup's; task {task.id} has none")
    self._table = dict(task.data["table"])

  def lookup(self, key: str) -> str:
    """Looks up the value of a key.

    Args:
      key: the whole key.
    """
    return self._table.get(key.strip().lower(), NO_SUCH_KEY)
