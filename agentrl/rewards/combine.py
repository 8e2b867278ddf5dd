"""The reward of every episode of a task's group: weighted parts, carried by the turns that earned them."""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import numbers
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from agentrl.named import by_name, type_told, with_settings
from agentrl.rewards import REWARDS
from agentrl.rewards.contract import RewardFunction, failure, is_across_tasks
from agentrl.types import LARGEST_REWARD, EnvironmentFailed, FailureKind, StopReason, Task, Trajectory

ALL_TASKS = ""  # no task has this id
ENOUGH_ANSWERS = 4  # before a part that none of them has counts as misspelt


@dataclasses.dataclass(frozen=True)
class Reward:
  """What the episodes of a run are worth; `make_reward` builds it.

  Attributes:
    weights: of each part, by its name.
    functions: of those parts that a reward function gives; the environment itself gives the others.
    across_tasks: parts whose function has one memory for all tasks.
  """

  weights: Mapping[str, float]
  functions: Mapping[str, RewardFunction]
  across_tasks: Collection[str] = ()


def make_reward(weights: Mapping[str, float], options: Mapping[str, Mapping[str, Any]]) -> Reward:
  """The reward of a config.

  Args:
    weights: weight of each part. Its name is one of `REWARDS`, or the import path of a reward function,
      "my_project.rewards:toolrl", whose part is then called as the function, or a part that the environment gives.
    options: settings of the functions, by the same names.

  Raises:
    ValueError: no weights, one that is not finite, options for a part without weight or without settings, a setting
      that is unknown or missing, two parts of one name, or what the turns earned counted twice.
  """
  if not weights:
    raise ValueError("a reward needs at least one weighted part, such as {'correct': 1.0}")
  takes = ("episodes", "task", "memory")
  functions = {
    name: by_name(REWARDS, name, kind="reward", takes=takes) for name in weights if name in REWARDS or ":" in name
  }
  for name in options:
    if name not in functions:
      raise ValueError(
        f"options for the reward part {name!r}, which has no weight or takes none; weights: {[*weights]}"
      )
  for name, weight in weights.items():
    if not math.isfinite(weight):
      raise ValueError(f"the weight of reward part {name!r} is {weight}")
  if weights.get("turn_rewards") and weights.get("return"):
    raise ValueError(
      "the part 'return' is the sum of what 'turn_rewards' gives turn by turn: with a weight on both it counts twice"
    )
  bound = {
    name: with_settings(function, options.get(name, {}), section=f"reward_options.{name}")
    for name, function in functions.items()
  }
  called = [_part_name(name) for name in weights]
  if twice := {name for name in called if called.count(name) > 1}:
    raise ValueError(f"two reward parts are called {min(twice)!r}: give one of the functions another name")
  by_part = {_part_name(name): function for name, function in bound.items()}
  across = {_part_name(name) for name, function in functions.items() if is_across_tasks(function)}
  return Reward({_part_name(name): weight for name, weight in weights.items()}, by_part, across)


def remembered(memory: Mapping[str, Any], task: Task) -> dict[str, Any]:
  """What the functions remember for a group of a task, by part.

  Args:
    memory: of a run: by task id, and under `ALL_TASKS` what is one for all tasks.
    task: whose id is not `ALL_TASKS`.
  """
  return {**memory.get(task.id, {}), **memory.get(ALL_TASKS, {})}


def remember(memory: dict[str, Any], task: Task, kept: Mapping[str, Any], reward: Reward) -> None:
  """Puts what the functions remember behind a group of a task into the memory of a run.

  Args:
    memory: as of `remembered`; changed.
    task: as there.
    kept: by part, as `assign` gave it.
    reward: says whose memory is one for all tasks.
  """
  across = {name: of_part for name, of_part in kept.items() if name in reward.across_tasks}
  own = {name: of_part for name, of_part in kept.items() if name not in reward.across_tasks}
  memory |= {ALL_TASKS: across, task.id: own}


