"""Environments, tools and tasks: host code, NumPy and the standard library alone.

`make` turns the strings of a config into a `TaskSource`: tasks by index, and a fresh environment for each trajectory.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agentrl.envs import tasks
from agentrl.envs.base import Environment, ToolEnvironment, ToolSpec
from agentrl.envs.named import by_name
from agentrl.types import Action, Message, Task

__all__ = ["TOOLS", "TaskSource", "make"]

_LAST_EXAMPLE = 2**31 - 1  # index of the first few-shot example; training counts up from 0 and never gets there


def _no_tools(call_seconds: float, max_output_chars: int) -> Any:
  del call_seconds, max_output_chars
  return object()


def _calculator(call_seconds: float, max_output_chars: int) -> Any:
  del call_seconds, max_output_chars
  from agentrl.envs.tools.calculator import Calculator

  return Calculator()


def _python(call_seconds: float, max_output_chars: int) -> Any:
  """Its guest is killed before the call's deadline, and half of what is shown is kept for a traceback."""
  from agentrl.envs.sandbox import Limits, Sandbox
  from agentrl.envs.tools.python import PythonTool

  limits = Limits(wall_seconds=0.8 * call_seconds, cpu_seconds=math.ceil(call_seconds))
  return PythonTool(Sandbox(limits), stdout_chars=math.ceil(max_output_chars / 2))


def _lookup(call_seconds: float, max_output_chars: int) -> Any:
  del call_seconds, max_output_chars
  from agentrl.envs.tasks.key_lookup import KeyTable

  return KeyTable()


# Toolsets by name, made anew for each environment from `call_seconds` and `max_output_chars`. What a tool needs is
# imported when it is asked for.
TOOLS: Mapping[str, Callable[[float, int], Any]] = {
  "none": _no_tools,
  "calculator": _calculator,
  "python": _python,
  "lookup": _lookup,
}


@dataclasses.dataclass(frozen=True)
class TaskSource:
  """Tasks of one family, and environments that serve them with one tool.

  Attributes:
    tools: what the policy may call; the same in every environment.
    task: `task(index, split)` with split "train" or "held_out"; pure.
    environment: `environment()` makes a fresh one, for one trajectory.
    oracle: `oracle(task)` gives actions that solve it: tool calls, then the answer.
  """

  tools: Sequence[ToolSpec]
  task: Callable[[int, str], Task]
  environment: Callable[[], Environment]
  oracle: Callable[[Task], list[Action]]


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
) -> TaskSource:
  """Tasks and environments from the strings and numbers of a config.

  Args:
    family: module name under `envs/tasks/`.
    tool: key of `TOOLS`; "" for a conversation, a family in `tasks.CONVERSATIONS`, which brings its own environment.
    difficulty: the family's dial.
    options: further keyword arguments of the family's `generate`.
    system: system message; empty for none.
    examples: solved tasks that open every episode, from the far end of the train split. They are solved here and
      now, with the tool itself.
    call_seconds: deadline of one tool call; a conversation has none.
    max_output_chars: characters of a tool's output that the policy sees; a conversation has none.

  Raises:
    ValueError: an unknown family or tool, a tool for a conversation, or one that cannot solve the family; whatever
      `generate` refuses.
  """
  module = tasks.load(family)
  _check_tool(family, tool)
  options = dict(options or {})

  def task(index: int, split: str) -> Task:
    return module.generate(index, split=split, difficulty=difficulty, **options)

  def oracle(task: Task) -> list[Action]:
    return module.oracle(task, tool)

  def environment(shown: Sequence[Message] = ()) -> Environment:
    if not tool:
      return module.environment(system=system or None, examples=shown)
    return ToolEnvironment(
      TOOLS[tool](call_seconds, max_output_chars),
      module.check,
      system=system or None,
      examples=shown,
      call_seconds=call_seconds,
      max_output_chars=max_output_chars,
    )

  specs = environment().tools
  oracle(task(_LAST_EXAMPLE, "train"))  # a wrong option or tool is an error here, not in the first rollout
  shown: list[Message] = []
  for number in range(examples):
    example = task(_LAST_EXAMPLE - number, "train")
    shown += _solved(environment(), example, oracle(example))
  return TaskSource(specs, task, functools.partial(environment, tuple(shown)), oracle)


def _check_tool(family: str, tool: str) -> None:
  if tool and family in tasks.CONVERSATIONS:
    raise ValueError(f"{family} is a conversation and takes no tool, not even {tool!r}; set the tool to ''")
  if not tool and family not in tasks.CONVERSATIONS:
    raise ValueError(f"{family} tasks need a tool: {', '.join(TOOLS)}; '' is for {', '.join(tasks.CONVERSATIONS)}")
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
