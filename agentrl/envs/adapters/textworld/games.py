"""TextWorld's games as files: made when first asked for, and kept.

A game is a folder with `game.z8`, which an interpreter plays, and `game.json`, which says what is in it. Making one
takes seconds. It is made in a process of its own with a fixed hash seed, since the order of Python's sets gets into
the game: so the same recipe gives the same game everywhere, and TextWorld's global random numbers stay its own. It
appears under its name in one move, so that any number of processes may ask for it at once.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

from agentrl.envs import installed
from agentrl.types import EnvironmentFailed

FOLDER_VARIABLE = "AGENTRL_TEXTWORLD_GAMES"
_SECONDS = 300  # that making one game may take, on a busy machine
_LAST_LINES = 3  # of the maker's error that are shown


def folder() -> pathlib.Path:
  """Where games are kept: $AGENTRL_TEXTWORLD_GAMES, or agentrl/textworld in the user's cache folder."""
  named = os.environ.get(FOLDER_VARIABLE)
  return pathlib.Path(named) if named else pathlib.Path.home() / ".cache" / "agentrl" / "textworld"


def game_folder(recipe: Mapping[str, Any]) -> pathlib.Path:
  """The folder of a game, made first where it is not there yet.

  Args:
    recipe: "challenge", the name under which TextWorld has it, "settings" and "grammar", its options, and "seed".

  Raises:
    EnvironmentFailed: TextWorld does not make it.
  """
  content = json.dumps([recipe, importlib.metadata.version("textworld")], sort_keys=True)
  name = f"{recipe['challenge']}-{hashlib.sha256(content.encode()).hexdigest()[:24]}"
  place = folder() / name
  if not place.is_dir():
    place.parent.mkdir(parents=True, exist_ok=True)
    _make(recipe, place)
  return place


def _make(recipe: Mapping[str, Any], place: pathlib.Path) -> None:
  with tempfile.TemporaryDirectory(dir=place.parent, prefix=".making-") as scratch:
    made = pathlib.Path(scratch) / "game"
    command = [sys.executable, "-P", __file__, json.dumps(recipe), str(made)]  # as a file: the package needs more
    surroundings = os.environ | {"PYTHONHASHSEED": "0", "PYTHONPATH": installed.search_path()}
    try:
      run = subprocess.run(
        command,
        env=surroundings,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        start_new_session=True,  # a Ctrl-C is for the trainer
      )
    except subprocess.TimeoutExpired as error:
      raise EnvironmentFailed(f"TextWorld took more than {_SECONDS} s to make {place.name}") from error
    if run.returncode != 0:
      reason = " | ".join(run.stderr.strip().splitlines()[-_LAST_LINES:])
      raise EnvironmentFailed(f"TextWorld did not make {dict(recipe)}: {reason}")
    try:
      made.rename(place)
    except OSError:  # another process was faster, and its game is the same
      if not place.is_dir():
        raise


def make_here(recipe: Mapping[str, Any], place: pathlib.Path) -> None:
  """Makes a game in this process; `game_folder` runs it in another."""
  import textworld.challenges
  import textworld.generator

  options = textworld.GameOptions()
  options.seeds = recipe["seed"]
  options.path = str(place / "game.z8")
  for name, value in recipe["grammar"].items():
    setattr(options.grammar, name, value)
  place.mkdir()
  _, make, _ = textworld.challenges.CHALLENGES[recipe["challenge"]]
  textworld.generator.compile_game(make(recipe["settings"], options), options)
  for extra in place.iterdir():
    if extra.name not in ("game.z8", "game.json"):
      shutil.rmtree(extra) if extra.is_dir() else extra.unlink()


if __name__ == "__main__":
  make_here(json.loads(sys.argv[1]), pathlib.Path(sys.argv[2]))