def assign(
  reward: Reward, episodes: Sequence[Trajectory], task: Task, memory: Mapping[str, Any]
) -> tuple[list[Trajectory | EnvironmentFailed], dict[str, Any]]:
  """Copies with what every turn earned, and with every part in `reward_parts`.

  A part that is a number per turn is earned by the turns, any other by the last one: `turn.reward` is the weighted sum
  of what the turn earned, `reward` their sum, and `reward_parts` has the sum over turns of each part before its weight.
  A part with weight 0 is computed and recorded all the same. Where the environment failed there is no reward, which
  is not a reward of 0. A part of the environment's own is 0 where a limit ended the episode before it could be given.

  Args:
    episodes: finished ones of one group; `reward_parts` holds what the environment gave at the end, and `turn.reward`
      what it gave for each turn.
    task: the task that they are about.
    memory: see `remembered`; it is left as it is.

  Returns:
    In place of an episode of which no reward can be made the `EnvironmentFailed` that says why: a part is unknown,
    broke, or gave no finite numbers of at most `LARGEST_REWARD`, or their sum is none. And the memory afterwards.
  """
  running = [episode for episode in episodes if not episode.failed]
  after = dict(memory)
  values: dict[str, Sequence[Any]] = {}
  for name in reward.weights:
    if name in reward.functions:
      values[name], after[name] = _asked(reward.functions[name], name, running, task, memory.get(name, {}))
    else:
      values[name] = [_given(name, episode, task) for episode in running]
  rewarded = iter([
    _rewarded(episode, task, reward.weights, {name: values[name][n] for name in values})
    for n, episode in enumerate(running)
  ])  # fmt: skip
  bare = {"reward_parts": None, "reward": None}
  outcomes = [dataclasses.replace(episode, **bare) if episode.failed else next(rewarded) for episode in episodes]
  return outcomes, {name: kept for name, kept in after.items() if kept}


def check_parts(reward: Reward, trajectories: Sequence[Trajectory]) -> None:
  """Refuses a misspelt part, which would make every answer a failure of the environment.

  Args:
    reward: what the parts are. trajectories: finished ones of several tasks, before `assign`.

  Raises:
    ValueError: a part is of no function, and no environment gave it though at least `ENOUGH_ANSWERS` were answered.
  """
  given = [t.reward_parts or {} for t in trajectories if t.stop is StopReason.ANSWERED]
  if len(given) < ENOUGH_ANSWERS:
    return
  for name in reward.weights:
    if name not in reward.functions and not any(name in parts for parts in given):
      raise ValueError(f"reward: {_unknown_part(name, {part for parts in given for part in parts})}")


# ---- names and settings ---------------------------------------------------------------------------------------------


def _part_name(name: str) -> str:
  """What the part of an import path is called: as its function."""
  return name.rpartition(":")[2]


def _unknown_part(name: str, given: Collection[str]) -> str:
  known = [*REWARDS, *sorted(part for part in given if part not in REWARDS)]
  near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
  hint = f"did you mean {near[0]!r}? " if near else ""
  return f"no reward part is called {name!r}: {hint}known: {', '.join(known)}, or the import path of a function"


# ---- parts ----------------------------------------------------------------------------------------------------------


def _asked(function: RewardFunction, name: str, episodes: Sequence[Trajectory], task: Task, memory: Mapping[str, Any]):
  """What a function gives of each episode, and what it remembers then; where it broke, that, and the memory of before.

  The memory is a copy that went through JSON, as it will have gone where the run was killed and goes on.
  """
  own = json.loads(json.dumps(memory))
  try:
    given = function(episodes, task, own)
    given = list(given) if isinstance(given, Iterator) else given  # a generator runs here
  except Exception as error:
    return [failure(error, task, name)] * len(episodes), memory
  try:
    parts = _one_for_each(given, len(episodes))
    return parts, _as_saved(own)
  except ValueError as error:
    told = f"task {task.id}: the reward part {name!r}: {error}"
    return [EnvironmentFailed(told, FailureKind.REWARD)] * len(episodes), memory


