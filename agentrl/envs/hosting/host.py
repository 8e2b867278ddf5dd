"""What runs in a worker: environments by number, and one request after the other."""

from __future__ import annotations

import dataclasses
import pickle
import time
from typing import Any

from agentrl.envs import checks, families, habits, output
from agentrl.envs.base import Environment, NoDemonstration
from agentrl.envs.hosting import frames
from agentrl.envs.recipe import Recipe
from agentrl.types import Action, EnvironmentFailed, FailureKind, Observation, Task


@dataclasses.dataclass(frozen=True)
class Request:
  """One call.

  Attributes:
    method: "reset", "step", "close" or "oracle".
    episode: number of the environment.
    arguments: of the method.
  """

  method: str
  episode: int
  arguments: tuple[Any, ...] = ()


@dataclasses.dataclass(frozen=True)
class Reply:
  """What it gave: a value, or in words how the environment failed, and the kind of that; and the seconds it took."""

  value: Any = None
  failure: str | None = None
  seconds: float = 0.0
  kind: FailureKind = FailureKind.RAISED


class Host:
  """Holds the environments of one worker. `handle` never raises and always gives what can be pickled.

  Args:
    family: of every environment here; what it imports is imported now.
  """

  def __init__(self, family: str):
    self._family = families.load(family)
    self._environments: dict[int, Environment] = {}
    self._max_chars: dict[int, int] = {}  # of an observation, by episode

  def handle(self, request: Request) -> bytes:
    """Answers one request with a pickled `Reply`."""
    started, value, failure = time.monotonic(), None, None
    try:
      value = self._answer(request)
    except BaseException as error:  # SystemExit too: a library must not end the worker of other episodes
      failure = checks.failure_of(error)
    seconds = time.monotonic() - started
    if failure is None:
      try:
        reply = pickle.dumps(Reply(value, seconds=seconds))
      except Exception as error:
        failure = EnvironmentFailed(f"what it answered cannot be sent: {output.error_line(error)}", FailureKind.ANSWER)
      else:
        if len(reply) <= frames.MAX_BYTES:
          return reply
        failure = EnvironmentFailed(
          f"what it answered takes {len(reply)} bytes, and cannot be sent: a message holds {frames.MAX_BYTES}",
          FailureKind.ANSWER,
        )
    return pickle.dumps(Reply(None, str(failure), seconds, failure.kind))

  def close(self) -> None:
    """Closes what is still open."""
    for episode in list(self._environments):
      self.handle(Request("close", episode))

  def _answer(self, request: Request) -> Any:
    if request.method == "reset":
      return self._reset(request.episode, *request.arguments)
    if request.method == "step":
      return self._step(request.episode, *request.arguments)
    if request.method == "oracle":
      return self._oracle(*request.arguments)
    self._max_chars.pop(request.episode, None)
    environment = self._environments.pop(request.episode, None)
    return None if environment is None else environment.close()

  def _reset(self, episode: int, recipe: Recipe, task: Task, seed: int):
    limits = recipe.setting.limits
    self._max_chars[episode] = limits.max_calls * limits.max_output_chars  # what the calls of a turn may say together
    environment = self._environments[episode] = recipe.environment()
    messages = checks.as_messages(environment.reset(task, seed))
    return messages, checks.as_tools(environment.tools)

  def _oracle(self, task: Task, tool: str, habit: str = habits.NEEDED) -> list[Action] | NoDemonstration:
    try:
      return checks.as_actions(habits.demonstration(self._family, task, tool, habit))
    except NoDemonstration as error:  # an answer like any other
      return error

  def _step(self, episode: int, action: Action) -> Observation:
    return checks.as_observation(self._environments[episode].step(action), self._max_chars[episode])
