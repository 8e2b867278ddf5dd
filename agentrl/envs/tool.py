"""Tools: a callable with a spec, collected from a class or described by a JSON schema, and run for a policy.

The policy's failures (unknown tool, wrong argument) and the tool's (exception, time-out) become text that the policy
reads and a `ToolFailure` that is counted; `EnvironmentFailed` comes through.
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from agentrl.envs import output, schema, validation
from agentrl.envs.deadline import DeadlinePassed, call_within, seconds_left
from agentrl.envs.once import warn_once
from agentrl.envs.schema import ToolArgumentError
from agentrl.types import (
  LARGEST_REWARD,
  MOST_NESTED,
  Action,
  EnvironmentFailed,
  Observation,
  Task,
  ToolCall,
  ToolFailure,
  ToolResult,
  TurnKind,
  is_nested_too_deeply,
)

_LOG = logging.getLogger(__name__)
# Keywords that may name arguments which "properties" does not list.
_NAMES_MORE = {
  "$ref", "$dynamicRef", "$recursiveRef", "allOf", "anyOf", "oneOf", "if", "patternProperties", "dependentSchemas",
  "dependencies", "unevaluatedProperties",
}  # fmt: skip

VOID_TEXT = "That turn has neither a tool call nor an answer. Call a tool, or give the final answer."


class ToolError(Exception):
  """A tool says in its own words that a call failed; the text is told to the policy and counted as an exception."""


class ToolTimeout(Exception):
  """A tool stopped its own work because it took too long; the text is told to the policy and counted as a time-out."""


@dataclasses.dataclass(frozen=True)
class Priced:
  """What a tool returns whose calls cost something: its answer, and the price of this call.

  Attributes:
    value: the answer, which may be anything that a tool returns.
    cost: at least 0, in the unit of `ToolResult.cost`. A call that fails, or that returns a bare answer, costs nothing.
  """

  value: Any
  cost: float

  def __post_init__(self):
    if not 0 <= self.cost <= LARGEST_REWARD:
      raise ValueError(f"the cost of a call is {self.cost}, and must be a finite number of at least 0")


@dataclasses.dataclass(frozen=True)
class ToolSpec:
  """What a chat format shows of a tool.

  Attributes:
    name: what the policy calls.
    description: one paragraph.
    schema: JSON schema of the arguments, which are an object; most have "properties" and "required".
  """

  name: str
  description: str
  schema: Mapping[str, Any]

  @property
  def text_parameter(self) -> str | None:
    """The one required parameter, where it is a string: a tag-style call `<name>text</name>` fills it. Else None."""
    required = self.schema.get("required", ())
    described = self.schema.get("properties", {}).get(required[0]) if len(required) == 1 else None
    return required[0] if isinstance(described, Mapping) and described.get("type") == "string" else None


def check_positive(limits: Any) -> None:
  """Raises ValueError where a field of a dataclass of limits is not above 0."""
  for name, value in vars(limits).items():
    if value <= 0:
      raise ValueError(f"{name} must be positive, got {value}")


@dataclasses.dataclass(frozen=True)
class ToolLimits:
  """Of the tools of one environment.

  Attributes:
    call_seconds: deadline of one call. A tool that is past it may still be running when the next call comes: its
      thread cannot be killed.
    max_output_chars: characters of one tool's output that the policy sees.
    max_calls: tool calls of one turn that are run; the others are refused.
    lost_text: what a turn is told that has neither a call nor an answer, or a malformed one; empty: what was wrong.
  """

  call_seconds: float = 5.0
  max_output_chars: int = 2000
  max_calls: int = 8
  lost_text: str = ""

  def __post_init__(self):
    for name in ("call_seconds", "max_output_chars", "max_calls"):
      if getattr(self, name) <= 0:
        raise ValueError(f"{name} must be positive, got {getattr(self, name)}")


class Toolset:
  """Base of toolsets that need the task or hold something; plain classes need none. It has no tools itself."""

  def tools(self) -> Sequence[Tool]:
    """Tools beside the methods, made by `given_tool`; asked once, when the environment is made; not a tool."""
    return ()

  def reset(self, task: Task, seed: int) -> None:
    """Starts an episode; not a tool."""

  def close(self) -> None:
    """Ends it; not a tool."""


@dataclasses.dataclass(frozen=True)
class Tool:
  """A callable with its spec.

  Attributes:
    bind: JSON arguments, checked and converted, as keyword arguments of the function.
  """

  spec: ToolSpec
  bind: Callable[[Mapping[str, Any]], Mapping[str, Any]]
  function: Callable[..., Any]

  def call(self, arguments: Mapping[str, Any]) -> Any:
    """Checks and converts JSON arguments, then calls, and awaits what has to be awaited.

    Raises:
      ToolArgumentError: wrong arguments, in words for the policy. Whatever the function raises comes through.
      ToolTimeout: what is awaited was cancelled at the deadline of the call.
    """
    value = self.function(**self.bind(arguments))
    return asyncio.run(_awaited(value)) if inspect.isawaitable(value) else value


def tools_of(toolset: Any) -> dict[str, Tool]:
  """The public methods of an object as tools, by name, base classes first and in order of definition.

  Names that start with an underscore are not tools, and neither are `tools`, `reset` and `close` of a `Toolset`; what
  its `tools` gives comes last. A method may be `async`: a call runs it in an event loop of its own, and cancels it at
  the deadline. A class that puts something else in a tool's place, such as None, takes the tool away.

  Raises:
    TypeError: a method lacks a docstring or a hint, has a hint or default without a JSON schema, or yields; or
      `tools`, `reset` or `close` is `async`.
    ValueError: two tools share a name.
  """
  for name in _own_names(toolset):
    if inspect.iscoroutinefunction(getattr(toolset, name)):
      raise TypeError(f"{type(toolset).__name__}.{name} is async, and nobody would await it; only tools may be async")
  tools = {name: _make_tool(name, getattr(toolset, name)) for name in _public_methods(toolset)}
  for tool in toolset.tools() if isinstance(toolset, Toolset) else ():
    if tool.spec.name in tools:
      raise ValueError(f"{type(toolset).__name__} has two tools called {tool.spec.name!r}; give one another name")
    tools[tool.spec.name] = tool
  return tools


def _public_methods(toolset: Any) -> list[str]:
  names: dict[str, None] = {}
  for cls in reversed(type(toolset).__mro__):
    for name, member in vars(cls).items():
      is_method = isinstance(member, classmethod) or (callable(member) and not isinstance(member, type))
      if not is_method:
        names.pop(name, None)
      elif not name.startswith("_") and name not in _own_names(toolset):
        names[name] = None
  return list(names)


def _own_names(toolset: Any) -> list[str]:
  """Public methods that are no tools."""
  return [name for name in vars(Toolset) if not name.startswith("_")] if isinstance(toolset, Toolset) else []


def given_tool(spec: ToolSpec, function: Callable[..., Any]) -> Tool:
  """A tool whose JSON schema was written elsewhere; `function` takes the arguments by keyword.

  A schema in which a reference leads nowhere, or whose pattern or dialect is not known here, is not checked against:
  with a warning, `function` gets what the policy wrote. Names that the schema does not list are refused unless it says
  that there may be others; a schema of alternatives says so.

  Raises:
    ValueError: it is no JSON schema.
  """
  try:
    validator = validation.Validator(spec.schema)
  except validation.NoSchema as error:
    raise ValueError(f"tool {spec.name!r} has a schema that is no JSON schema: {error}") from error
  except (validation.Unclear, validation.TooMuchWork) as error:
    return unchecked_tool(spec, function, str(error))
  known = tuple(spec.schema.get("properties", {}))
  is_closed = spec.schema.get("additionalProperties", False) is False and not _NAMES_MORE & set(spec.schema)

  def bind(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    for name in arguments:
      if is_closed and name not in known:
        raise ToolArgumentError(f"unexpected argument {name!r}; expected: {', '.join(known) or 'none'}")
    try:
      validator.check(dict(arguments))
    except validation.Misfit as error:
      raise ToolArgumentError(schema.shortened(str(error))) from error
    except validation.TooMuchWork as error:
      raise ToolTimeout(f"these arguments cannot be checked: {error}") from error
    return arguments

  return Tool(spec, bind, function)


def unchecked_tool(spec: ToolSpec, function: Callable[..., Any], reason: str) -> Tool:
  """A tool that gets what the policy wrote and checks it itself; a warning names it, with the reason."""
  warn_once(
    _LOG, f"the arguments of the tool {spec.name!r} are not checked before it is called: {schema.shortened(reason)}"
  )
  return Tool(spec, lambda arguments: arguments, function)


class ToolRunner:
  """Runs the tool calls of a turn in order, each under its own deadline, and puts every failure into words.

  Args:
    tools: by name.
    limits: of a call and of a turn.
  """

  def __init__(self, tools: Mapping[str, Tool], limits: ToolLimits):
    self._tools = dict(tools)
    self._limits = limits

  @property
  def specs(self) -> tuple[ToolSpec, ...]:
    """Of the tools, in order."""
    return tuple(tool.spec for tool in self._tools.values())

  def run(self, calls: Sequence[ToolCall]) -> Observation:
    """What the calls gave.

    Raises:
      EnvironmentFailed: a tool found that its own machinery had broken.
    """
    most = self._limits.max_calls
    results = [self._run(call) for call in calls[:most]]
    refused = f"error: at most {most} tool calls in one turn; this one was not run"
    results += [ToolResult(call, refused, False, ToolFailure.ARGUMENTS) for call in calls[most:]]
    text = "\n".join(result.text for result in results)
    name = calls[0].name if len(calls) == 1 else None
    return Observation(text, ok=all(result.ok for result in results), results=tuple(results), name=name)

  def refuse(self, action: Action) -> Observation:
    """What a turn is told that neither calls a tool nor answers."""
    text = VOID_TEXT if action.kind is TurnKind.VOID else f"error: {action.problem}"
    text = self._limits.lost_text or text
    return Observation(output.clean(text, self._limits.max_output_chars), ok=False)

  def _run(self, call: ToolCall) -> ToolResult:
    started = time.monotonic()
    told = self._outcome(call)
    text = output.clean(told.text, self._limits.max_output_chars)
    return ToolResult(call, text, told.failure is None, told.failure, time.monotonic() - started, told.cost)

  def _outcome(self, call: ToolCall) -> _Outcome:
    if call.name not in self._tools:
      known = ", ".join(self._tools) or "none"
      return _Outcome(f"error: unknown tool {call.name!r}; available: {known}", ToolFailure.ARGUMENTS)
    tool = self._tools[call.name]
    try:
      return call_within(self._limits.call_seconds, lambda: _told_by(tool, call))
    except EnvironmentFailed:
      raise
    except DeadlinePassed as error:
      return _Outcome(f"error: {call.name}: {error}", ToolFailure.TIMEOUT)
    except Exception as error:  # what ends a thread and is no error, such as SystemExit
      return _Outcome(f"error: {call.name}: {output.error_line(error)}", ToolFailure.EXCEPTION)


class _Outcome(NamedTuple):
  """What the policy is told of a call, whose failure it was, and what it costs."""

  text: str
  failure: ToolFailure | None = None
  cost: float = 0.0


def _told_by(tool: Tool, call: ToolCall) -> _Outcome:
  """Whatever runs code of the tool's is done here, the words of its errors too."""
  try:
    _check_arguments(call.arguments)
    given = tool.call(call.arguments)
    value, cost = (given.value, float(given.cost)) if isinstance(given, Priced) else (given, 0.0)
    return _Outcome(output.to_text(value), None, cost)
  except EnvironmentFailed:
    raise
  except ToolArgumentError as error:
    return _Outcome(f"error: {output.words_of(error)}", ToolFailure.ARGUMENTS)
  except ToolTimeout as error:
    return _Outcome(f"error: {call.name}: {output.words_of(error)}", ToolFailure.TIMEOUT)
  except ToolError as error:
    return _Outcome(f"error: {call.name}: {output.words_of(error)}", ToolFailure.EXCEPTION)
  except Exception as error:  # anything else that comes out of a tool is the tool's failure
    return _Outcome(f"error: {call.name}: {output.error_line(error)}", ToolFailure.EXCEPTION)


