"""MiniGrid levels in words, and the bot that solves them."""

import contextlib

import numpy as np
import pytest

pytest.importorskip("gymnasium", reason="needs agentrl[gymnasium]")
pytest.importorskip("minigrid", reason="needs agentrl[gymnasium]")
from agentrl import envs
from agentrl.envs.adapters.gymnasium import minigrid_view


def play(source, task, actions):
  with contextlib.closing(source.environment()) as environment:
    environment.reset(task, 0)
    return [environment.step(action) for action in actions]


@pytest.mark.slow
@pytest.mark.parametrize("level", ["BossLevel", "KeyCorridor", "Synth", "UnlockPickup", "PickupLoc", "GoToSeq"])
def test_the_bot_solves_harder_levels(level):
  source = envs.make("gymnasium", "", options={"env": f"BabyAI-{level}-v0", "turns": 500})
  won = [
    play(source, task, source.oracle(task))[-1].parts["correct"] for task in map(source.task, range(50), ["train"] * 50)
  ]
  assert sum(won) >= 48  # the bot is lost in a few of them


def test_a_level_in_words():
  image = np.full((7, 7, 3), (1, 0, 0))
  image[3, 6] = (10, 0, 0)
  image[3, 5], image[1, 4], image[5, 6] = (4, 2, 2), (6, 0, 0), (2, 5, 0)

  class World:
    unwrapped = type("Level", (), {"carrying": type("Key", (), {"color": "grey", "type": "key"})})

  assert minigrid_view.describe(World, {"image": image, "mission": "open the door"}).split("\n") == [
    "Mission: open the door.",
    "You carry a grey key.",
    "You see: a locked blue door 1 step forward, a red ball 2 steps forward and 2 steps left.",
    "Walls: 2 steps right.",
  ]
