"""What a pool asks of a worker, wherever that runs."""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

from agentrl.envs.hosting.host import Reply, Request
from agentrl.settings import above, at_least, check_fields, setting


class WorkerLost(Exception):
  """A worker died, hung, or sent garbage; every episode in it is gone. The text says what is known."""


@dataclasses.dataclass(frozen=True)
class Deadlines:
  """Seconds for a worker to get ready, and for one call."""

  start: float
  call: float


@dataclasses.dataclass(frozen=True)
class Hosting:
  """How environments are hosted: the section `hosting` of a config, and what a run derives.

  An episode that lost its worker is played again from its seed in another one, up to where it was. Episodes beyond
  those that a worker may have open are refused until one closes.

  Attributes:
    call_seconds: for one call of an environment.
  """

  processes: int = setting(
    0, "worker processes, of every entry where families are mixed; 0: environments live beside the trainer", at_least(0)
  )
  episodes: int = setting(
    16, "open in one process at a time, further ones wait; 1 where the family asks for it", at_least(1)
  )
  retries: int = setting(1, "per episode: played again from its seed in another process", at_least(0))
  start_seconds: float = setting(60.0, "until a process must be ready", above(0))
  episode_seconds: float = setting(
    3600.0, "that the calls of an episode may take together, repeated ones included", above(0)
  )
  backend: str = setting("local", '"local": on this machine; "ray": actors of a Ray cluster')
  call_seconds: float = 60.0

  def __post_init__(self):
    check_fields(self, section="hosting")
    if not self.call_seconds > 0:
      raise ValueError(f"hosting: call_seconds={self.call_seconds} must be above 0")


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