async def _awaited(value: Awaitable[Any]) -> Any:
  try:
    async with asyncio.timeout(seconds_left()) as limit:
      return await value
  except TimeoutError as error:
    if limit.expired():
      raise ToolTimeout("it was stopped at the deadline of the call") from error
    raise


def _check_arguments(arguments: Mapping[str, Any]) -> None:
  """Whatever a tool does with them, writes them to a file, a process or a database: text must be text."""
  if is_nested_too_deeply(arguments):
    raise ToolArgumentError(f"the arguments are nested more than {MOST_NESTED} levels deep")
  for name, value in arguments.items():
    for text in _strings([name, value]):
      if (half := output.SURROGATE.search(text)) is not None:
        raise ToolArgumentError(
          f"argument {name!r} has {half[0]!r}, which is half of a character and cannot be stored or sent; "
          "write the whole character, or leave it out"
        )


def _strings(value: Any) -> Iterator[str]:
  """Those in a JSON value, keys included."""
  if isinstance(value, str):
    yield value
  elif isinstance(value, list | Mapping):
    for inner in [*value, *value.values()] if isinstance(value, Mapping) else value:
      yield from _strings(inner)


def _make_tool(name: str, function: Callable[..., Any]) -> Tool:
  parameters = schema.parameters_of(function)
  if schema.yields(function):
    raise TypeError(f"tool {function.__qualname__} yields; a tool returns its whole answer at once, such as a list")
  described = {
    "type": "object",
    "properties": {p.name: dict(p.schema) for p in parameters},
    "required": [p.name for p in parameters if p.required],
  }
  spec = ToolSpec(name, schema.summary_of(function), described)
  return Tool(spec, lambda arguments: schema.bind(parameters, arguments), function)
