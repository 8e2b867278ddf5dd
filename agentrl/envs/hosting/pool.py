"""Worker processes that are kept alive, and the environments that live in them."""

from __future__ import annotations

import collections
import itertools
import threading
from collections.abc import Sequence

from agentrl.envs import habits
from agentrl.envs.base import NoDemonstration
from agentrl.envs.hosting.host import Request
from agentrl.envs.hosting.remote import HostedEnvironment
from agentrl.envs.hosting.worker import Deadlines, Hosting, Worker, WorkerLost
from agentrl.envs.recipe import Recipe
from agentrl.types import Action, EnvironmentFailed, FailureKind, NoRoom, Task

_START_ATTEMPTS = 3  # workers in a row that die before their first answer, until the pool gives up


class EnvironmentPool:
  """Supervises workers. Any number of threads may open, step and close environments at once.

  Workers are started as needed, ahead of the first call; one that died is replaced when next a worker is wanted. When
  several in a row die before they have answered anything, opening an environment fails with the reason.

  Args:
    family: of every environment, see `families.find`.
    hosting: how many workers, and their deadlines.
    worker: see `hosting.WORKERS`.
  """

  def __init__(self, family: str, hosting: Hosting, worker: type[Worker]):
    self.hosting = hosting
    self._family, self._make_worker = family, worker
    self._deadlines = Deadlines(hosting.start_seconds, hosting.call_seconds)
    self._lock = threading.Lock()
    self._episodes: dict[Worker, int] = {}  # open, by worker
    self._answered: set[Worker] = set()
    self._unanswered: list[str] = []  # why the last workers in a row died before their first answer
    self._numbers = itertools.count()
    self._counts: collections.Counter[str] = collections.Counter()
    self.last_loss = ""  # why the last worker was lost
    self._closed = False
    with self._lock:
      self._refill()

  @property
  def workers(self) -> Sequence[Worker]:
    """Those that live, as far as is known."""
    with self._lock:
      return list(self._episodes)

  def environment(self, recipe: Recipe) -> HostedEnvironment:
    """A fresh environment, for one trajectory; it gets a worker when it is reset."""
    return HostedEnvironment(self, recipe)

  def oracle(self, task: Task, tool: str, habit: str = habits.NEEDED) -> list[Action]:
    """The family's demonstration of a task, made in a worker; see `envs/habits.py`.

    Raises:
      EnvironmentFailed: it could not be made.
      NoDemonstration: the family has none of this task.
    """
    worker, episode = self.take()
    try:
      reply = self.call(worker, Request("oracle", episode, (task, tool, habit)), self.hosting.call_seconds)
    except WorkerLost as error:
      raise EnvironmentFailed(str(error), FailureKind.LOST) from error
    finally:
      self.give_back(worker)
    if reply.failure is not None:
      raise EnvironmentFailed(f"task {task.id}: its oracle failed: {reply.failure}", reply.kind)
    if isinstance(reply.value, NoDemonstration):
      raise reply.value
    return reply.value

  def counts(self) -> dict[str, float]:
    """What has happened so far: "lost" workers, "retries" of episodes, and how often one "opened" or was "refused"."""
    with self._lock:
      return {name: float(self._counts[name]) for name in ("lost", "retries", "opened", "refused")}

  def close(self) -> None:
    """Ends all workers; environments that are still open are closed first."""
    with self._lock:
      self._closed = True
      workers = list(self._episodes)
      self._episodes.clear()
    threads = [threading.Thread(target=worker.retire) for worker in workers]
    for thread in threads:
      thread.start()
    for thread in threads:
      thread.join()

  # -- for environments ----------------------------------------------------------------------------------------------

  def take(self) -> tuple[Worker, int]:
    """Room for one episode, in the worker that has most of it, and a number for the episode.

    It does not wait: a thread that waited here could be the one that the open episodes need in order to end.

    Raises:
      EnvironmentFailed: the pool is closed, or its workers do not start.
      NoRoom: every worker has as many episodes as it may.
    """
    with self._lock:
      worker = self._most_room()
      if worker is None:
        self._counts["refused"] += 1
        raise NoRoom(f"{sum(self._episodes.values())} episodes are open, and there may be no more")
      self._episodes[worker] += 1
      self._counts["opened"] += 1
      return worker, next(self._numbers)

  def give_back(self, worker: Worker) -> None:
    """The episode is over."""
    with self._lock:
      if worker in self._episodes:
        self._episodes[worker] -= 1

  def call(self, worker: Worker, request: Request, seconds: float):
    """`Worker.call`; notes whether the worker answered or was lost.

    Raises:
      WorkerLost: see there.
    """
    try:
      reply = worker.call(request, seconds)
    except WorkerLost as error:
      self._lose(worker, str(error))
      raise
    with self._lock:
      if worker not in self._answered:
        self._answered.add(worker)
        self._unanswered.clear()
    return reply

  def retried(self) -> None:
    """An episode begins again."""
    with self._lock:
      self._counts["retries"] += 1

  # -- inside, with the lock held ------------------------------------------------------------------------------------

  def _most_room(self) -> Worker | None:
    if self._closed:
      raise EnvironmentFailed("the pool of environments is closed", FailureKind.LOST)
    for worker in [worker for worker in self._episodes if not worker.alive]:
      try:
        worker.call(Request("close", -1), 1.0)
      except WorkerLost as error:  # which it is; the error has its last words
        self._forget(worker, str(error))
    if len(self._unanswered) >= _START_ATTEMPTS:
      told = f"{len(self._unanswered)} workers in a row did not start: {self._unanswered[-1]}"
      raise EnvironmentFailed(told, FailureKind.LOST)
    self._refill()
    worker = min(self._episodes, key=self._episodes.__getitem__)
    return worker if self._episodes[worker] < self.hosting.episodes else None

  def _refill(self):
    while len(self._episodes) < self.hosting.processes:
      self._episodes[self._make_worker(self._family, self._deadlines)] = 0

  def _forget(self, worker: Worker, reason: str):
    if self._episodes.pop(worker, None) is None:
      return
    self._counts["lost"] += 1
    self.last_loss = reason
    if worker not in self._answered:
      self._unanswered.append(reason)
    self._answered.discard(worker)

  # -- inside --------------------------------------------------------------------------------------------------------

  def _lose(self, worker: Worker, reason: str):
    with self._lock:
      self._forget(worker, reason)
