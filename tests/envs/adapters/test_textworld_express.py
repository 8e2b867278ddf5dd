"""The games' own demonstrations against the games, and the folds against the package."""

import shutil

import pytest

pytest.importorskip("textworld_express", reason="needs agentrl[textworld-express]")
if shutil.which("java") is None:
  pytest.skip("needs Java", allow_module_level=True)

from agentrl.envs.adapters import textworld_express as world
from agentrl.envs.adapters.java import JavaMachine
from agentrl.envs.base import Setting
from agentrl.envs.tasks.shared import traces
from agentrl.envs.tool import ToolLimits

PATIENT = Setting(limits=ToolLimits(call_seconds=60))


def play(task):
  """The oracle's game: its first message and its observations."""
  environment = world.environment(PATIENT)
  try:
    (first,) = environment.reset(task, 0)
    return first.content, [environment.step(action) for action in world.oracle(task)]
  finally:
    environment.close()


def assert_won(task):
  first, observations = play(task)
  assert len(first) > len(task.question) + 20
  assert all(observation.ok for observation in observations)
  assert [observation.done for observation in observations] == [False] * (len(observations) - 1) + [True]
  assert observations[-1].parts == {"correct": 1.0, "score": 1.0}
  assert sum(observation.reward for observation in observations) == pytest.approx(1.0)


@pytest.mark.parametrize("game", world.PARAMETERS)
def test_each_game_is_won_by_its_demonstration(game):
  assert_won(world.generate(0, split="train", game=game, tool=game == "twc", show_commands=game == "coin"))


@pytest.mark.slow
@pytest.mark.parametrize("split", ["train", "held_out"])
@pytest.mark.parametrize("difficulty", [1, 2, 3])
@pytest.mark.parametrize("game", world.PARAMETERS)
def test_each_game_is_won_at_each_difficulty_in_both_splits(game, difficulty, split):
  for index in range(3):
    assert_won(world.generate(index, split=split, game=game, difficulty=difficulty, steps=200))


def test_the_goal_comes_first_and_a_word_it_does_not_know_is_told():
  environment = world.environment(PATIENT)
  task = world.generate(0, split="train", game="coin", steps=2, show_commands=True)
  (first,) = environment.reset(task, 0)
  assert "search the environment and find the coin" in first.content
  assert "Commands: inventory; look around" in first.content
  observation = environment.step(traces.answer("fly to the moon"))
  assert (observation.ok, observation.done, observation.reward) == (False, False, 0.0)
  observation = environment.step(traces.answer('say "\\n \x00 {} \u4e16'))
  assert observation.done
  assert observation.parts == {"correct": 0.0, "score": 0.0}
  environment.close()


def test_two_games_at_once_do_not_touch_and_a_game_is_the_same_each_time():
  task = world.generate(0, split="train", game="mapreader", difficulty=3)
  actions = world.oracle(task)
  alone = world.environment(PATIENT)
  expected = [alone.reset(task, 0)] + [alone.step(action).text for action in actions]
  alone.close()
  first, second = world.environment(PATIENT), world.environment(PATIENT)
  seen = [first.reset(task, 0)]
  second.reset(world.generate(1, split="train", game="cookingworld"), 0)
  for action in actions:
    second.step(traces.answer("look around"))
    seen.append(first.step(action).text)
  first.close()
  second.close()
  assert seen == expected


def test_folds_are_the_packages():
  machine = JavaMachine(world.JAR_PATH, "textworldexpress.runtime.PythonInterface")
  try:
    interface = machine.interface()
    assert sorted(interface.getGameNames()) == sorted(world.PARAMETERS)
    for game in world.PARAMETERS:
      interface.load(game, "")
      folds = {"train": interface.getSeedsTrain(), "dev": interface.getSeedsDev(), "test": interface.getSeedsTest()}
      assert {name: list(seeds) for name, seeds in folds.items()} == {
        name: list(range(first, first + 1000)) for name, first in world._FOLDS.items()
      }
  finally:
    machine.close()


def test_held_out_tasks_are_of_the_fold_that_is_chosen():
  assert world.generate(5, split="held_out").data["fold"] == "test"
  assert world.generate(5, split="held_out", held_out_fold="dev").data["game_seed"] // 10_000 == 1
  with pytest.raises(ValueError, match="held_out_fold is test or dev, not 'train'"):
    world.generate(5, split="held_out", held_out_fold="train")
