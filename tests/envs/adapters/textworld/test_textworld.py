"""TextWorld's own ways to win, going back, verbs that are kept from the interpreter, and the folder of games."""

import json
import sys

import pytest

pytest.importorskip("jericho", reason="needs agentrl[textworld]")
pytest.importorskip("textworld", reason="needs agentrl[textworld]")

from agentrl.envs.adapters import textworld as world
from agentrl.envs.base import Setting
from agentrl.envs.tasks.shared import traces
from agentrl.envs.tool import ToolLimits

PATIENT = Setting(limits=ToolLimits(call_seconds=60))
GAMES = ("simple", "cooking", "coin", "treasure")


def opened(task):
  environment = world.environment(PATIENT)
  environment.opening = environment.reset(task, 0)[-1].content
  return environment


def assert_won(task):
  environment = opened(task)
  observations = [environment.step(action) for action in world.oracle(task)]
  environment.close()
  assert all(observation.ok for observation in observations)
  assert [observation.done for observation in observations] == [False] * (len(observations) - 1) + [True]
  assert observations[-1].parts == {"correct": 1.0, "score": 1.0}
  assert sum(observation.reward for observation in observations) == pytest.approx(1.0)


def test_a_game_is_won_as_it_was_made(task):
  assert_won(task)


@pytest.mark.slow
@pytest.mark.parametrize("split", ["train", "held_out"])
@pytest.mark.parametrize("difficulty", [1, 2, 3])
@pytest.mark.parametrize("game", GAMES)
def test_each_game_is_won_at_each_difficulty_in_both_splits(games, game, difficulty, split):
  assert_won(world.generate(0, split=split, game=game, difficulty=difficulty, tool=difficulty == 2, steps=100))


def test_the_opening_has_the_goal_and_the_room_and_no_banner(task):
  environment = opened(task)
  environment.close()
  assert "coin" in environment.opening
  assert "-= " in environment.opening
  assert "$$" not in environment.opening
  assert "\n>" not in environment.opening
  assert "Commands: " in environment.opening
  assert "inventory; look" in environment.opening


def test_two_games_at_once_do_not_touch(task):
  first, second = opened(task), opened(task)
  actions = world.oracle(task)
  for action in actions:
    mine = first.step(action)
    second.step(traces.answer("look"))
  assert mine.parts["correct"] == 1.0
  assert [second.step(action) for action in actions][-1].parts["correct"] == 1.0
  first.close()
  second.close()


# ---- the folder of games ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_so_many_games_come_again_and_again():
  recipes = [world.generate(n, split="train", game="coin", games=3).data["recipe"]["seed"] for n in range(7)]
  assert recipes[:3] == recipes[3:6] and recipes[6] == recipes[0] and len(set(recipes)) == 3
  assert len({world.generate(n, split="train", game="coin", games=3).id for n in range(7)}) == 7
  with pytest.raises(ValueError, match="games must be 0 or more, got -1"):
    world.generate(0, split="train", games=-1)


def test_held_out_games_of_two_kinds_are_about_other_foods(games):
  simple, cooking = (world.generate(0, split="held_out", game=game).data["recipe"] for game in ("simple", "cooking"))
  assert simple["settings"]["test"] is True
  assert cooking["settings"]["split"] == "test"
  assert world.generate(0, split="train", game="cooking").data["recipe"]["settings"]["split"] == "train"
  assert sys.getsizeof(json.dumps(simple)) < 500
