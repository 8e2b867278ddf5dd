"""Households: what is wanted, where they stand, and how they grow."""

import pytest

pytest.importorskip("fast_downward", reason="needs agentrl[alfworld]")
pytest.importorskip("textworld", reason="needs agentrl[alfworld]")
from agentrl.envs.adapters import alfworld as world
from agentrl.envs.adapters.alfworld import house
from agentrl.envs.adapters.text_game import command_of


def test_nothing_is_wanted_that_is_there_already_and_all_can_be_said():
  for game, quest in world.QUESTS.items():
    for difficulty in (1, 2, 3):
      for index in range(60):
        house = world.generate(index, split="train", game=game, difficulty=difficulty).data["house"]
        kind_of = {name: kind for kind, name in house["places"]}
        wanted = [kind_of[place] for kind, _, place in house["things"] if kind == house["kinds"]["obj"]]
        assert len(wanted) >= quest.things
        assert house["kinds"]["recep"] not in wanted
        assert len({name for _, name, _ in house["things"]}) == len(house["things"])
        assert all(command_of(command) == command for command in house["plan"])


def test_held_out_households_stand_in_other_rooms():
  rooms = {split: set(house._rooms(split)) for split in ("train", "held_out")}
  assert not rooms["train"] & rooms["held_out"]
  assert {split: len(numbers) for split, numbers in rooms.items()} == {"train": 96, "held_out": 24}


def test_the_dial_adds_places_and_things():
  sizes = []
  for difficulty in (1, 2, 3):
    houses = [world.generate(n, split="train", difficulty=difficulty).data["house"] for n in range(120)]
    sizes.append((sum(len(house["places"]) for house in houses), sum(len(house["things"]) for house in houses)))
  assert sizes[0] < sizes[1] < sizes[2]
  assert sizes[0][1] < sizes[1][1] < sizes[2][1]
