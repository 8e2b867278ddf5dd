"""Environments, tools and tasks: host code, without JAX.

`make` turns the strings of a config into a `TaskSource`: tasks by index, and a fresh environment for each trajectory.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agentrl.envs import tasks
from agentrl.envs.base import Environment, Setting, ToolEnvironment
from agentrl.envs.named import by_name
from agentrl.envs.tool import ToolLimits, ToolSpec
from agentrl.types import Action, Message, Task

if TYPE_CHECKING:
  from agentrl.envs.hosting import EnvironmentPool, Hosting

__all__ = ["TOOLS", "Recipe", "TaskSource", "make"]

_LAST_EXAMPLE = 2**31 - 1  # index of the first few-shot example; training counts up from 0 and never gets there
_SESSION_CALLS = 16  # calls of a Python session that may use all of their time


def _no_tools(limits: ToolLimits) -> Any:
  del limits
  return object()


def _calculator(limits: ToolLimits) -> Any:
  del limits
  from agentrl.envs.tools.calculator import Calculator

  return Calculator()


def _python(limits: ToolLimits) -> Any:
  """Its guest is killed before the call's deadline, and half of what is shown is kept for a traceback."""
  from agentrl.envs.sandbox import Limits, shared_pool
  from agentrl.envs.tools.python import PythonTool

  guest = Limits(wall_seconds=0.8 * limits.call_seconds, cpu_seconds=math.ceil(limits.call_seconds))
  return PythonTool(shared_pool(guest), stdout_chars=math.ceil(limits.max_output_chars / 2))


def _python_session(limits: ToolLimits) -> Any:
  """As `_python`; CPU time is that of all calls of an episode."""
  from agentrl.envs.sandbox import Limits, shared_pool
  from agentrl.envs.tools.python import PythonSession

  guest = Limits(wall_seconds=0.8 * limits.call_seconds, cpu_seconds=math.ceil(_SESSION_CALLS * limits.call_seconds))
  return PythonSession(shared_pool(guest), stdout_chars=math.ceil(limits.max_output_chars / 2))


def _lookup(limits: ToolLimits) -> Any:
  del limits
  from agentrl.envs.tasks.key_lookup import KeyTable

  return KeyTable()


def _files(limits: ToolLimits) -> Any:
  from agentrl.envs.tools.files import FileLimits, FileTool

  return FileTool(FileLimits(page_chars=_room(limits)))


def _sql(limits: ToolLimits) -> Any:
  """A statement is stopped before the call's deadline."""
  from agentrl.envs.tools.sql import SqlLimits, SqlTool

  return SqlTool("sqlite", SqlLimits(seconds=0.6 * limits.call_seconds, table_chars=_room(limits)))


def _duckdb(limits: ToolLimits) -> Any:
  from agentrl.envs.tools.sql import SqlLimits, SqlTool

  return SqlTool("duckdb", SqlLimits(seconds=0.6 * limits.call_seconds, table_chars=_room(limits)))


def _search(limits: ToolLimits) -> Any:
  from agentrl.envs.tools.search import SearchLimits, SearchTool

  return SearchTool(limits=SearchLimits(page_chars=_room(limits)))


def _room(limits: ToolLimits) -> int:
  """Characters of a page, so that the note on how to read on is not cut."""
  return max(limits.max_output_chars - 200, 100)


# Toolsets by name, made anew for each environment. What a tool needs is imported when it is asked for.
TOOLS: Mapping[str, Callable[[ToolLimits], Any]] = {
  "none": _no_tools,
  "calculator": _calculator,
  "python": _python,
  "python_session": _python_session,
  "lookup": _lookup,
  "files": _files,
  "sql": _sql,
  "duckdb": _duckdb,
  "search": _search,
}


@dataclasses.dataclass(frozen=True)
class Recipe:
  """What an environment is made from; plain data, so that another process can make it.

  Attributes:
    family: see `tasks.find`. tool: key of `TOOLS`; "" for a family of `tasks.WORLDS`.
    setting: system message, examples and limits.
  """

  family: str
  tool: str
  setting: Setting

  def environment(self) -> Environment:
    """A fresh one, for one trajectory."""
    module = tasks.load(self.family)
    if not self.tool:
      return module.environment(self.setting)
    return ToolEnvironment(TOOLS[self.tool](self.setting.limits), module.check, self.setting)