def _one_for_each(given: Any, episodes: int) -> list[Any]:
  """What a function gave as a list. Raises ValueError where it is no list of one part for each episode."""
  if isinstance(given, str | Mapping) or not isinstance(given, Iterable):
    raise ValueError(f"it gave {type_told(given)}; a list with one part for each of {episodes} episodes was due")
  parts = list(given)
  if len(parts) != episodes:
    raise ValueError(f"it gave {len(parts)} parts of {episodes} episodes; one for each was due")
  return parts


def _as_saved(own: dict[str, Any]) -> dict[str, Any]:
  """What a function remembers, as a checkpoint gives it back. Raises ValueError where it is no JSON."""
  try:
    return json.loads(json.dumps(own, allow_nan=False))
  except (TypeError, ValueError, RecursionError) as error:
    raise ValueError(f"what it keeps in `memory` must be JSON values: {error}") from error


def _given(name: str, episode: Trajectory, task: Task) -> Any:
  """A part that the environment itself gave."""
  given = episode.reward_parts or {}
  if name in given:
    return given[name]
  if episode.stop is not StopReason.ANSWERED:
    return 0.0
  return EnvironmentFailed(f"task {task.id}: {_unknown_part(name, given)}", FailureKind.REWARD)


def _rewarded(
  episode: Trajectory, task: Task, weights: Mapping[str, float], values: Mapping[str, Any]
) -> Trajectory | EnvironmentFailed:
  """The episode with its reward, of its parts; or why it has none."""
  try:
    parts = {name: _numbers(value, name, episode, task) for name, value in values.items()}
    turns = [math.fsum(earned) for earned in _by_turn(episode, task, weights, parts)]
    reward = _checked(math.fsum(turns), "the reward", task)
  except EnvironmentFailed as failed:
    return failed
  sums = {name: math.fsum(part) if isinstance(part, list) else part for name, part in parts.items()}
  return dataclasses.replace(
    episode,
    turns=tuple(dataclasses.replace(turn, reward=r) for turn, r in zip(episode.turns, turns, strict=False)),
    reward_parts={**(episode.reward_parts or {}), **sums},
    reward=reward,
  )


def _by_turn(
  episode: Trajectory, task: Task, weights: Mapping[str, float], parts: Mapping[str, float | list[float]]
) -> list[list[float]]:
  """The weighted parts that each turn earned; of an episode without turns, all of them in one."""
  earned: list[list[float]] = [[] for _ in episode.turns] or [[]]
  for name, part in parts.items():
    what = f"the weighted part {name!r}"
    for n, value in enumerate(part) if isinstance(part, list) else [(-1, part)]:
      earned[n].append(_checked(weights[name] * value, what, task))
  return earned


def _numbers(value: Any, name: str, episode: Trajectory, task: Task) -> float | list[float]:
  """A part as a number, or as a list of one number per turn."""
  if isinstance(value, EnvironmentFailed):
    raise value
  what = f"the reward part {name!r}"
  if not (isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim == 1)):
    return _checked(value, what, task)
  if len(value) != len(episode.turns):
    told = f"task {task.id}: {what} has {len(value)} numbers for {len(episode.turns)} turns; it must have one for each"
    raise EnvironmentFailed(told, FailureKind.REWARD)
  return [_checked(number, what, task) for number in value]


def _checked(value: Any, what: str, task: Task) -> float:
  """The value as a number that float32 arithmetic survives."""
  try:
    number = float(value) if isinstance(value, numbers.Real | np.bool_) else None
  except OverflowError:
    number = math.inf
  if number is None or not abs(number) <= LARGEST_REWARD:
    found = type_told(value) if number is None else f"{number:g}"
    told = f"task {task.id}: {what} is {found}; it must be a finite number of at most {LARGEST_REWARD:g} either way"
    raise EnvironmentFailed(told, FailureKind.REWARD)
  return number
