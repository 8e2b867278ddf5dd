"""Environments and tools.

An environment serves one trajectory. The easy way in is a class whose public typed methods are its tools:

```python
class Dice:
  def roll(self, sides: int = 6) -> int:
    '''Rolls one die.'''
    return random.randint(1, sides)

environment = ToolEnvironment(Dice(), check=lambda task, answer: answer == task.answer)
```

Three failures are never mixed. The policy's (malformed call, unknown tool, wrong argument) and the tool's (exception,
time-out) are told to the policy in text and counted in `ToolResult.failure`; the environment's own raise
`EnvironmentFailed`, and the trajectory then gets no reward at all.
"""

from __future__ import annotations

import dataclasses
import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from agentrl.envs import output
from agentrl.envs.deadline import DeadlinePassed, call_within
from agentrl.envs.schema import Parameter, ToolArgumentError, bind, parameters_of, summary_of
from agentrl.types import Action, EnvironmentFailed, Message, Observation, Task, ToolCall, ToolFailure, ToolResult
from agentrl.types import TurnKind as Kind

VOID_TEXT = "That turn has neither a tool call nor an answer. Call a tool, or give the final answer."


class ToolTimeout(Exception):
  """A tool stopped its own work because it took too long; the text is told to the policy and counted as a time-out."""


@dataclasses.dataclass(frozen=True)
class ToolSpec:
  """What a chat format shows of a tool.

  Attributes:
    name: what the policy calls.
    description: one paragraph.
    schema: JSON schema of the arguments, an "object" with "properties" and "required".
  """

  name: str
  description: str
  schema: Mapping[str, Any]

  @property
  def text_parameter(self) -> str | None:
    """The one required parameter, where it is a string: a tag-style call `<name>text</name>` fills it. Else None."""
    required = self.schema["required"]
    if len(required) != 1 or self.schema["properties"][required[0]].get("type") != "string":
      return None
    return required[0]


class Environment(Protocol):
  """One episode of a task. One object per trajectory; its state lasts as long as the trajectory.

  Any method may block; the caller has a deadline. `EnvironmentFailed`, or any other exception, means that the
  environment itself broke. How many turns there are is the rollout's decision.
  """

  @property
  def tools(self) -> Sequence[ToolSpec]:
    """What the policy may call; the same before and after `reset`."""

  def reset(self, task: Task, seed: int) -> list[Message]:
    """Starts the episode and returns the opening messages; everything random in it derives from `seed`."""

  def step(self, action: Action) -> Observation:
    """Answers one turn of the policy."""

  def close(self) -> None:
    """Frees what the episode holds; called once, also after a failure."""


class Toolset:
  """Base of toolsets that need the task or hold something; plain classes need none. It has no tools itself."""

  def reset(self, task: Task, seed: int) -> None:
    """Starts an episode; not a tool."""

  def close(self) -> None:
    """Ends it; not a tool."""


@dataclasses.dataclass(frozen=True)
class Tool:
  """A callable with its spec."""

  spec: ToolSpec
  parameters: tuple[Parameter, ...]
  function: Callable[..., Any]

  def call(self, arguments: Mapping[str, Any]) -> Any:
    """Checks and converts JSON arguments, then calls.

    Raises:
      ToolArgumentError: wrong arguments, in words for the policy. Whatever the function raises comes through.
    """
    return self.function(**bind(self.parameters, arguments))


def tools_of(toolset: Any) -> dict[str, Tool]:
  """The public methods of an object as tools, by name, base classes first and in order of definition.

  Names that start with an underscore are not tools, and neither are `reset` and `close` of a `Toolset`.

  Raises:
    TypeError: a method lacks a docstring or a hint, or has a hint without a JSON schema.
  """
  own = vars(Toolset) if isinstance(toolset, Toolset) else ()
  tools: dict[str, Tool] = {}
  for cls in reversed(type(toolset).__mro__):
    for name, member in vars(cls).items():
      is_method = inspect.isfunction(member) or isinstance(member, staticmethod | classmethod)
      if is_method and not name.startswith("_") and name not in own:
        tools[name] = _make_tool(name, getattr(toolset, name))
  return tools


def _make_tool(name: str, function: Callable[..., Any]) -> Tool:
  parameters = parameters_of(function)
  schema = {
    "type": "object",
    "properties": {p.name: dict(p.schema) for p in parameters},
    "required": [p.name for p in parameters if p.required],
  }
  return Tool(ToolSpec(name, summary_of(function), schema), parameters, function)


