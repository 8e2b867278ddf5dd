"""TextWorld: games in made-up houses, generated from seeds (Cote et al., 2018, https://arxiv.org/abs/1806.11532).

Four kinds, by the option `game`: "simple" (fetch a food and put it on the stove), "cooking" (find a recipe and follow
it), "coin" (find a coin in a maze), "treasure" (find one thing among others); "all" lets them take turns. The dial
goes from 1 to 3: longer quests, more rooms and things in the way, goals that say less. Games of "simple" and
"cooking" in the held-out split are about foods of TextWorld's own test set, which no game of the train split has;
those of "coin" and "treasure" differ in their seeds alone.

A game is made on the disk when it is first played, in seconds. To make many ahead:

  python -m agentrl.envs.adapters.textworld --game cooking --split train --count 1000 --processes 8

The environment can go back: see `text_game.SavingTextGame`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from agentrl.envs.adapters import text_game, text_tasks
from agentrl.envs.adapters.textworld.engine import FrotzEngine, walkthrough
from agentrl.envs.base import Setting
from agentrl.envs.tasks.shared import splits
from agentrl.types import Action, Task

_LEVELS = 3
_SEEDS = 2**31 - 1
_INTRO = "You play a text adventure."
_BRIEF = {"only_last_action": True}  # the goal names the end of the quest, rather than the way there


def _simple(difficulty: int, split: str) -> dict[str, Any]:
  rewards, goal = [("dense", "detailed"), ("balanced", "brief"), ("sparse", "brief")][difficulty - 1]
  return {"rewards": rewards, "goal": goal, "test": split == splits.HELD_OUT}


def _cooking(difficulty: int, split: str) -> dict[str, Any]:
  amounts = [(1, 1), (2, 6), (3, 9)]  # ingredients, rooms
  ingredients, rooms = amounts[difficulty - 1]
  return {
    "recipe": ingredients,
    "take": ingredients,
    "go": rooms,
    "open": difficulty > 1,
    "cook": difficulty > 1,
    "cut": difficulty > 2,
    "drop": difficulty > 2,
    "recipe_seed": 0,
    "split": "test" if split == splits.HELD_OUT else "train",
  }


def _coin(difficulty: int, split: str) -> dict[str, Any]:
  del split
  return {"level": (3, 10, 110)[difficulty - 1]}  # steps to the coin, plus 100 for as many rooms beside the way


def _treasure(difficulty: int, split: str) -> dict[str, Any]:
  del split
  return {"level": (3, 13, 23)[difficulty - 1]}  # easy, medium, hard; the third level of ten of each


_SETTINGS: Mapping[str, Callable[[int, str], dict[str, Any]]] = {
  "simple": _simple,
  "cooking": _cooking,
  "coin": _coin,
  "treasure": _treasure,
}
_CHALLENGES = {
  "simple": "tw-simple",
  "cooking": "tw-cooking",
  "coin": "tw-coin_collector",
  "treasure": "tw-treasure_hunter",
}


def generate(
  index: int,
  *,
  split: str,
  difficulty: int = 1,
  seed: int = 0,
  game: str = "all",
  steps: int = 50,
  games: int = 0,
  tool: bool = False,
  show_commands: bool = False,
  graded: bool = False,
) -> Task:
  """One task; a pure function of its arguments. The game is not made yet.

  Args:
    index: which one.
    split: "train" or "held_out".
    seed: another sequence of tasks.
    difficulty: 1, 2 or 3.
    game: "simple", "cooking", "coin", "treasure", or "all".
    steps: commands after which the game is over.
    games: of each kind and split, until they come again, since making one takes seconds; 0: without end.
    tool, show_commands, graded: see `text_tasks.make_task`.

  Raises:
    ValueError: an unknown split, difficulty or game, or fewer than 0 games.
  """
  if games < 0:
    raise ValueError(f"games must be 0 or more, got {games!r}")
  if difficulty not in range(1, _LEVELS + 1):
    raise ValueError(f"textworld has difficulties 1 to {_LEVELS}, not {difficulty!r}")
  kind, place = text_tasks.pick_game(tuple(_SETTINGS), game, index, family="textworld")
  place = place % games if games else place
  source = ("textworld", kind, difficulty, place, seed)
  game_seed = splits.draw(lambda rng: rng.randrange(_SEEDS), str, split=split, source=source)
  recipe = {
    "challenge": _CHALLENGES[kind],
    "settings": _SETTINGS[kind](difficulty, split),
    "grammar": _BRIEF if difficulty > 1 else {},
    "seed": game_seed,
  }
  where = {"split": split, "difficulty": difficulty, "seed": seed}
  data = {"game": kind, "recipe": recipe}
  shown = {"tool": tool, "show_commands": show_commands, "graded": graded}
  return text_tasks.make_task("textworld", index, **where, intro=_INTRO, data=data, steps=steps, **shown)


def environment(setting: Setting) -> text_game.SavingTextGame:
  """A fresh game, for one trajectory."""
  return text_game.SavingTextGame(FrotzEngine(), setting)


def oracle(task: Task, tool: str = "") -> list[Action]:
  """The way to win that the game was made with; makes the game first where it is not on the disk yet."""
  return text_tasks.play(walkthrough(task), task, tool)
