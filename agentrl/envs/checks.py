"""Checks of everything that the code of a task family or an environment gives.

Such code is often a user's, and may give anything. What passes is what `types.py` says, with valid and bounded texts
and finite numbers; whatever does not is an `EnvironmentFailed` of kind ANSWER that says what it was.
"""

from __future__ import annotations

import dataclasses
import json
import numbers
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from agentrl.envs import output
from agentrl.envs.tool import ToolSpec
from agentrl.raised import place_of
from agentrl.types import (
  LARGEST_REWARD,
  MOST_NESTED,
  Action,
  EnvironmentFailed,
  FailureKind,
  Message,
  Observation,
  Task,
  ToolCall,
  ToolFailure,
  ToolResult,
  TurnKind,
  is_nested_too_deeply,
)

MAX_RESULTS = 10_000  # of one observation
MAX_CHARS = 1_000_000  # of its text, or of all its results together: what has more was meant for nobody to read
_REASON_CHARS = 1000


def failure_of(error: BaseException) -> EnvironmentFailed:
  """Any exception that comes out of an environment is the environment's failure; its words are cut."""
  if isinstance(error, EnvironmentFailed):
    return EnvironmentFailed(output.words_of(error, _REASON_CHARS), error.kind)
  place = place_of(error)
  return EnvironmentFailed(output.error_line(error) + (f" ({place})" if place else ""))


def as_task(value: Any, family: str) -> Task:
  """The task that the `generate` of a family gave.

  Raises:
    EnvironmentFailed: it is none.
  """
  who = f"the generator of {family!r}"
  if not isinstance(value, Task):
    _refuse(f"{who} gave {_kind(value)} where a Task was due")
  if not _text(value.id, f"{who} gave a task whose id"):
    _refuse(f"{who} gave a task whose id is empty")
  for name in ("family", "question"):
    _text(getattr(value, name), f"task {value.id}: its {name}")
  if value.answer is not None:
    _text(value.answer, f"task {value.id}: its answer")
  if not (isinstance(value.stratum, str) and re.fullmatch(r"[\w-]*", value.stratum)):
    _refuse(f"task {value.id}: its stratum is {value.stratum!r}; it names metrics, so write letters, digits, _ and -")
  if not isinstance(value.difficulty, int):
    _refuse(f"task {value.id}: its difficulty is {_kind(value.difficulty)}, and must be an integer")
  if not isinstance(value.data, Mapping):
    _refuse(f"task {value.id}: its data is {_kind(value.data)}, and must be a mapping")
  return value


def as_messages(value: Any) -> list[Message]:
  """What `reset` gave: a list of at least one message.

  Raises:
    EnvironmentFailed: it is none.
  """
  if not isinstance(value, list | tuple) or not value:
    _refuse(f"reset() gave {_kind(value)} where a list of Messages was due")
  return [_message(message, f"message {n} of reset()") for n, message in enumerate(value)]


def as_tools(value: Any) -> tuple[ToolSpec, ...]:
  """The `tools` of an environment.

  Raises:
    EnvironmentFailed: they are none.
  """
  if not isinstance(value, Sequence) or any(not isinstance(spec, ToolSpec) for spec in value):
    _refuse(f"the tools of the environment are {_kind(value)}, and must be a list of ToolSpecs")
  return tuple(value)


def as_observation(value: Any, max_chars: int) -> Observation:
  """What `step` gave; texts of more than `max_chars` characters are cut, and say so.

  Raises:
    EnvironmentFailed: it is no observation, or one with a wrong field, or more than `MAX_CHARS` long.
  """
  if not isinstance(value, Observation):
    _refuse(f"step() gave {_kind(value)} where an Observation was due")
  if value.name is not None:
    _text(value.name, "the name of the observation")
  if not isinstance(value.parts, Mapping):
    _refuse(f"the parts of the observation are {_kind(value.parts)}, and must be a mapping of names to numbers")
  return Observation(
    text=_bounded(_text(value.text, "the text of the observation"), max_chars),
    done=_flag(value.done, "`done` of the observation"),
    parts={
      _text(name, "the name of a part"): _number(part, f"the part {name!r}") for name, part in value.parts.items()
    },
    ok=_flag(value.ok, "`ok` of the observation"),
    results=_results(value.results, max_chars),
    name=value.name,
    reward=_number(value.reward, "the reward of the observation"),
  )


def as_actions(value: Any) -> list[Action]:
  """What the oracle of a family gave.

  Raises:
    EnvironmentFailed: it is no list of actions.
  """
  if not isinstance(value, Iterable) or isinstance(value, str | bytes):
    _refuse(f"the oracle gave {_kind(value)} where a list of Actions was due")
  return [_action(action, "an action of the oracle") for action in value]


