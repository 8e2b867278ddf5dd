"""Makes households for ALFWorld's rules: a room, places, things in them, a goal, and commands that reach it.

Since a household is made around its goal, the way there is known without a planner.
"""

from __future__ import annotations

import collections
import dataclasses
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agentrl.envs.adapters.alfworld import package_files
from agentrl.envs.tasks.shared import splits

_BASINS = {"Sink": "SinkBasin", "Bathtub": "BathtubBasin"}
_NO_PLACE = {"HandTowelHolder", "TowelHolder", "ToiletPaperHanger", "Toaster"}  # nothing in a game fits there
_LAMP = "DeskLamp"
_LAMP_PLACES = ("Desk", "SideTable", "Dresser", "CoffeeTable", "DiningTable")
_DRAWS = 1000


@dataclasses.dataclass(frozen=True)
class Quest:
  """A type of task.

  Attributes:
    goal: its name in ALFRED.
    verb: what is done to the thing on the way, such as "heat"; empty for nothing.
    place: kind of the place where that is done.
    ability: the table of ALFRED with the things for which it works.
    things: how many are to be put away.
    lamp: the thing is looked at under a lamp, rather than put away.
  """

  goal: str
  verb: str = ""
  place: str = ""
  ability: str = ""
  things: int = 1
  lamp: bool = False


QUESTS: Mapping[str, Quest] = {
  "put": Quest("pick_and_place_simple"),
  "clean": Quest("pick_clean_then_place_in_recep", "clean", "SinkBasin", "Cleanable"),
  "heat": Quest("pick_heat_then_place_in_recep", "heat", "Microwave", "Heatable"),
  "cool": Quest("pick_cool_then_place_in_recep", "cool", "Fridge", "Coolable"),
  "two": Quest("pick_two_obj_and_place", things=2),
  "look": Quest("look_at_obj_in_light", lamp=True),
}


@dataclasses.dataclass(frozen=True)
class Size:
  """Of a household: places of one kind, kinds of things beside the one that is wanted, and copies of each, at most."""

  places: int
  kinds: int
  copies: int


SIZES = (Size(1, 4, 1), Size(3, 8, 2), Size(10, 30, 3))  # of difficulty 1, 2 and 3


@dataclasses.dataclass(frozen=True)
class House:
  """A household; plain data, so that a task can carry it.

  Attributes:
    places: (kind, name), such as ("Fridge", "fridge 1").
    things: (kind, name, name of the place).
    goal: type of task in ALFRED.
    kinds: what fills the goal's braces: "obj", "recep", "toggle", "mrecep".
    words: the goal in words.
    plan: commands that reach it.
  """

  places: Sequence[Sequence[str]]
  things: Sequence[Sequence[str]]
  goal: str
  kinds: Mapping[str, str]
  words: str
  plan: Sequence[str]


def make_house(quest: Quest, size: Size, split: str, rng: random.Random) -> House:
  """A household of one of ALFRED's train rooms, or of its test rooms for the held-out split.

  Raises:
    ValueError: no room of the split has what the quest needs.
  """
  rooms = [number for number in _rooms(split) if _room_type(number) in _types(quest)]
  for _ in range(_DRAWS):
    places, kinds = _furnish(rng.choice(rooms), size, rng)
    options = list(_options(quest, places, kinds))
    if options:
      return _fill(quest, size, places, kinds, *rng.choice(options), rng)
  raise ValueError(f"no {split} room can be made a household for {quest.goal}")


def _rooms(split: str) -> list[int]:
  tables = package_files.constants()
  test = tables["TEST_SCENE_NUMBERS"]
  return [number for number in tables["SCENE_NUMBERS"] if (number in test) == (split == splits.HELD_OUT)]


def _room_type(number: int) -> str:
  types = package_files.constants()["SCENE_TYPE"]
  return next(name for name, numbers in types.items() if number in numbers)


def _types(quest: Quest) -> set[str]:
  return package_files.constants()["GOALS_VALID"][quest.goal]


def _furnish(number: int, size: Size, rng: random.Random) -> tuple[list[tuple[str, str]], list[str]]:
  """The places of a household in a room, and the kinds of things there; every kind fits somewhere, or is the lamp."""
  tables = package_files.constants()
  holds, movable = tables["VAL_RECEPTACLE_OBJECTS"], tables["MOVABLE_RECEPTACLES_SET"]
  found, listed = package_files.room(number)
  counts = collections.Counter(_BASINS.get(kind, kind) for kind in listed)
  counts |= collections.Counter(dict.fromkeys(found, 1))
  fixed = [kind for kind in sorted(counts) if kind in holds and kind not in movable and kind not in _NO_PLACE]
  places = [
    (kind, f"{kind.lower()} {n}")
    for kind in fixed
    for n in range(1, 1 + rng.randint(1, min(counts[kind], size.places)))
  ]
  kinds = [kind for kind in found if kind == _LAMP or any(kind in holds[place] for place in fixed)]
  return places, [kind for kind in kinds if kind not in fixed]


def _options(quest: Quest, places: Sequence[tuple[str, str]], kinds: Sequence[str]) -> Iterator[tuple[str, str]]:
  """(kind of thing, kind of place it is to be put) for which the quest can be done; of a lamp's, the lamp's place."""
  tables = package_files.constants()
  holds = tables["VAL_RECEPTACLE_OBJECTS"]
  there = sorted({kind for kind, _ in places})
  if quest.place and quest.place not in there:
    return
  for thing in kinds:
    able = not quest.ability or thing in tables["VAL_ACTION_OBJECTS"][quest.ability]
    homes = {kind for kind in there if thing in holds[kind]}
    for goal in there:
      suits = goal in _LAMP_PLACES and _LAMP in kinds if quest.lamp else goal in homes
      if able and suits and homes - {goal}:
        yield thing, goal


