"""TextWorld's games as files: made once, ahead, and alike everywhere."""

import concurrent.futures
import json
import pathlib
import subprocess

import pytest

pytest.importorskip("jericho", reason="needs agentrl[textworld]")
pytest.importorskip("textworld", reason="needs agentrl[textworld]")
from agentrl.envs.adapters import textworld as world
from agentrl.envs.adapters.textworld import games as files
from agentrl.envs.adapters.textworld.__main__ import main
from agentrl.types import EnvironmentFailed


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
