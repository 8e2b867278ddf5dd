"""An environment that lives in a worker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from agentrl.envs.base import NoEpisode
from agentrl.envs.hosting.host import Reply, Request
from agentrl.envs.hosting.worker import Hosting, Worker, WorkerLost
from agentrl.envs.recipe import Recipe
from agentrl.envs.tool import ToolSpec
from agentrl.types import Action, EnvironmentFailed, FailureKind, Message, Observation, Task


class Workers(Protocol):
  """What a hosted environment asks of the pool that it gets its workers from; see `EnvironmentPool`."""

  hosting: Hosting

  def take(self) -> tuple[Worker, int]:
    """A worker with room for one episode, and a number for the episode."""

  def give_back(self, worker: Worker) -> None:
    """The episode is over."""

  def call(self, worker: Worker, request: Request, seconds: float) -> Reply:
    """`Worker.call`."""

  def retried(self) -> None:
    """An episode begins again."""


class HostedEnvironment:
  """See `Environment`. When its worker is lost, the episode is played again in another one: same seed, same actions.

  An environment that answers anything else there than it did before has failed, since nobody could tell which of the
  two episodes the policy is in.
  """

  def __init__(self, pool: Workers, recipe: Recipe):
    self._pool, self._recipe = pool, recipe
    self._retries = pool.hosting.retries
    self._seconds_left = pool.hosting.episode_seconds
    self._place: tuple[Worker, int] | None = None
    self._started: tuple[Task, int] | None = None
    self._messages: list[Message] = []
    self._tools: Sequence[ToolSpec] = ()
    self._history: list[tuple[Action, Observation]] = []

  @property
  def tools(self) -> Sequence[ToolSpec]:
    """What the policy may call in this episode; nothing before `reset`."""
    return self._tools

  def reset(self, task: Task, seed: int) -> list[Message]:
    """Starts the episode in the worker that has most room.

    Raises:
      EnvironmentFailed: the environment broke, or more workers were lost than there are retries.
      NoRoom: there is none now; the call may be made again, as may a `step` that has to begin again elsewhere.
    """
    self._leave()
    self._started, self._history = (task, seed), []
    self._persist(self._begin)
    return list(self._messages)

  def step(self, action: Action) -> Observation:
    """Answers one turn; see `reset` for what it raises.

    Raises:
      NoEpisode: none is open.
    """
    if self._started is None:
      raise NoEpisode()
    observation = self._persist(lambda: self._call("step", action))
    self._history.append((action, observation))
    return observation

  def close(self) -> None:
    """Ends the episode and gives its room back.

    Raises:
      EnvironmentFailed: closing broke.
    """
    self._started = None
    self._leave()

  def _persist(self, attempt: Callable[[], Any]) -> Any:
    """Runs `attempt`; on every worker that is lost once more, as far as retries go."""
    while True:
      try:
        if self._place is None and attempt != self._begin:
          self._begin_again()
        return attempt()
      except WorkerLost as error:
        if not self._retries:
          raise EnvironmentFailed(str(error), FailureKind.LOST) from error
        self._retries -= 1
        self._pool.retried()

  def _begin(self):
    self._place = self._pool.take()
    messages, self._tools = self._call("reset", self._recipe, *self._started)
    if self._history and messages != self._messages:
      raise self._differs("its opening", messages, self._messages)
    self._messages = messages

  def _begin_again(self):
    self._begin()
    for action, before in self._history:
      now = self._call("step", action)
      if (now.text, now.ok, now.done) != (before.text, before.ok, before.done):
        raise self._differs("an answer", now.text, before.text)

  def _differs(self, what: str, now: Any, before: Any) -> EnvironmentFailed:
    return EnvironmentFailed(
      f"task {self._started[0].id}: a worker was lost, and in another one {what} was {str(now)[:200]!r} where it had "
      f"been {str(before)[:200]!r}; everything random in an environment must derive from its seed",
      FailureKind.CHANGED,
    )

  def _call(self, method: str, *arguments: Any) -> Any:
    worker, episode = self._place
    if self._seconds_left <= 0:
      spent = f"the episode used up its {self._pool.hosting.episode_seconds:g} s"
      raise EnvironmentFailed(spent, FailureKind.DEADLINE)
    try:
      reply = self._pool.call(worker, Request(method, episode, arguments), self._pool.hosting.call_seconds)
    except WorkerLost:
      self._place = None
      raise
    self._seconds_left -= reply.seconds
    if reply.failure is not None:
      raise EnvironmentFailed(reply.failure, reply.kind)
    return reply.value

  def _leave(self):
    if self._place is None:
      return
    (worker, episode), self._place = self._place, None
    try:
      reply = self._pool.call(worker, Request("close", episode), self._pool.hosting.call_seconds)
    except WorkerLost:
      return  # it took the episode along
    finally:
      self._pool.give_back(worker)
    if reply.failure is not None:
      raise EnvironmentFailed(reply.failure, reply.kind)
