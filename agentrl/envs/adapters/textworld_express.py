"""TextWorldExpress: eight quick text games (Jansen and Cote, 2023, https://arxiv.org/abs/2208.01174).

By the option `game`: "cookingworld", "twc" (put things where they belong), "coin", "mapreader", "arithmetic",
"sorting", "simonsays", "peckingorder" (follow the instructions); "all" lets them take turns. Three of them have a
dial: in cookingworld, twc, coin and mapreader it goes from 1 to 3 and sets rooms, things and doors, at 3 as the game
has them by itself; the other games are the same at every difficulty, except that simonsays grows longer.

Each game has 1000 seeds in each of its own folds: train tasks are of "train", held-out ones of "test", or of "dev".
The folds also differ in what is in the games, not in the seeds alone. Needs Java; each episode has a machine of its
own, which takes about half a second to start.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from textworld_express.constants import JAR_PATH

from agentrl.envs.adapters import text_game, text_tasks
from agentrl.envs.adapters.java import JavaEngine, check_java
from agentrl.envs.adapters.text_game import Reply
from agentrl.envs.base import Setting
from agentrl.envs.tasks.shared import splits
from agentrl.types import Action, EnvironmentFailed, Task

_ENTRY = "textworldexpress.runtime.PythonInterface"
_LEVELS = 3
_FOLDS = {"train": 0, "dev": 10_000, "test": 20_000}  # first seed of each
_FOLD_SEEDS = 1000
_UNKNOWN = "Unknown action"
_INTRO = "You play a text game."

# Game -> its parameters at difficulty 1, 2 and 3.
PARAMETERS: Mapping[str, tuple[str, str, str]] = {
  "cookingworld": (
    "numLocations=1,numIngredients=1,numDistractorItems=2,includeDoors=0,limitInventorySize=0",
    "numLocations=5,numIngredients=2,numDistractorItems=5,includeDoors=0,limitInventorySize=0",
    "",
  ),
  "twc": ("numLocations=1,numItemsToPutAway=1,includeDoors=0", "numLocations=2,numItemsToPutAway=2,includeDoors=0", ""),
  "coin": ("numLocations=2,includeDoors=0", "numLocations=6,includeDoors=0", ""),
  "mapreader": (
    "numLocations=5,maxDistanceApart=2,maxDistractorItemsPerLocation=0,includeDoors=0",
    "numLocations=10,maxDistanceApart=3,maxDistractorItemsPerLocation=1,includeDoors=0",
    "",
  ),
  "arithmetic": ("", "", ""),
  "sorting": ("", "", ""),
  "simonsays": ("gameLength=3,numDistractors=1", "", "gameLength=10,numDistractors=5"),
  "peckingorder": ("", "", ""),
}


def generate(
  index: int,
  *,
  split: str,
  difficulty: int = 1,
  seed: int = 0,
  game: str = "all",
  held_out_fold: str = "test",
  steps: int = 50,
  tool: bool = False,
  show_commands: bool = False,
  graded: bool = False,
) -> Task:
  """One task; a pure function of its arguments. A game starts over behind its thousand seeds, in another order.

  Args:
    index: which one.
    split: "train" or "held_out".
    seed: another sequence of tasks.
    difficulty: 1, 2 or 3.
    game: key of `PARAMETERS`, or "all".
    held_out_fold: which fold the held-out split is, "test" or "dev".
    steps: commands after which the game is over.
    tool, show_commands, graded: see `text_tasks.make_task`.

  Raises:
    ValueError: an unknown split, difficulty, game or fold.
  """
  if difficulty not in range(1, _LEVELS + 1):
    raise ValueError(f"textworld_express has difficulties 1 to {_LEVELS}, not {difficulty!r}")
  if held_out_fold not in ("test", "dev"):
    raise ValueError(f"held_out_fold is test or dev, not {held_out_fold!r}")
  name, place = text_tasks.pick_game(tuple(PARAMETERS), game, index, family="textworld_express")
  place = text_tasks.shuffled(_FOLD_SEEDS, place, split, ("textworld_express", name, difficulty, seed))
  fold = "train" if split == splits.TRAIN else held_out_fold
  data = {
    "game": name,
    "parameters": PARAMETERS[name][difficulty - 1],
    "fold": fold,
    "game_seed": _FOLDS[fold] + place,
  }
  where = {"split": split, "difficulty": difficulty, "seed": seed}
  shown = {"tool": tool, "show_commands": show_commands, "graded": graded}
  return text_tasks.make_task("textworld_express", index, **where, intro=_INTRO, data=data, steps=steps, **shown)


class ExpressEngine(JavaEngine):
  """Plays one game on a Java machine of its own; see `text_game.Engine`."""

  def __init__(self):
    super().__init__("TextWorldExpress", JAR_PATH, _ENTRY)

  def start(self, task: Task, seed: int) -> Reply:
    """Starts the machine and the task's game, in which nothing is random beyond its own seed."""
    del seed
    self._open(task, gold=False)
    goal = self._interface.getTaskDescription()
    reply = self._read(self._opening)
    return Reply(f"{goal}\n\n{reply.text}", reply.score)

  def send(self, command: str) -> Reply:
    """Gives a command."""
    return self._read(self._interface.stepJSON(command))

  def commands(self) -> Sequence[str]:
    """Valid commands, in order of the alphabet."""
    return self._commands

  def _gold_path(self, task: Task) -> Sequence[str]:
    self._open(task, gold=True)
    return list(self._interface.getGoldActionSequence())

  def _open(self, task: Task, gold: bool) -> None:
    self._interface = self._new_interface()
    if wrong := self._interface.load(task.data["game"], task.data["parameters"]):
      raise EnvironmentFailed(f"task {task.id}: TextWorldExpress does not load it: {wrong}")
    self._opening = self._interface.generateNewGameJSON(task.data["game_seed"], task.data["fold"], gold)

  def _read(self, told: str) -> Reply:
    answer = json.loads(told)
    self._commands = sorted(answer["validActions"])
    won = bool(answer["tasksuccess"])
    return Reply(
      answer["observation"].strip(),
      score=float(answer["score"]),
      won=won,
      over=won or bool(answer["taskfailure"]),
      understood=not answer["observation"].startswith(_UNKNOWN),
    )


def environment(setting: Setting) -> text_game.TextGame:
  """A fresh game, for one trajectory.

  Raises:
    FileNotFoundError: there is no Java; names the package that brings it.
  """
  check_java()
  return text_game.TextGame(ExpressEngine(), setting)


def oracle(task: Task, tool: str = "") -> list[Action]:
  """The game's own way to win, which takes a Java machine to find."""
  return text_tasks.play(ExpressEngine().gold(task), task, tool)
