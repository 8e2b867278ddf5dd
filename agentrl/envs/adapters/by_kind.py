"""An environment for families whose tasks come in kinds, each with an episode of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from agentrl.envs.base import NoEpisode, Setting
from agentrl.envs.tool import ToolSpec
from agentrl.types import Action, Message, Observation, Task


class KindOfEpisode(Protocol):
  """What serves one task: it has opened when it is made, and needs no closing."""

  opening: list[Message]

  @property
  def tools(self) -> Sequence[ToolSpec]:
    """What the policy may call now."""

  def step(self, action: Action) -> Observation:
    """Answers one turn."""


class ByKind:
  """Serves whichever kind of task comes.

  Args:
    setting: what the episodes are told by the config.
    start: makes the episode of a task; what is random in it is the task's own affair.
  """

  def __init__(self, setting: Setting, start: Callable[[Task, Setting], KindOfEpisode]):
    self._setting, self._start = setting, start
    self._episode: KindOfEpisode | None = None

  @property
  def tools(self) -> Sequence[ToolSpec]:
    """The task's own; none before `reset`. A kind may bring more of them later in an episode."""
    return () if self._episode is None else self._episode.tools

  def reset(self, task: Task, seed: int) -> list[Message]:
    """Starts the task."""
    del seed
    self._episode = self._start(task, self._setting)
    return self._episode.opening

  def step(self, action: Action) -> Observation:
    """Answers one turn.

    Raises:
      NoEpisode: none is open.
    """
    if self._episode is None:
      raise NoEpisode()
    observation = self._episode.step(action)
    if observation.done:
      self._episode = None
    return observation

  def close(self) -> None:
    """Drops what the episode held."""
    self._episode = None