def _fill(
  quest: Quest,
  size: Size,
  places: Sequence[tuple[str, str]],
  kinds: Sequence[str],
  wanted: str,
  goal: str,
  rng: random.Random,
) -> House:
  """Puts things into places: what is wanted never where it is to go, others anywhere."""
  holds = package_files.constants()["VAL_RECEPTACLE_OBJECTS"]
  things: list[tuple[str, str, str]] = []

  def put(kind: str, copies: int, avoid: str = "") -> None:
    homes = [name for place, name in places if kind in holds[place] and place != avoid]
    for n in range(1, copies + 1 if homes else 1):
      things.append((kind, f"{kind.lower()} {n}", rng.choice(homes)))

  put(wanted, max(quest.things, rng.randint(1, size.copies)), avoid=goal)
  others = [kind for kind in kinds if kind not in (wanted, _LAMP)]
  for kind in rng.sample(others, min(size.kinds, len(others))):
    put(kind, rng.randint(1, size.copies))
  target = rng.choice([name for place, name in places if place == goal])
  if quest.lamp:
    things.append((_LAMP, f"{_LAMP.lower()} 1", target))
  filled = {"obj": wanted, "recep": goal, "toggle": _LAMP if quest.lamp else "", "mrecep": ""}
  template = rng.choice(package_files.goals()[quest.goal]["templates"])
  words = template.format(**{name: kind.lower() for name, kind in filled.items()})
  return House(places, things, quest.goal, filled, words, _plan(quest, places, things, wanted, target))


def _plan(
  quest: Quest,
  places: Sequence[tuple[str, str]],
  things: Sequence[tuple[str, str, str]],
  wanted: str,
  target: str,
) -> list[str]:
  """Commands that reach the goal from the middle of the room."""
  openable = package_files.constants()["OPENABLE_CLASS_SET"]
  closed = {name for kind, name in places if kind in openable}
  plan: list[str] = []
  here = ""

  def visit(place: str, inside: bool = True) -> None:
    nonlocal here
    if place != here:
      plan.append(f"go to {place}")
    here = place
    if inside and place in closed:
      plan.append(f"open {place}")
      closed.remove(place)

  for _, thing, home in [thing for thing in things if thing[0] == wanted][: quest.things]:
    visit(home)
    plan.append(f"take {thing} from {home}")
    if quest.verb:
      place = next(name for kind, name in places if kind == quest.place)
      visit(place, inside=False)
      plan.append(f"{quest.verb} {thing} with {place}")
    visit(target, inside=not quest.lamp)
    plan.append(f"use {_LAMP.lower()} 1" if quest.lamp else f"move {thing} to {target}")
  return plan


# ---- PDDL -------------------------------------------------------------------------------------------------------


def symbol(name: str) -> str:
  """The PDDL symbol of a place or thing: "fridge 1" is fridge_1."""
  return name.replace(" ", "_")


def problem(house: House) -> str:
  """The household as a PDDL problem of ALFRED's domain."""
  kinds = sorted({kind for kind, *_ in house.things})
  place_kinds = sorted({kind for kind, _ in house.places})
  objects = [
    "agent1 - agent",
    "middle - location",
    *(f"at_{symbol(name)} - location" for _, name in house.places),
    *(f"{symbol(name)} - receptacle" for _, name in house.places),
    *(f"{symbol(name)} - object" for _, name, _ in house.things),
    *(f"{kind}Type - rtype" for kind in place_kinds),
    *(f"{kind}Type - otype" for kind in kinds),
  ]
  goal = package_files.goals()[house.goal]["pddl"].format(**house.kinds).replace("#", "-")
  facts = [f"({fact})" for fact in _facts(house, place_kinds, kinds)]
  head = ["(define (problem household)", "(:domain alfred)"]
  return "\n".join([*head, "(:objects", *objects, ")", "(:init", *facts, ")", goal])


def _facts(house: House, place_kinds: Sequence[str], kinds: Sequence[str]) -> Iterator[str]:
  tables = package_files.constants()
  yield "atLocation agent1 middle"
  for place in place_kinds:
    for kind in kinds:
      if kind in tables["VAL_RECEPTACLE_OBJECTS"][place]:
        yield f"canContain {place}Type {kind}Type"
  for kind, name in house.places:
    yield f"receptacleType {symbol(name)} {kind}Type"
    yield f"receptacleAtLocation {symbol(name)} at_{symbol(name)}"
    if kind in tables["OPENABLE_CLASS_SET"]:
      yield f"openable {symbol(name)}"
  for kind, name, place in house.things:
    yield f"objectType {symbol(name)} {kind}Type"
    yield f"inReceptacle {symbol(name)} {symbol(place)}"
    yield f"objectAtLocation {symbol(name)} at_{symbol(place)}"
    yield from (f"{ability} {symbol(name)}" for ability in _abilities(kind, tables))


def _abilities(kind: str, tables: Mapping[str, Any]) -> Iterator[str]:
  if kind != _LAMP:
    yield "pickupable"
  for ability in ("Cleanable", "Coolable", "Heatable", "Sliceable", "Toggleable"):
    if kind in tables["VAL_ACTION_OBJECTS"][ability]:
      yield ability.lower()
