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
import enum
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from agentrl.envs import output
from agentrl.envs.deadline import call_within
from agentrl.envs.tool import ToolLimits, ToolRunner, Toolset, ToolSpec, tools_of
from agentrl.raised import place_of
from agentrl.types import Action, EnvironmentFailed, FailureKind, Message, Observation, Task
from agentrl.types import TurnKind as Kind


class Environment(Protocol):
  """One episode of a task. One object per trajectory; its state lasts as long as the trajectory.

  Any method may block; the caller has a deadline. `EnvironmentFailed`, or any other exception, means that the
  environment itself broke. How many turns there are is the rollout's decision.
  """

  @property
  def tools(self) -> Sequence[ToolSpec]:
    """What the policy may call in this episode; before `reset`, what it may call in every one."""

  def reset(self, task: Task, seed: int) -> list[Message]:
    """Starts the episode and returns the opening messages; everything random in it derives from `seed`."""

  def step(self, action: Action) -> Observation:
    """Answers one turn of the policy."""

  def close(self) -> None:
    """Frees what the episode holds; called once, also after a failure, and where there was no episode."""


@dataclasses.dataclass(frozen=True)
class Setting:
  """What an environment is told by the config rather than by the task.

  Attributes:
    system: text of the system message; empty for none, or for the environment's own.
    examples: messages between the system message and the task.
    limits: of its tools, where it has any.
  """

  system: str = ""
  examples: Sequence[Message] = ()
  limits: ToolLimits = dataclasses.field(default_factory=ToolLimits)

  @property
  def opening(self) -> list[Message]:
    """System message, if any, and examples."""
    return [*([Message("system", self.system)] if self.system else []), *self.examples]


class Isolation(enum.Enum):
  """What the environments of a family ask of the process they live in."""

  NONE = "none"  # they may live beside the trainer, any number at once, each called from any thread
  SHARED = "shared"  # a worker process, any number at once in it, called one at a time
  EXCLUSIVE = "exclusive"  # a worker process for one episode at a time: the library has global state


class NoEpisode(RuntimeError):
  """What an environment raises that is called outside an episode.

  Args:
    method: which of its methods was called.
  """

  def __init__(self, method: str = "step"):
    super().__init__(f"{method}() outside an episode: call reset(task, seed) first, and nothing after done")


class NoDemonstration(ValueError):
  """What an oracle raises for a task that the family can ask and nobody has written a solution of."""


class ToolEnvironment:
  """A question, tools, and a check of the answer.

  `step` runs tool calls in order, each under its own deadline; an answer ends the episode with the part "correct", 0 or
  1, and where the check gives a number also with that, as the part "score"; a void or malformed turn is told what was
  wrong and goes on.

  Args:
    toolset: its public methods are the tools; one object per trajectory (see `tools_of` and `Toolset`).
    check: whether an answer solves the task, or to what degree, from 0.0 to 1.0, which alone is "correct"; it should
      not raise on any text, and has a call's deadline.
    setting: system message, examples and limits.

  Raises:
    TypeError: the check is async, or a tool cannot be shown (see `tools_of`).
  """

  def __init__(self, toolset: Any, check: Callable[[Task, str], bool | float], setting: Setting | None = None):
    if inspect.iscoroutinefunction(check):
      raise TypeError("the check is async, and nobody would await it; only tools may be async")
    self._toolset = toolset
    self._check = check
    self._setting = Setting() if setting is None else setting
    self._runner = ToolRunner(tools_of(toolset), self._setting.limits)
    self._task: Task | None = None

  @property
  def tools(self) -> Sequence[ToolSpec]:
    """Specs in the order of definition."""
    return self._runner.specs

  def reset(self, task: Task, seed: int) -> list[Message]:
    """Starts the episode; the question is the last message."""
    if isinstance(self._toolset, Toolset):
      self._toolset.reset(task, seed)
    self._task = task
    return [*self._setting.opening, Message("user", task.question)]

  def step(self, action: Action) -> Observation:
    """Answers one turn.

    Raises:
      EnvironmentFailed: the check broke, or a tool found that its own machinery had.
      NoEpisode: none is open.
    """
    if self._task is None:
      raise NoEpisode()
    if action.kind is Kind.TOOL_CALL:
      return self._runner.run(action.calls)
    return self._finish(self._task, action.answer) if action.kind is Kind.ANSWER else self._runner.refuse(action)

  def close(self) -> None:
    """Ends the episode and closes a `Toolset`."""
    self._task = None
    if isinstance(self._toolset, Toolset):
      self._toolset.close()

  def _finish(self, task: Task, answer: str | None) -> Observation:
    if answer is None:
      raise RuntimeError("an Action of kind ANSWER carries no answer; the chat format that made it is wrong")
    try:
      parts = call_within(self._setting.limits.call_seconds, lambda: _parts(self._check(task, answer)))
    except Exception as error:
      told = f"task {task.id}: checking the answer failed: {output.error_line(error)} ({place_of(error)})"
      raise EnvironmentFailed(told, FailureKind.REWARD) from error
    self._task = None
    return Observation("", done=True, parts=parts)


def _parts(verdict: bool | float) -> dict[str, float]:
  """Reward parts of a check's verdict; a degree below 1 is not correct."""
  if isinstance(verdict, bool):
    return {"correct": float(verdict)}
  if not (isinstance(verdict, float) and 0.0 <= verdict <= 1.0):
    raise ValueError(f"a check gives True, False or a float from 0.0 to 1.0, not {verdict!r}")
  return {"correct": float(verdict == 1.0), "score": verdict}