@dataclasses.dataclass(frozen=True)
class TaskSource:
  """Tasks of one family, and environments that serve them with one tool.

  Attributes:
    tools: what the policy may call in every environment; one whose tools depend on the task has more.
    task: `task(index, split)` with split "train" or "held_out"; pure.
    environment: `environment()` makes a fresh one, for one trajectory.
    oracle: `oracle(task)` gives actions that solve it: tool calls, then the answer.
    pool: of the worker processes that the environments live in; None: they live in this process.
  """

  tools: Sequence[ToolSpec]
  task: Callable[[int, str], Task]
  environment: Callable[[], Environment]
  oracle: Callable[[Task], list[Action]]
  pool: EnvironmentPool | None = None

  def close(self) -> None:
    """Ends the worker processes, if there are any."""
    if self.pool is not None:
      self.pool.close()


def make(
  family: str,
  tool: str,
  *,
  difficulty: int = 1,
  options: Mapping[str, Any] | None = None,
  system: str = "",
  examples: int = 0,
  call_seconds: float = 5.0,
  max_output_chars: int = 2000,
  hosting: Hosting | None = None,
  backend: str = "local",
) -> TaskSource:
  """Tasks and environments from the strings and numbers of a config.

  Args:
    family: key of `tasks.FAMILIES`, or the import path of a module of yours.
    tool: key of `TOOLS`; "" for a family in `tasks.WORLDS`, which brings its own environment.
    difficulty: the family's dial.
    options: further keyword arguments of the family's `generate`.
    system: system message; empty for none.
    examples: solved tasks that open every episode, from the far end of the train split. They are solved here and
      now, with the tool itself.
    call_seconds: deadline of one tool call.
    max_output_chars: characters of a tool's output that the policy sees.
    hosting: worker processes for the environments; None: they live in this process.
    backend: where those are: key of `hosting.WORKERS`.

  Raises:
    ValueError: an unknown family or tool, a tool for a world, or one that cannot solve the family; a family that asks
      for worker processes and gets none; whatever `generate` refuses.
  """
  module = tasks.load(family)
  _check_tool(family, tool)
  pool = _pool(family, hosting, backend)
  options = dict(options or {})

  def task(index: int, split: str) -> Task:
    return module.generate(index, split=split, difficulty=difficulty, **options)

  def oracle(task: Task) -> list[Action]:
    return list(module.oracle(task, tool)) if pool is None else pool.oracle(task, tool)

  def environment(recipe: Recipe) -> Environment:
    return recipe.environment() if pool is None else pool.environment(recipe)

  setting = Setting(system, limits=ToolLimits(call_seconds, max_output_chars))
  bare = Recipe(family, tool, setting)
  specs = bare.environment().tools
  oracle(task(_LAST_EXAMPLE, "train"))  # a wrong option or tool is an error here, not in the first rollout
  shown: list[Message] = []
  for number in range(examples):
    example = task(_LAST_EXAMPLE - number, "train")
    shown += _solved(environment(bare), example, oracle(example))
  recipe = dataclasses.replace(bare, setting=dataclasses.replace(setting, examples=tuple(shown)))
  return TaskSource(specs, task, functools.partial(environment, recipe), oracle, pool)


def _pool(family: str, hosting: Hosting | None, backend: str) -> EnvironmentPool | None:
  isolation = tasks.find(family).isolation
  if hosting is None and isolation is not tasks.Isolation.NONE:
    raise ValueError(
      f"environments of {family} need worker processes of their own, since the library behind them has global state or "
      "starts processes: set hosting.processes to how many there may be"
    )
  if hosting is None:
    return None
  from agentrl.envs.hosting import WORKERS, EnvironmentPool

  alone = isolation is tasks.Isolation.EXCLUSIVE
  hosting = dataclasses.replace(hosting, episodes=1) if alone else hosting
  return EnvironmentPool(family, hosting, by_name(WORKERS, backend, kind="backend of workers")())


def _check_tool(family: str, tool: str) -> None:
  world = tasks.find(family).world
  if tool and world:
    raise ValueError(f"{family} brings its own tools or has none, and takes no tool, not even {tool!r}; set it to ''")
  if not tool and not world:
    raise ValueError(f"{family} tasks need a tool: {', '.join(TOOLS)}; '' is for {', '.join(tasks.WORLDS)}")
  if tool:
    by_name(TOOLS, tool, kind="tool")


def _solved(environment: Environment, task: Task, actions: Sequence[Action]) -> list[Message]:
  """An oracle's episode as messages: the question, then turns and what the tool gave, or the reply."""
  messages = environment.reset(task, 0)[-1:]
  for action in actions:
    observation = environment.step(action)
    messages.append(Message("assistant", action=action))
    if not observation.done:
      role = "tool" if observation.results else "user"
      messages.append(Message(role, observation.text, name=observation.name))
  environment.close()
  if not observation.done or observation.parts["correct"] != 1.0:
    raise ValueError(f"example {task.id} was not solved by its oracle: {observation}")
  return messages
