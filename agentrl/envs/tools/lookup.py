"""The tool "lookup": the value of a key, from the table of the task; alone, or beside a calculator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from agentrl.envs.tool import Toolset
from agentrl.envs.tools.calculator import Calculator
from agentrl.types import Task

NO_SUCH_KEY = "no such key"


class KeyTable(Toolset):
  """The table of one task, whose data may say which lookups of an episode go wrong, and for which keys none does.

  data: "table", values by key; "slips", for each lookup in order what it says in place of a "number" or a "key", or
  None where it is right; "sure", keys whose lookups are right all the same.
  """

  def __init__(self):
    self._table: Mapping[str, str] = {}
    self._slips: Iterator[Mapping[str, str] | None] = iter(())
    self._sure: frozenset[str] = frozenset()

  def reset(self, task: Task, seed: int) -> None:
    """Takes the task's table; not a tool.

    Raises:
      ValueError: the task has none.
    """
    del seed
    if "table" not in task.data:
      raise ValueError(f"the tool 'lookup' needs a task with a table, such as key_lookup's; task {task.id} has none")
    self._table = dict(task.data["table"])
    self._slips = iter(task.data.get("slips", ()))
    self._sure = frozenset(task.data.get("sure", ()))

  def lookup(self, key: str) -> str:
    """Looks up the value of a key.

    Args:
      key: the whole key.
    """
    asked, slip = key.strip().lower(), next(self._slips, None)
    if asked not in self._table:
      return NO_SUCH_KEY
    value = self._table[asked]
    if slip is None or asked in self._sure:
      return value
    return slip["number"] if value.isdigit() else slip["key"]


class TableAndCalculator(KeyTable, Calculator):
  """Two tools in one episode: `lookup` in the table of the task, and `calculate`."""