class ToolEnvironment:
  """A question, tools, and a check of the answer.

  `step` runs tool calls in order, each under its own deadline; an answer ends the episode with the part "correct";
  a void or malformed turn is told what was wrong and goes on.

  Args:
    toolset: its public methods are the tools; one object per trajectory (see `tools_of` and `Toolset`).
    check: whether an answer solves the task; it should not raise on any text.
    system: text of the system message, None for none.
    examples: messages between the system message and the question.
    call_seconds: deadline of one tool call, and of the check. A tool that is past it may still be running when the
      next call comes: its thread cannot be killed.
    max_output_chars: characters of one tool's output that the policy sees.
    max_calls: tool calls of one turn that are run; the others are refused.
  """

  def __init__(
    self,
    toolset: Any,
    check: Callable[[Task, str], bool],
    *,
    system: str | None = None,
    examples: Sequence[Message] = (),
    call_seconds: float = 5.0,
    max_output_chars: int = 2000,
    max_calls: int = 8,
  ):
    limits = {"call_seconds": call_seconds, "max_output_chars": max_output_chars, "max_calls": max_calls}
    for name, value in limits.items():
      if value <= 0:
        raise ValueError(f"{name} must be positive, got {value}")
    self._toolset = toolset
    self._tools = tools_of(toolset)
    self._check = check
    self._opening = ([] if system is None else [Message("system", system)]) + list(examples)
    self._call_seconds = call_seconds
    self._max_output_chars = max_output_chars
    self._max_calls = max_calls
    self._task: Task | None = None

  @property
  def tools(self) -> Sequence[ToolSpec]:
    """Specs in the order of definition."""
    return tuple(tool.spec for tool in self._tools.values())

  def reset(self, task: Task, seed: int) -> list[Message]:
    """Starts the episode; the question is the last message."""
    if isinstance(self._toolset, Toolset):
      self._toolset.reset(task, seed)
    self._task = task
    return self._opening + [Message("user", task.question)]

  def step(self, action: Action) -> Observation:
    """Answers one turn.

    Raises:
      EnvironmentFailed: the check broke, or a tool found that its own machinery had.
      RuntimeError: there is no open episode.
    """
    if self._task is None:
      raise RuntimeError("step() outside an episode: call reset(task, seed) first, and nothing after done")
    if action.kind is Kind.TOOL_CALL:
      return self._run_calls(action.calls)
    if action.kind is Kind.ANSWER:
      return self._finish(self._task, action.answer)
    text = VOID_TEXT if action.kind is Kind.VOID else f"error: {action.problem}"
    return Observation(output.clean(text, self._max_output_chars), ok=False)

  def close(self) -> None:
    """Ends the episode and closes a `Toolset`."""
    self._task = None
    if isinstance(self._toolset, Toolset):
      self._toolset.close()

  def _run_calls(self, calls: Sequence[ToolCall]) -> Observation:
    results = [self._run_call(call) for call in calls[: self._max_calls]]
    refused = f"error: at most {self._max_calls} tool calls in one turn; this one was not run"
    results += [ToolResult(call, refused, False, ToolFailure.ARGUMENTS) for call in calls[self._max_calls :]]
    text = "\n".join(result.text for result in results)
    name = calls[0].name if len(calls) == 1 else None
    return Observation(text, ok=all(result.ok for result in results), results=tuple(results), name=name)

  def _run_call(self, call: ToolCall) -> ToolResult:
    started = time.monotonic()
    text, failure = self._outcome(call)
    text = output.clean(text, self._max_output_chars)
    return ToolResult(call, text, failure is None, failure, time.monotonic() - started)

  def _outcome(self, call: ToolCall) -> tuple[str, ToolFailure | None]:
    """What the policy is told, and whose failure it was."""
    if call.name not in self._tools:
      return f"error: unknown tool {call.name!r}; available: {', '.join(self._tools) or 'none'}", ToolFailure.ARGUMENTS
    tool = self._tools[call.name]
    try:
      return call_within(self._call_seconds, lambda: output.to_text(tool.call(call.arguments))), None
    except EnvironmentFailed:
      raise
    except ToolArgumentError as error:
      return f"error: {error}", ToolFailure.ARGUMENTS
    except (DeadlinePassed, ToolTimeout) as error:
      return f"error: {call.name}: {error}", ToolFailure.TIMEOUT
    except Exception as error:  # anything else that comes out of a tool is the tool's failure
      return f"error: {call.name}: {output.error_line(error)}", ToolFailure.EXCEPTION

  def _finish(self, task: Task, answer: str | None) -> Observation:
    if answer is None:
      raise RuntimeError("an Action of kind ANSWER carries no answer; the chat format that made it is wrong")
    try:
      correct = call_within(self._call_seconds, lambda: bool(self._check(task, answer)))
    except Exception as error:
      raise EnvironmentFailed(f"task {task.id}: checking the answer failed: {output.error_line(error)}") from error
    self._task = None
    return Observation("", done=True, parts={"correct": float(correct)})
