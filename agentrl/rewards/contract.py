"""What a reward function is: one part of the reward of every episode of a task's group.

  function(episodes, task, memory, *, settings) -> one part per episode

  episodes: samples of one task, of which no environment failed. They are a whole group; a strategy that has
    trajectories graded while it samples asks about others: a search about a single one, a best of several about all
    candidates.
    Until the rewards are given out, `turn.reward` is what the environment itself gave for the turn.
  task: theirs.
  memory: what the function remembers of the task from one group to the next, {} at first: a dict of JSON values that
    the function changes as it likes. It is kept in the checkpoints of a run, and passes through JSON after every group,
    so that a run which is killed and goes on remembers the same. In an evaluation it begins and ends empty. A run whose
    strategy has trajectories graded while it samples, as a search does, ends with an error where a function leaves
    something in it. `@across_tasks` makes it one for all tasks.
  a part: a number, or one number for every turn of the episode. `EnvironmentFailed` in its place says that no reward
    can be made of this episode; an exception that is raised says so of all of them, and its place in the code is told.

`each` makes one of a function of a single episode. Imports no JAX.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from agentrl.named import check_takes
from agentrl.raised import place_of
from agentrl.types import EnvironmentFailed, FailureKind, Task, Trajectory

Part = float | Sequence[float] | EnvironmentFailed
RewardFunction = Callable[..., Sequence[Part]]  # (episodes, task, memory, *, settings)


def across_tasks(function: RewardFunction) -> RewardFunction:
  """Decorates a reward function that has one memory for all tasks of a run; it meets their groups in order."""
  function.across_tasks = True
  return function


def is_across_tasks(function: RewardFunction) -> bool:
  """Whether the function declares one memory for all tasks."""
  return vars(function).get("across_tasks", False)


def each(function: Callable[..., Any]) -> RewardFunction:
  """The reward function that asks `function(trajectory, task, *, settings)` about one episode after another.

  An episode about which it raises something has no reward; the others have theirs.

  Raises:
    ValueError: the function cannot be called so.
  """
  check_takes(function, ("trajectory", "task"), named=f"the function {function.__name__!r} under @each")

  @functools.wraps(function)
  def of_group(episodes: Sequence[Trajectory], task: Task, memory: dict[str, Any], **settings: Any) -> list[Part]:
    del memory
    return [_asked(function, episode, task, settings) for episode in episodes]

  positional = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_ONLY) for name in ("episodes", "task", "memory")]
  settings = [p for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]
  of_group.__signature__ = inspect.Signature([*positional, *settings])
  return of_group


def _asked(function: Callable[..., Any], episode: Trajectory, task: Task, settings: dict[str, Any]) -> Part:
  try:
    return function(episode, task, **settings)
  except Exception as error:
    return failure(error, task, function.__name__)


def failure(error: Exception, task: Task, name: str) -> EnvironmentFailed:
  """What an episode gets in place of a reward, where the part `name` broke on it; names the line of its code."""
  if isinstance(error, EnvironmentFailed):
    return error
  words = told(error, f"task {task.id}: the reward part {name!r} failed")
  return EnvironmentFailed(f"{words} ({place_of(error)})", FailureKind.REWARD)


def told(error: Exception, what: str) -> str:
  """One line that says what failed, and how."""
  try:
    return f"{what}: {type(error).__name__}: {error}"
  except Exception:  # its own class breaks in `__str__`
    return f"{what}: {type(error).__name__}"
