"""What a pool asks of a worker, wherever that runs."""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

from agentrl.envs.hosting.host import Reply, Request


class WorkerLost(Exception):
  """A worker died, hung, or sent garbage; every episode in it is gone. The text says what is known."""


@dataclasses.dataclass(frozen=True)
class Deadlines:
  """Seconds for a worker to get ready, and for one call."""

  start: float
  call: float


class Worker(Protocol):
  """A process that runs a `Host`. Calls from several threads follow one another."""

  def __init__(self, family: str, deadlines: Deadlines):
    """Starts it, for a family's environments; does not wait until it is ready."""

  @property
  def alive(self) -> bool:
    """It has not been lost, as far as is known."""

  def call(self, request: Request, seconds: float) -> Reply:
    """Waits for its turn, then for the answer; `seconds` count from its turn on.

    Raises:
      WorkerLost: there was none; the worker has been killed.
    """

  def kill(self) -> None:
    """Ends it at once, with whatever its environments started; again is harmless."""

  def retire(self) -> None:
    """Lets it close its environments, in the time of a call, then ends it."""


def lost_before(reason: str | None) -> WorkerLost:
  """For a call to a worker that is gone already."""
  return WorkerLost(f"its worker had been lost before: {reason}")


def as_reply(value: Any) -> Reply:
  """What a worker sent, if it is a reply.

  Raises:
    WorkerLost: it is something else.
  """
  if not isinstance(value, Reply):
    raise WorkerLost(f"it sent a {type(value).__name__} where a reply was due")
  return value
