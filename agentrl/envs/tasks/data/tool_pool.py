"""A pool of typed tools whose results are hashes, and every way to call some of them from given values.

The name of a tool begins with the type of what it gives, so that `cX(k)` reads: from a k to a c. Types are in an order,
and a tool takes only types that come before the one it gives, so that no chain of calls is endless.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import random
from collections.abc import Mapping, Sequence

from agentrl.envs.tasks.shared import splits

COUNT = "n"  # the parameter that takes a number which is computed; no type has this name
TYPES = "bcdfghjklmprstvwxz"
LARGEST = 2000
_CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclasses.dataclass(frozen=True)
class Definition:
  """One tool.

  Attributes:
    name: the type of what it gives, then capitals that tell it apart.
    inputs: its parameters: types, each named as itself, and last of all perhaps `COUNT`.
  """

  name: str
  inputs: tuple[str, ...]

  @property
  def output(self) -> str:
    """The type of what it gives."""
    return self.name[0]


@dataclasses.dataclass(frozen=True)
class Call:
  """A call, as plain data: the tool's name, and pairs of a parameter and its argument."""

  name: str
  arguments: tuple[tuple[str, str | int], ...]


@dataclasses.dataclass(frozen=True)
class Derived:
  """A value, and the calls that lead to it: each once, none before those whose results it takes."""

  value: str
  calls: tuple[Call, ...] = ()


@functools.lru_cache(maxsize=16)
def pool(size: int, *, types: int, least: int, most: int, seed: int) -> tuple[Definition, ...]:
  """The tools of a world; a pure function of its arguments.

  Args:
    size: how many, up to `LARGEST`.
    types: how many types of values there are.
    least: parameters that a tool has at least.
    most: parameters that it has at most. One with two or more takes a `COUNT` as its last.
    seed: another pool.

  Raises:
    ValueError: numbers that make no pool.
  """
  if not 1 <= size <= LARGEST:
    raise ValueError(f"pool must be between 1 and {LARGEST} tools, got {size}")
  if not 0 <= least <= most <= 3:
    raise ValueError(f"least_parameters={least} and most_parameters={most}: tools have 0 to 3 parameters")
  base = max(_typed(most), 1)  # types that are given and that no tool gives
  if not base < types <= len(TYPES):
    raise ValueError(f"types must be between {base + 1} and {len(TYPES)}, got {types}")
  rng = random.Random(repr(("tool pool", size, types, least, most, seed)))
  width = next(n for n in (1, 2, 3) if len(_CAPITALS) ** n >= size)
  labels = rng.sample(list(map("".join, itertools.product(_CAPITALS, repeat=width))), size)
  places = rng.sample([base + n % (types - base) for n in range(size)], size)
  made = []
  for number, (label, place) in enumerate(zip(labels, places, strict=True)):
    parameters = least + number % (most - least + 1)
    taken = sorted(rng.sample(range(place), _typed(parameters)))
    inputs = [TYPES[n] for n in taken] + [COUNT] * (parameters > len(taken))
    made.append(Definition(TYPES[place] + label, tuple(inputs)))
  return tuple(made)


def _typed(parameters: int) -> int:
  """How many of a tool's parameters take typed values."""
  return parameters - 1 if parameters >= 2 else parameters


def result(name: str, arguments: Mapping[str, str | int], salt: str) -> str:
  """What a tool gives: three digits that only calling it tells.

  Args:
    name: of the tool.
    arguments: by parameter.
    salt: of the task, so that nothing is learned by heart.
  """
  return str(100 + splits.digest(f"{salt} {name} {sorted(arguments.items())}") % 900)


def derivations(
  tools: Sequence[Definition], given: Mapping[str, str], count: int, salt: str
) -> dict[str, list[Derived]]:
  """All ways to a value of each type, by brute force.

  Args:
    tools: those that may be called.
    given: a value by its type.
    count: the number that a `COUNT` takes.
    salt: see `result`.
  """
  ways = {kind: [Derived(given[kind])] if kind in given else [] for kind in TYPES}
  for tool in sorted(tools, key=lambda tool: TYPES.index(tool.output)):
    sources = [ways[kind] if kind != COUNT else [Derived(count)] for kind in tool.inputs]
    for chosen in itertools.product(*sources):
      arguments = {name: source.value for name, source in zip(tool.inputs, chosen, strict=True)}
      call = Call(tool.name, tuple(arguments.items()))
      ways[tool.output].append(Derived(result(tool.name, arguments, salt), joined([*chosen, Derived("", (call,))])))
  return ways


def joined(derived: Sequence[Derived]) -> tuple[Call, ...]:
  """The calls of several derivations, each once and in order."""
  return tuple(dict.fromkeys(call for one in derived for call in one.calls))
