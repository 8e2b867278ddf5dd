"""A trajectory's reward: the weighted sum of named parts."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import math
import numbers
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from agentrl.rewards.parts import PARTS
from agentrl.types import LARGEST_REWARD, EnvironmentFailed, FailureKind, StopReason, Task, Trajectory

ENOUGH_ANSWERS = 4  # before a part that none of them has counts as misspelt


def assign(
  trajectory: Trajectory, task: Task, weights: Mapping[str, float], **options: Mapping[str, Any]
) -> Trajectory:
  """A copy with `reward = sum_i w_i part_i`, and with every weighted part in `reward_parts`.

  Where the environment failed both are None: that is no reward, and not a reward of 0. A part with weight 0 is
  computed and recorded all the same.

  Args:
    trajectory: finished; `reward_parts` holds what the environment gave at the end.
    task: the task it is about.
    weights: part name to weight. A name is one of `PARTS`, or of the environment's own parts; the latter are 0 where a
      limit ended the trajectory before the environment could give them.
    **options: part name to that part's keyword arguments: `soft_overlong={"max_tokens": 512, "buffer": 64}`.

  Raises:
    EnvironmentFailed: no reward can be made of what the environment gave: a part is unknown or raises, or it, or the
      sum, is no finite number of at most `LARGEST_REWARD`.
    ValueError: no weights, one that is not finite, or options for a part without weight.
    TypeError: a wrong or missing keyword argument of a part.
  """
  _check_names(weights, options)
  if trajectory.failed:
    return dataclasses.replace(trajectory, reward_parts=None, reward=None)
  parts = dict(trajectory.reward_parts or {})
  parts |= {name: _value(name, trajectory, task, options.get(name, {})) for name in weights}
  shares = [_checked(weight * parts[name], f"the weighted part {name!r}", task) for name, weight in weights.items()]
  reward = _checked(math.fsum(shares), "the reward", task)
  return dataclasses.replace(trajectory, reward_parts=parts, reward=reward)


def check_parts(weights: Mapping[str, float], trajectories: Sequence[Trajectory]) -> None:
  """Refuses a misspelt part, which would make every answer a failure of the environment.

  Args:
    weights: part name to weight. trajectories: finished ones of several tasks, before `assign`.

  Raises:
    ValueError: a name is none of `PARTS`, and no environment gave it though at least `ENOUGH_ANSWERS` were answered.
  """
  given = [t.reward_parts or {} for t in trajectories if t.stop is StopReason.ANSWERED]
  if len(given) < ENOUGH_ANSWERS:
    return
  for name in weights:
    if name not in PARTS and not any(name in parts for parts in given):
      raise ValueError(f"reward: {_unknown_part(name, {part for parts in given for part in parts})}")


def _unknown_part(name: str, given: Collection[str]) -> str:
  known = [*PARTS, *sorted(part for part in given if part not in PARTS)]
  near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
  hint = f"did you mean {near[0]!r}? " if near else ""
  return f"no reward part is called {name!r}: {hint}known: {', '.join(known)}"


def _check_names(weights: Mapping[str, float], options: Mapping[str, Any]) -> None:
  if not weights:
    raise ValueError("a reward needs at least one weighted part, such as {'correct': 1.0}")
  for name in options:
    if name not in weights or name not in PARTS:
      raise ValueError(
        f"options for the reward part {name!r}, which has no weight or takes none; weights: {[*weights]}"
      )
  for name, weight in weights.items():
    if not math.isfinite(weight):
      raise ValueError(f"the weight of reward part {name!r} is {weight}")
    if name in PARTS:
      inspect.signature(PARTS[name]).bind(None, None, **options.get(name, {}))


def _value(name: str, trajectory: Trajectory, task: Task, options: Mapping[str, Any]) -> float:
  given = trajectory.reward_parts or {}
  if name in PARTS:
    value = _asked(name, trajectory, task, options)
  elif name in given:
    value = given[name]
  elif trajectory.stop is not StopReason.ANSWERED:
    value = 0.0
  else:
    raise EnvironmentFailed(f"task {task.id}: {_unknown_part(name, given)}", FailureKind.REWARD)
  return _checked(value, f"the reward part {name!r}", task)


def _asked(name: str, trajectory: Trajectory, task: Task, options: Mapping[str, Any]) -> Any:
  """What the function of a part gives."""
  try:
    return PARTS[name](trajectory, task, **options)
  except EnvironmentFailed:
    raise
  except Exception as error:
    raise EnvironmentFailed(
      _told(error, f"task {task.id}: the reward part {name!r} failed"), FailureKind.REWARD
    ) from error


def _told(error: Exception, what: str) -> str:
  """One line that says what failed, and how."""
  try:
    return f"{what}: {type(error).__name__}: {error}"
  except Exception:  # its own class breaks in `__str__`
    return f"{what}: {type(error).__name__}"


def _checked(value: Any, what: str, task: Task) -> float:
  """The value as a number that float32 arithmetic survives."""
  try:
    number = float(value) if isinstance(value, numbers.Real | np.bool_) else None
  except OverflowError:
    number = math.inf
  if number is None or not abs(number) <= LARGEST_REWARD:
    found = f"a {type(value).__name__}" if number is None else f"{number:g}"
    told = f"task {task.id}: {what} is {found}; it must be a finite number of at most {LARGEST_REWARD:g} either way"
    raise EnvironmentFailed(told, FailureKind.REWARD)
  return number
