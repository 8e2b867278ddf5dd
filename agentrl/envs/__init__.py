"""Environments, tools and tasks: host code, without JAX.

`make` turns the strings of a config into a `TaskSource`: tasks by index, and a fresh environment for each trajectory.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from agentrl.envs import checks, families, habits
from agentrl.envs.base import Environment, Isolation, NoDemonstration, Setting
from agentrl.envs.recipe import Recipe
from agentrl.envs.tool import ToolLimits, ToolSpec
from agentrl.envs.tools import TOOLS, check_options
from agentrl.named import by_name, check_name
from agentrl.types import Action, EnvironmentFailed, Message, Task

if TYPE_CHECKING:
  from agentrl.envs.hosting import EnvironmentPool, Hosting

__all__ = ["TOOLS", "Recipe", "TaskSource", "make"]

_LAST_EXAMPLE = 2**31 - 1  # index of the first few-shot example; training counts up from 0 and never gets there


@dataclasses.dataclass(frozen=True)
class TaskSource:
  """Tasks of one family, and environments that serve them with one tool; or those of several, see `mixture.mix`.

  Attributes:
    tools: what the policy may call in every environment; one whose tools depend on the task has more.
    task: `task(index, split)` with split "train" or "held_out"; pure.
    environment: `environment()` makes a fresh one, for one trajectory.
    oracle: `oracle(task, habit="needed")` gives the actions of a demonstration: tool calls, then the answer.
    habits: names of those that the oracle knows, see `envs/habits.py`; of a mixture those that all entries know.
    pools: of the worker processes that the environments live in; none: they live in this process.
    more_tools: what the policy may call in the environments of some entries of a mixture, and not in all.
  """

  tools: Sequence[ToolSpec]
  task: Callable[[int, str], Task]
  environment: Callable[[], Environment]
  oracle: Callable[..., list[Action]]
  habits: Sequence[str]
  pools: Sequence[EnvironmentPool] = ()
  more_tools: Sequence[ToolSpec] = ()

  def worker_counts(self) -> dict[str, float]:
    """`EnvironmentPool.counts` of all pools together; nothing where there is none."""
    counts = [pool.counts() for pool in self.pools]
    return {name: sum(of_pool[name] for of_pool in counts) for name in (counts[0] if counts else ())}

  @property
  def last_loss(self) -> str:
    """Why worker processes were lost: the last one of each pool."""
    return "; ".join(pool.last_loss for pool in self.pools if pool.last_loss)

  def check_habit(self, name: str) -> None:
    """Raises ValueError where the oracle has no such habit, and names the nearest; or it has no calls to leave out."""
    by_name(dict.fromkeys(self.habits), name, kind="habit")
    if name in habits.LEAVES_OUT_CALLS and not (self.tools or self.more_tools):
      raise ValueError(f"the habit {name!r} leaves tool calls out, and there is no tool")

  def close(self) -> None:
    """Ends the worker processes, if there are any."""
    for pool in self.pools:
      pool.close()


def make(
  family: str,
  tool: str,
  *,
  difficulty: int = 1,
  options: Mapping[str, Any] | None = None,
  tool_options: Mapping[str, Any] | None = None,
  oracle_tool: str = "",
  system: str = "",
  examples: int = 0,
  call_seconds: float = 5.0,
  max_output_chars: int = 2000,
  lost_text: str = "",
  hosting: Hosting | None = None,
) -> TaskSource:
  """Tasks and environments from the strings and numbers of a config.

  Args:
    family: key of `families.FAMILIES`, or the import path of a module of yours.
    tool: key of `TOOLS`, or the import path of a function of yours; "" for a family in `families.WORLDS`, which brings
      its own environment.
    difficulty: the family's dial.
    options: further keyword arguments of the family's `generate`.
    tool_options: of the tool, such as the servers of "mcp", the corpus of "search" or the path of a database.
    oracle_tool: the tool whose calls the oracle makes, where a family's oracle does not know `tool`: "calculator" for a
      server that offers the same tool, "none" for an oracle that answers without one. Empty: `tool`.
    system: system message; empty for none.
    examples: solved tasks that open every episode, from the far end of the train split. They are solved here and
      now, with the tool itself.
    call_seconds: deadline of one tool call.
    max_output_chars: characters of a tool's output that the policy sees.
    lost_text: what a turn is told that has neither a call nor an answer, or a malformed one; empty: in words what was
      wrong, which a small policy of bytes has never seen.
    hosting: worker processes for the environments; None, or without any: they live in this process.

  Raises:
    ValueError: an unknown family or tool, a tool for a world, or one that cannot solve the family or does not start; a
      family that asks for worker processes and gets none; whatever `generate` refuses.
  """
  options = dict(options or {})
  check_settings(family, tool, options=options, tool_options=tool_options, oracle_tool=oracle_tool)
  module = families.load(family)
  pool = _pool(family, hosting)

  def task(index: int, split: str) -> Task:
    return checks.as_task(module.generate(index, split=split, difficulty=difficulty, **options), family)

  def oracle(task: Task, habit: str = habits.NEEDED) -> list[Action]:
    shown = oracle_tool or tool
    if pool is not None:
      return pool.oracle(task, shown, habit)
    return checks.as_actions(habits.demonstration(module, task, shown, habit))

  def environment(recipe: Recipe) -> Environment:
    return recipe.environment() if pool is None else pool.environment(recipe)

  setting = Setting(system, limits=ToolLimits(call_seconds, max_output_chars, lost_text=lost_text))
  bare = Recipe(family, tool, setting, dict(tool_options or {}))
  with contextlib.ExitStack() as on_error:
    if pool is not None:
      on_error.callback(pool.close)
    with contextlib.suppress(NoDemonstration):
      _try(family, task, oracle)  # a wrong option or tool is an error here, not in the first rollout
    specs = _specs(bare)
    shown: list[Message] = []
    for number in range(examples):
      example = task(_LAST_EXAMPLE - number, "train")
      shown += _solved(environment(bare), example, oracle(example), setting)
    on_error.pop_all()
  recipe = dataclasses.replace(bare, setting=dataclasses.replace(setting, examples=tuple(shown)))
  pools = () if pool is None else (pool,)
  return TaskSource(specs, task, functools.partial(environment, recipe), oracle, tuple(habits.habits_of(module)), pools)


def check_settings(
  family: str,
  tool: str,
  *,
  options: Mapping[str, Any] | None = None,
  tool_options: Mapping[str, Any] | None = None,
  oracle_tool: str = "",
) -> None:
  """Checks what of the arguments of `make` can be checked before a task is made or a tool is started.

  Raises:
    ValueError: an unknown family, tool, or option of one of them, and names the nearest; or a tool for a world.
    ModuleNotFoundError: what the family needs is not installed, or there is no module at an import path.
  """
  module = families.load(family)
  _check_tool(family, tool)
  if tool_options:
    check_options(tool, tool_options)
  if oracle_tool:
    by_name(TOOLS, oracle_tool, kind="tool")
  _check_options(family, module, options or {})


def _check_options(family: str, module: ModuleType, options: Mapping[str, Any]) -> None:
  """Raises ValueError where the family's `generate` takes no such option; names the nearest."""
  parameters = inspect.signature(module.generate).parameters.values()
  if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
    return
  known = [parameter.name for parameter in parameters if parameter.name not in ("index", "split", "difficulty")]
  for name in options:
    check_name(known, name, kind=f"option of the family {family!r}")


