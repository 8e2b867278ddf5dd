"""The package's own demonstrations against its tasks, and our table of variations against the package."""

import shutil

import pytest

pytest.importorskip("scienceworld", reason="needs agentrl[scienceworld]")
if shutil.which("java") is None:
  pytest.skip("needs Java", allow_module_level=True)

from agentrl.envs.adapters import scienceworld as world
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


def assert_full_score(task):
  first, observations = play(task)
  assert "Your task is to" in first
  assert [observation.done for observation in observations] == [False] * (len(observations) - 1) + [True]
  assert observations[-1].parts == {"correct": 1.0, "score": 1.0}
  assert sum(observation.reward for observation in observations) == pytest.approx(1.0)


@pytest.mark.parametrize(("game", "difficulty"), [("find-plant", 1), ("lifespan-longest-lived", 2)])
def test_demonstrations_get_the_full_score(game, difficulty):
  assert_full_score(world.generate(0, split="train", game=game, difficulty=difficulty, tool=difficulty == 2))


@pytest.mark.slow
@pytest.mark.parametrize("difficulty", [1, 2])
@pytest.mark.parametrize("game", world.VARIATIONS)
def test_each_kind_gets_the_full_score_at_each_difficulty(game, difficulty):
  assert_full_score(world.generate(0, split="held_out", game=game, difficulty=difficulty, steps=1000))


def test_a_wrong_focus_ends_the_episode_below_zero_and_is_worth_nothing():
  environment = world.environment(PATIENT)
  environment.reset(world.generate(0, split="train", game="find-plant", difficulty=2), 0)
  assert not environment.step(traces.answer("fly to the moon")).ok
  observation = environment.step(traces.answer("focus on air"))
  assert observation.done
  assert observation.parts["correct"] == 0.0
  assert observation.parts["score"] == observation.reward < 0
  environment.close()


def test_partial_progress_counts_unless_it_is_asked_not_to():
  for graded in (True, False):
    environment = world.environment(PATIENT)
    task = world.generate(0, split="train", game="find-plant", graded=graded)
    environment.reset(task, 0)
    observations = [environment.step(action) for action in world.oracle(task)[:-1]]
    score = observations[-1].parts["score"]
    assert 0 < score < 1
    assert observations[-1].parts["correct"] == (score if graded else 0.0)
    environment.close()


def test_commands_are_listed_where_they_are_asked_for():
  environment = world.environment(PATIENT)
  (first,) = environment.reset(world.generate(0, split="train", game="boil", show_commands=True), 0)
  assert "; look around; " in first.content
  environment.close()


def test_variations_and_folds_are_the_packages():
  assert sum(world.VARIATIONS.values()) == 7207
  machine = JavaMachine(world.JAR_PATH, "scienceworld.runtime.pythonapi.PythonInterface")
  try:
    interface = machine.interface()
    assert sorted(interface.getTaskNames()) == sorted(world.VARIATIONS)
    for kind, count in world.VARIATIONS.items():
      assert interface.getTaskMaxVariations(kind) == count
      interface.load(kind, 0, "", False)
      assert list(interface.getVariationsTrain()) == list(world.fold(kind, "train"))
      assert list(interface.getVariationsDev()) == list(world.fold(kind, "dev"))
      assert list(interface.getVariationsTest()) == list(world.fold(kind, "test"))
  finally:
    machine.close()


def test_every_variation_is_asked_for_once_in_a_round():
  count = len(world.fold("boil", "train"))
  variations = [world.generate(n, split="train", game="boil").data["variation"] for n in range(2 * count)]
  assert sorted(variations[:count]) == sorted(variations[count:]) == list(world.fold("boil", "train"))
  assert variations[:count] != variations[count:]
