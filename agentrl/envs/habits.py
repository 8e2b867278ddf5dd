"""Habits of demonstrations: ways in which a task of a family is shown to be solved, by name.

Every family has those of `habits_of`. A family that knows more, such as calling a tool where nothing needs it, lists
them:

  HABITS = {"always": always}          always(task, tool) -> list[Action]

A habit of yours is named by its import path, and is such a function too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType

from agentrl.named import by_name
from agentrl.types import Action, Task, TurnKind

Habit = Callable[[Task, str], list[Action]]  # (task, tool) -> actions

NEEDED, NEVER = "needed", "never"
LEAVES_OUT_CALLS = (NEVER,)  # habits that a family without tools cannot have


def habits_of(module: ModuleType) -> Mapping[str, Habit]:
  """The habits of a family by name.

  "needed" makes the calls that the task needs, as the oracle does; "never" makes none, and gives the oracle's answer at
  once. Those of the family's own `HABITS` come to them.
  """

  def never(task: Task, tool: str) -> list[Action]:
    return [action for action in module.oracle(task, tool) if action.kind is TurnKind.ANSWER]

  return {NEEDED: module.oracle, NEVER: never, **vars(module).get("HABITS", {})}


def demonstration(module: ModuleType, task: Task, tool: str, habit: str) -> list[Action]:
  """What the family shows of a task.

  Raises:
    ValueError: it has no such habit; names the nearest. Or the tool does not solve the task.
  """
  return by_name(habits_of(module), habit, kind="habit", takes=("task", "tool"))(task, tool)
