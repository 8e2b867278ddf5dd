"""The tool "experts": answerers of a task, each of whom is asked by name and has a price."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentrl.envs.schema import ToolArgumentError
from agentrl.envs.tool import Priced, Toolset
from agentrl.types import Task

NOT_KNOWN = "?"


class Experts(Toolset):
  """The answerers of one task.

  data: "experts", for each name what a reply costs, as "price", and its replies by question, as "says".
  """

  def __init__(self):
    self._experts: Mapping[str, Mapping[str, Any]] = {}

  def reset(self, task: Task, seed: int) -> None:
    """Takes the task's answerers; not a tool.

    Raises:
      ValueError: the task has none.
    """
    del seed
    if "experts" not in task.data:
      raise ValueError(f"the tool 'experts' needs a task that has some, such as experts' own; task {task.id} has none")
    self._experts = task.data["experts"]

  def ask(self, question: str) -> Priced:
    """Asks an expert, who may answer "?".

    Args:
      question: whom and what, as in "ann:what".
    """
    name, colon, asked = (part.strip().lower() for part in question.partition(":"))
    if not colon or not asked:
      raise ToolArgumentError("write whom and what you ask, as in ann:what")
    if name not in self._experts:
      raise ToolArgumentError(f"nobody is called {name!r}; you can ask {', '.join(self._experts)}")
    expert = self._experts[name]
    return Priced(expert["says"].get(asked, NOT_KNOWN), expert["price"])