def _message(value: Any, what: str) -> Message:
  if not isinstance(value, Message):
    _refuse(f"{what} is {_kind(value)}, and must be a Message")
  for name in ("role", "content"):
    _text(getattr(value, name), f"the {name} of {what}")
  if value.name is not None:
    _text(value.name, f"the name of {what}")
  if value.action is not None:
    _action(value.action, f"the action of {what}")
  return value


def _action(value: Any, what: str) -> Action:
  if not isinstance(value, Action) or not isinstance(value.kind, TurnKind):
    _refuse(f"{what} is {_kind(value)}, and must be an Action")
  _text(value.text, f"the text of {what}")
  if value.answer is not None:
    _text(value.answer, f"the answer of {what}")
  if not isinstance(value.calls, list | tuple):
    _refuse(f"the calls of {what} are {_kind(value.calls)}, and must be a list of ToolCalls")
  for call in value.calls:
    _call(call, what)
  return value


def _results(value: Any, max_chars: int) -> tuple[ToolResult, ...]:
  if not isinstance(value, list | tuple) or len(value) > MAX_RESULTS:
    _refuse(f"the results of the observation are {_kind(value)}, and must be a list of at most {MAX_RESULTS}")
  checked = [_result(result) for result in value]
  chars = sum(len(result.text) for result in checked)
  _require_readable(chars, "the results of the observation have")
  if chars <= max_chars:
    return tuple(checked)
  share = max(1, max_chars // len(checked))
  return tuple(dataclasses.replace(result, text=_bounded(result.text, share)) for result in checked)


def _result(value: Any) -> ToolResult:
  what = "a result of the observation"
  if not isinstance(value, ToolResult):
    _refuse(f"{what} is {_kind(value)}, and must be a ToolResult")
  _call(value.call, what)
  if not (value.failure is None or isinstance(value.failure, ToolFailure)):
    _refuse(f"the failure of {what} is {_kind(value.failure)}, and must be a ToolFailure or None")
  return ToolResult(
    value.call,
    _text(value.text, f"the text of {what}"),
    _flag(value.ok, f"`ok` of {what}"),
    value.failure,
    _number(value.seconds, f"the seconds of {what}"),
    _cost(value.cost, f"the cost of {what}"),
  )


def _call(value: Any, what: str) -> None:
  if not isinstance(value, ToolCall) or not isinstance(value.arguments, Mapping):
    _refuse(f"the call of {what} is {_kind(value)}, and must be a ToolCall with a mapping of arguments")
  _text(value.name, f"the tool's name of {what}")
  if is_nested_too_deeply(value.arguments):
    _refuse(f"the arguments of a call of {value.name} are nested more than {MOST_NESTED} levels deep")
  try:
    written = json.dumps(dict(value.arguments), ensure_ascii=False)
  except Exception as error:  # whatever a value of a user's class does when it is looked at
    _refuse(f"the arguments of a call of {value.name} are no JSON: {output.error_line(error)}")
  _text(written, f"the arguments of a call of {value.name}")


def _text(value: Any, what: str) -> str:
  if not isinstance(value, str):
    _refuse(f"{what} is {_kind(value)}, and must be a str")
  if not value.isascii() and (found := output.SURROGATE.search(value)):
    _refuse(f"{what} is no valid Unicode: there is a lone surrogate at character {found.start()}")
  return value


def _require_readable(chars: int, what: str) -> None:
  if chars > MAX_CHARS:
    _refuse(f"{what} {chars} characters, and may have {MAX_CHARS}: the environment should cut what is that long")


def _bounded(text: str, max_chars: int) -> str:
  _require_readable(len(text), "the text of the observation has")
  return text if len(text) <= max_chars else output.clean(text, max_chars)


def _flag(value: Any, what: str) -> bool:
  if not isinstance(value, bool | np.bool_):
    _refuse(f"{what} is {_kind(value)}, and must be True or False")
  return bool(value)


def _number(value: Any, what: str) -> float:
  """A finite number that float32 arithmetic survives."""
  if not isinstance(value, numbers.Real | np.bool_):
    _refuse(f"{what} is {_kind(value)}, and must be a number")
  try:
    number = float(value)
  except OverflowError:
    number = float("inf")
  if not abs(number) <= LARGEST_REWARD:
    _refuse(f"{what} is {number:g}, and must be a finite number of at most {LARGEST_REWARD:g} either way")
  return number


def _cost(value: Any, what: str) -> float:
  cost = _number(value, what)
  if cost < 0:
    _refuse(f"{what} is {cost:g}, and must be at least 0")
  return cost


def _kind(value: Any) -> str:
  """What a value is, in words that no value can break: its own `repr` may raise, or be as long as it likes."""
  name = "None" if value is None else f"a {type(value).__name__}"
  return f"{name} of length {len(value)}" if type(value) in (str, bytes, list, tuple, dict) else name


def _refuse(what: str) -> NoReturn:
  raise EnvironmentFailed(what[:_REASON_CHARS], FailureKind.ANSWER)