def _try(family: str, task: Callable[[int, str], Task], oracle: Callable[[Task], list[Action]]) -> None:
  """Makes a task and has it solved; what does not work is a wrong setting."""
  try:
    oracle(task(_LAST_EXAMPLE, "train"))
  except TypeError as error:
    if "unexpected keyword argument" not in str(error):
      raise
    raise ValueError(f"the family {family!r} does not take all of these options: {error}") from error
  except EnvironmentFailed as error:
    raise ValueError(str(error)) from error


def _pool(family: str, hosting: Hosting | None) -> EnvironmentPool | None:
  isolation = families.find(family).isolation
  hosted = hosting is not None and hosting.processes > 0
  if not hosted and isolation is not Isolation.NONE:
    raise ValueError(
      f"environments of {family} need worker processes of their own, since the library behind them has global state or "
      "starts processes: set hosting.processes to how many there may be"
    )
  if not hosted:
    return None
  from agentrl.envs.hosting import WORKERS, EnvironmentPool

  alone = isolation is Isolation.EXCLUSIVE
  hosting = dataclasses.replace(hosting, episodes=1) if alone else hosting
  return EnvironmentPool(family, hosting, by_name(WORKERS, hosting.backend, kind="hosting.backend")())


def _specs(recipe: Recipe) -> Sequence[ToolSpec]:
  """What the tools of an environment look like; a tool that does not start is a wrong setting here."""
  try:
    with contextlib.closing(recipe.environment()) as environment:
      return checks.as_tools(environment.tools)
  except EnvironmentFailed as error:
    raise ValueError(str(error)) from error


def _check_tool(family: str, tool: str) -> None:
  world = families.find(family).world
  if tool and world:
    raise ValueError(f"{family} brings its own tools or has none, and takes no tool, not even {tool!r}; set it to ''")
  if not tool and not world:
    raise ValueError(f"{family} tasks need a tool: {', '.join(TOOLS)}; '' is for {', '.join(families.WORLDS)}")
  if tool:
    by_name(TOOLS, tool, kind="tool", takes=("limits",))


def _solved(environment: Environment, task: Task, actions: Sequence[Action], setting: Setting) -> list[Message]:
  """An oracle's episode as messages: the question, then turns and what the tool gave, or the reply."""
  if not actions:
    raise ValueError(f"the family {task.family} has no demonstration of {task.id}; set examples to 0")
  with contextlib.closing(environment):
    messages = checks.as_messages(environment.reset(task, 0))[-1:]
    most = setting.limits.max_calls * setting.limits.max_output_chars
    for action in actions:
      observation = checks.as_observation(environment.step(action), most)
      messages.append(Message("assistant", action=action))
      if not observation.done:
        role = "tool" if observation.results else "user"
        messages.append(Message(role, observation.text, name=observation.name))
  if not observation.done or observation.parts.get("correct") != 1.0:
    raise ValueError(f"example {task.id} was not solved by its oracle: {observation}")
  return messages
