"""Families mixed by weight: one source of tasks, made of several.

Which entry a task is of depends on its number alone. The numbers fall into rounds, as long as the weights ask for, and
a round's places go to the entries in turns that are spread evenly: by smooth weighted round robin, in which every entry
earns its share of a place at each of them, and the one that has earned most takes it and pays a whole one. So any
stretch of numbers holds the entries by their weights, to within about one task each, in training and held out alike;
and each entry sees the numbers of its own tasks, 0, 1, 2, ..., none left out.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from agentrl import envs
from agentrl.envs import TaskSource
from agentrl.envs.base import Environment, NoEpisode
from agentrl.envs.habits import NEEDED
from agentrl.envs.tool import ToolSpec
from agentrl.types import Action, Message, Observation, Task

LONGEST_ROUND = 1000  # places; weights that ask for a longer one are rounded to it


def make(mixture: Mapping[str, Mapping[str, Any]], **settings: Any) -> TaskSource:
  """Tasks of every entry of a mixture, or of one family where the mixture is empty.

  Args:
    mixture: settings of each entry by its name: "weight", and arguments of `envs.make`.
    settings: arguments of `envs.make`, for all entries; those of an entry come first.

  Raises:
    ValueError: a weight that is not positive; or as `envs.make`, and names the entry, as a note of every error does.
  """
  if not mixture:
    return envs.make(**settings)
  with contextlib.ExitStack() as on_error:
    sources = {}
    for name, own in mixture.items():
      arguments = {**settings, **own}
      del arguments["weight"]
      try:
        sources[name] = envs.make(**arguments)
      except ValueError as error:
        raise ValueError(f"entry {name!r} of the mixture: {error}") from error
      except Exception as error:  # of a package that is missing, of the user's own family
        error.add_note(f"This is about entry {name!r} of the mixture.")
        raise
      on_error.callback(sources[name].close)
    mixed = mix(sources, {name: own["weight"] for name, own in mixture.items()})
    on_error.pop_all()
  return mixed


def mix(sources: Mapping[str, TaskSource], weights: Mapping[str, float]) -> TaskSource:
  """One source of the tasks of several, by weight; a task's id begins with the name of its entry.

  Args:
    sources: by the name of the entry; whoever closes the result closes them.
    weights: by the same names.

  Raises:
    ValueError: a weight that is not positive.
  """
  turns = Turns(weights)
  first, *others = sources.values()
  common = [spec for spec in first.tools if all(spec in other.tools for other in others)]
  specs = [spec for source in sources.values() for spec in (*source.tools, *source.more_tools)]
  more = [spec for n, spec in enumerate(specs) if spec not in common and spec not in specs[:n]]

  def task(index: int, split: str) -> Task:
    entry, number = turns.at(index)
    made = sources[entry].task(number, split)
    return dataclasses.replace(made, id=f"{entry}/{made.id}", entry=entry)

  def oracle(task: Task, habit: str = NEEDED) -> list[Action]:
    return sources[task.entry].oracle(task, habit)

  habits = [name for name in first.habits if all(name in other.habits for other in others)]
  pools = [pool for source in sources.values() for pool in source.pools]
  environment = functools.partial(MixedEnvironment, sources, common)
  return TaskSource(common, task, environment, oracle, habits, pools, more)


class Turns:
  """Who takes which place, by weights.

  Args:
    weights: positive, by the name of the entry.

  Raises:
    ValueError: one that is not positive.
  """

  def __init__(self, weights: Mapping[str, float]):
    for name, weight in weights.items():
      if not (math.isfinite(weight) and weight > 0):
        raise ValueError(f"entry {name!r} of the mixture: its weight is {weight}, and must be positive")
    self.round = _round(weights)
    self._before: list[int] = []  # of each place of a round, how many earlier ones its entry has
    counts = dict.fromkeys(weights, 0)
    for entry in self.round:
      self._before.append(counts[entry])
      counts[entry] += 1
    self._counts = counts

  def at(self, index: int) -> tuple[str, int]:
    """The entry that takes place `index`, and how many places it took before."""
    rounds, place = divmod(index, len(self.round))
    entry = self.round[place]
    return entry, rounds * self._counts[entry] + self._before[place]


def _round(weights: Mapping[str, float]) -> tuple[str, ...]:
  """The names in the order of their turns, each as often as its weight says."""
  counts = _counts(weights)
  places, earned = sum(counts.values()), dict.fromkeys(counts, 0)
  turns = []
  for _ in range(places):
    for name, count in counts.items():
      earned[name] += count
    turns.append(max(earned, key=earned.__getitem__))  # of equals the first by name
    earned[turns[-1]] -= places
  return tuple(turns)


def _counts(weights: Mapping[str, float]) -> dict[str, int]:
  """Places of each entry in the shortest round that has them by weight, once at least."""
  exact = {name: Fraction(str(weights[name])) for name in sorted(weights)}
  shares = {name: weight / sum(exact.values()) for name, weight in exact.items()}
  places = min(math.lcm(*(share.denominator for share in shares.values())), LONGEST_ROUND)
  return {name: max(1, round(share * places)) for name, share in shares.items()}


class MixedEnvironment:
  """See `Environment`. `reset` says which entry the task is of, and so whose environment this is.

  Args:
    sources: by the name of the entry.
    tools: what all of them offer.
  """

  def __init__(self, sources: Mapping[str, TaskSource], tools: Sequence[ToolSpec]):
    self._sources, self._common = sources, tools
    self._inner: Environment | None = None

  @property
  def tools(self) -> Sequence[ToolSpec]:
    """Those of the entry; before `reset`, those of every entry."""
    return self._common if self._inner is None else self._inner.tools

  def reset(self, task: Task, seed: int) -> list[Message]:
    """Opens an environment of the task's entry."""
    self.close()
    self._inner = self._sources[task.entry].environment()
    return self._inner.reset(task, seed)

  def step(self, action: Action) -> Observation:
    """Answers one turn.

    Raises:
      NoEpisode: none is open.
    """
    if self._inner is None:
      raise NoEpisode()
    return self._inner.step(action)

  def close(self) -> None:
    """Closes the entry's environment, if there is one."""
    inner, self._inner = self._inner, None
    if inner is not None:
      inner.close()
