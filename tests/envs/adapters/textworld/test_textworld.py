"""TextWorld's own ways to win, going back, verbs that are kept from the interpreter, and the folder of games."""

import concurrent.futures
import json
import pathlib
import subprocess
import sys

import pytest

pytest.importorskip("jericho", reason="needs agentrl[textworld]")
pytest.importorskip("textworld", reason="needs agentrl[textworld]")

from agentrl.envs.adapters import textworld as world
from agentrl.envs.adapters.textworld import games as files
from agentrl.envs.adapters.textworld.__main__ import main
from agentrl.envs.base import Setting
from agentrl.envs.tasks.shared import traces
from agentrl.envs.tool import ToolLimits
from agentrl.types import EnvironmentFailed

PATIENT = Setting(limits=ToolLimits(call_seconds=60))
GAMES = ("simple", "cooking", "coin", "treasure")


@pytest.fixture(scope="module")
def games(tmp_path_factory):
  """A folder of games for the tests of this file."""
  folder = tmp_path_factory.mktemp("games")
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv(files.FOLDER_VARIABLE, str(folder))
    yield folder


@pytest.fixture
def task(games):
  """A coin that is three steps away."""
  return world.generate(0, split="train", game="coin", show_commands=True, steps=20)


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


def test_commands_that_are_listed_follow_the_game(task):
  environment = opened(task)
  *way, last = world.oracle(task)
  for action in way:
    observation = environment.step(action)
  assert last.answer == "take coin"
  assert "take coin" in observation.text.rsplit("Commands: ")[1].split("; ")
  assert "take coin" not in environment.opening.rsplit("Commands: ")[1].split("; ")
  environment.close()


@pytest.mark.parametrize(
  "command", ["save", "script", "restart", "quit", "tw-print player", "look. look", "look then look"]
)
def test_the_interpreters_own_verbs_are_kept_from_it(task, command, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  environment = opened(task)
  observation = environment.step(traces.answer(command))
  assert observation.text.startswith("That is no command of this game. Its verbs: ")
  assert not observation.ok
  assert environment.step(traces.answer("look")).ok
  environment.close()
  assert not list(tmp_path.iterdir())
  folder = files.game_folder(task.data["recipe"])
  assert {path.name for path in folder.iterdir()} == {"game.z8", "game.json"}


def test_what_the_game_does_not_understand_is_told(task):
  environment = opened(task)
  for command in ("take moon", "go through the wall", "x \u4e16\x00"):
    assert not environment.step(traces.answer(command)).ok
  environment.close()


def test_going_back_is_as_if_the_rest_had_not_happened(task):
  first, *rest = world.oracle(task)
  environment = opened(task)
  environment.step(first)
  snapshot = environment.snapshot()
  expected = [environment.step(action) for action in rest]
  assert expected[-1].done
  environment.restore(snapshot)
  environment.step(traces.answer("look"))
  environment.restore(snapshot)
  assert [environment.step(action) for action in rest] == expected
  environment.close()
  other = opened(task)
  other.restore(snapshot)
  assert [other.step(action) for action in rest] == expected
  other.close()


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


@pytest.fixture
def maker(monkeypatch, tmp_path):
  """Instead of TextWorld: makes empty games and counts them."""
  made = []

  def run(command, **options):
    assert options["env"]["PYTHONHASHSEED"] == "0"
    place = pathlib.Path(command[-1])
    place.mkdir()
    (place / "game.z8").touch()
    made.append(json.loads(command[-2]))
    return subprocess.CompletedProcess(command, 0, "", "")

  monkeypatch.setattr(files.subprocess, "run", run)
  monkeypatch.setenv(files.FOLDER_VARIABLE, str(tmp_path / "games"))
  return made


def test_a_game_is_made_once_and_any_number_may_ask_at_once(maker):
  recipes = [world.generate(n % 3, split="train", game="coin").data["recipe"] for n in range(24)]
  with concurrent.futures.ThreadPoolExecutor(8) as pool:
    places = list(pool.map(files.game_folder, recipes))
  assert len(set(places)) == 3
  assert sorted(files.folder().iterdir()) == sorted(set(places))
  count = len(maker)
  files.game_folder(recipes[0])
  assert len(maker) == count


def test_a_game_that_cannot_be_made_is_the_environments_failure_and_leaves_nothing(maker, monkeypatch):
  def run(command, **options):
    return subprocess.CompletedProcess(command, 1, "", "a\nb\nc\nValueError: no such room")

  monkeypatch.setattr(files.subprocess, "run", run)
  with pytest.raises(EnvironmentFailed, match=r"TextWorld did not make .*b \| c \| ValueError: no such room"):
    files.game_folder(world.generate(0, split="train").data["recipe"])
  assert not list(files.folder().iterdir())


def test_games_are_made_ahead(maker, capsys):
  main(["--game", "coin", "--count", "3", "--start", "5", "--split", "held_out", "--processes", "2"])
  assert len(maker) == 3
  assert "3/3 games in " in capsys.readouterr().out
  wanted = [world.generate(n, split="held_out", game="coin").data["recipe"] for n in (5, 6, 7)]
  assert sorted(maker, key=str) == sorted(wanted, key=str)


@pytest.mark.slow
def test_so_many_games_come_again_and_again():
  recipes = [world.generate(n, split="train", game="coin", games=3).data["recipe"]["seed"] for n in range(7)]
  assert recipes[:3] == recipes[3:6] and recipes[6] == recipes[0] and len(set(recipes)) == 3
  assert len({world.generate(n, split="train", game="coin", games=3).id for n in range(7)}) == 7
  with pytest.raises(ValueError, match="games must be 0 or more, got -1"):
    world.generate(0, split="train", games=-1)


def test_the_same_recipe_gives_the_same_game(task, tmp_path, monkeypatch):
  first = files.game_folder(task.data["recipe"])
  monkeypatch.setenv(files.FOLDER_VARIABLE, str(tmp_path))
  second = files.game_folder(task.data["recipe"])
  assert first != second
  for name in ("game.z8", "game.json"):
    assert (first / name).read_bytes() == (second / name).read_bytes()


def test_the_default_folder_is_in_the_users_cache(monkeypatch):
  monkeypatch.delenv(files.FOLDER_VARIABLE, raising=False)
  assert files.folder() == pathlib.Path.home() / ".cache" / "agentrl" / "textworld"


def test_held_out_games_of_two_kinds_are_about_other_foods(games):
  simple, cooking = (world.generate(0, split="held_out", game=game).data["recipe"] for game in ("simple", "cooking"))
  assert simple["settings"]["test"] is True
  assert cooking["settings"]["split"] == "test"
  assert world.generate(0, split="train", game="cooking").data["recipe"]["settings"]["split"] == "train"
  assert sys.getsizeof(json.dumps(simple)) < 500
