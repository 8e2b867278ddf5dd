"""Plays a TextWorld game on Frotz, an interpreter in this process (through `jericho`), which can save and load.

The player's commands pass a list of the verbs that games know. Frotz has others: "save" and "script" write files into
the working folder, "restart" and "quit" ask for another answer, and TextWorld's own print what the player must not
see. Each engine has an interpreter of its own, so several may play side by side.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import jericho
from textworld.generator.game import Game, GameProgression
from textworld.generator.inform7 import Inform7Game

from agentrl.envs.adapters.text_game import Reply
from agentrl.envs.adapters.textworld import games
from agentrl.types import Task

_DIRECTIONS = ("n", "s", "e", "w", "north", "south", "east", "west")
_SHORT = ("l", "x", "i", "inv", "get", "pick", "z", "wait", "goal", *_DIRECTIONS)
_SEVERAL = re.compile(r"[.;]|\bthen\b")  # Frotz takes "take coin. go east" for two commands
_SCORE = re.compile(r"<score>\s*(-?\d+)\s*</score>")
_TOLD = re.compile(r"<(score|moves)>.*?</\1>", re.DOTALL)
_EVENT = re.compile(r"\[([^\]]+)\]\n?")
_ASKED = re.compile(r"Would you like to RESTART.*", re.DOTALL)
_PROMPT = re.compile(r"\s*>[^\n]*$")  # with the status line behind it
_WON, _LOST = "*** The End ***", "*** You lost! ***"


class Saved(NamedTuple):
  """A state: the interpreter's, what holds in the world (None where it is not followed), and the last score."""

  frotz: tuple
  progress: GameProgression | None
  score: float


class FrotzEngine:
  """See the module's docstring and `text_game.SavingEngine`."""

  def __init__(self):
    self._frotz: jericho.FrotzEnv | None = None

  def start(self, task: Task, seed: int) -> Reply:
    """Starts the task's game, made first where it is not on the disk yet."""
    self.close()
    folder = games.game_folder(task.data["recipe"])
    self._game = Game.load(str(folder / "game.json"))
    self._inform = Inform7Game(self._game)
    self._verbs = {*self._game.verbs, *_SHORT}
    self._frotz = jericho.FrotzEnv(str(folder / "game.z8"), seed % 2**31)
    opening, _ = self._frotz.reset()
    self._frotz.step("tw-extra-infos score")
    self._progress = None
    if task.data["show_commands"]:
      self._frotz.step("tw-trace-actions")
      self._progress = GameProgression(self._game, track_quests=False)
    self._score = 0.0
    return Reply(_without_banner(opening))

  def send(self, command: str) -> Reply:
    """Gives a command, if it is one of the game's."""
    verb = command.split()[0].lower()
    if verb not in self._verbs or _SEVERAL.search(command.lower()):
      known = ", ".join(self._game.verbs)
      return Reply(f"That is no command of this game. Its verbs: {known}.", self._score, understood=False)
    raw, *_ = self._frotz.step(command)
    told = _SCORE.search(raw)  # it is told after each command that was understood, and at the end
    won, lost = _WON in raw, _LOST in raw
    text = _ASKED.sub("", _TOLD.sub("", raw))
    if self._progress is not None:
      text = self._follow(text)
    if told or won or lost:
      self._score = self._score_now(told)
    return Reply(_tidy(text), self._score, won, won or lost, understood=bool(told or won or lost))

  def commands(self) -> Sequence[str]:
    """Commands that would do something, in order of the alphabet."""
    return sorted(set(self._inform.gen_commands_from_actions(self._progress.valid_actions)))

  def save(self) -> Saved:
    """The state of the game."""
    progress = None if self._progress is None else self._progress.copy()
    return Saved(self._frotz.get_state(), progress, self._score)

  def load(self, saved: Saved) -> None:
    """Goes back to it."""
    self._frotz.set_state(saved.frotz)
    self._progress = None if saved.progress is None else saved.progress.copy()
    self._score = saved.score

  def close(self) -> None:
    """Ends the interpreter."""
    if self._frotz is not None:
      self._frotz.close()
      self._frotz = None

  def _score_now(self, told: Any) -> float:
    points = int(told.group(1)) if told else self._frotz.get_score()
    return points / self._game.max_score

  def _follow(self, text: str) -> str:
    """Takes the events out of a reply and brings the facts of the world up to date."""
    for event in _EVENT.findall(text):
      name, _, outcome = event.partition(" - ")
      if outcome == "succeeded" and "(" not in name:
        action = self._inform.detect_action(name, self._progress.valid_actions)
        if action is not None:
          self._progress.update(action)
    return _EVENT.sub("", text)


def walkthrough(task: Task) -> list[str]:
  """Commands that win the task's game; it is made first where it is not on the disk yet."""
  folder = games.game_folder(task.data["recipe"])
  return list(Game.load(str(folder / "game.json")).metadata["walkthrough"])


def _without_banner(opening: str) -> str:
  """The opening text behind the title, which is drawn in dollar signs."""
  return _tidy(opening[opening.rfind("$$") :].partition("\n")[2] if "$$" in opening else opening)


def _tidy(text: str) -> str:
  """Without the prompt, spaces at the ends of lines, and more than one empty line in a row."""
  lines = "\n".join(line.rstrip() for line in _PROMPT.sub("", text.strip()).splitlines())
  return re.sub(r"\n{3,}", "\n\n", lines)
