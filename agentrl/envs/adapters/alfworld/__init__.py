"""ALFWorld: households in text (Shridhar et al., 2021, https://arxiv.org/abs/2010.03768).

The rules, the language and the contents of the rooms are the package's; the households are ours, since its own are a
download (`package_files.py`, `house.py`). Six types of task, by the option `game`: "put" a thing somewhere,
"clean", "heat" or "cool" it first, "two" things, and "look" at a thing under a lamp; "all" lets them take turns. The
dial goes from 1 to 3: more places, and more things in them. Train households stand in ALFRED's 96 train rooms,
held-out ones in its 24 test rooms.

A command does something if it is in the list that `show_commands` shows, word for word; for any other, nothing
happens.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import fast_downward
from textworld.envs.pddl.logic import GameLogic, PddlState
from textworld.generator.game import EntityInfo

from agentrl.envs.adapters import text_game, text_tasks
from agentrl.envs.adapters.alfworld import house as houses
from agentrl.envs.adapters.alfworld import package_files
from agentrl.envs.adapters.alfworld.house import QUESTS, SIZES, House
from agentrl.envs.adapters.text_game import Reply
from agentrl.envs.base import Setting
from agentrl.envs.tasks.shared import splits
from agentrl.types import Action, Task

package_files.folder()  # the package is read as files, so that nothing else here would miss it in time

_INTRO = "You are in a room and have something to do there."
_UNKNOWN = "Nothing happens."
# Fast Downward, loaded and without a household. Each game needs one for itself. They are kept, since one that has
# planned and is unloaded takes the process with it at its end: it leaves a handler for that.
_LIBRARIES: list[Any] = []
_GOAL = "UNKNOWN GOAL"  # stands in the grammar for the goal in words


def generate(
  index: int,
  *,
  split: str,
  difficulty: int = 1,
  seed: int = 0,
  game: str = "all",
  steps: int = 50,
  tool: bool = False,
  show_commands: bool = False,
  graded: bool = False,
) -> Task:
  """One task; a pure function of its arguments.

  Args:
    index: which one.
    split: "train" or "held_out".
    seed: another sequence of tasks.
    difficulty: 1, 2 or 3.
    game: key of `QUESTS`, or "all".
    steps: commands after which the game is over.
    tool, show_commands, graded: see `text_tasks.make_task`.

  Raises:
    ValueError: an unknown split, difficulty or game.
  """
  if difficulty not in range(1, len(SIZES) + 1):
    raise ValueError(f"alfworld has difficulties 1 to {len(SIZES)}, not {difficulty!r}")
  kind, place = text_tasks.pick_game(tuple(QUESTS), game, index, family="alfworld")
  rng = splits.generator(split, ("alfworld", kind, difficulty, place, seed))
  house = houses.make_house(QUESTS[kind], SIZES[difficulty - 1], split, rng)
  where = {"split": split, "difficulty": difficulty, "seed": seed}
  data = {"game": kind, "house": _plain(house)}
  shown = {"tool": tool, "show_commands": show_commands, "graded": graded}
  return text_tasks.make_task("alfworld", index, **where, intro=_INTRO, data=data, steps=steps, **shown)


def _plain(house: House) -> dict[str, Any]:
  """A household as JSON has it."""
  plain = dataclasses.asdict(house)
  return plain | {"places": [list(row) for row in house.places], "things": [list(row) for row in house.things]}


class PddlEngine:
  """Plays one household; see `text_game.Engine`.

  The translator of the rules swaps this process's `sys.stdout` and `sys.argv` while it works, so no more than one
  game may start at a time in a process.
  """

  def __init__(self):
    self._library: Any = None

  def start(self, task: Task, seed: int) -> Reply:
    """Sets up the household; nothing in it is random."""
    del seed
    self.close()
    house = House(**task.data["house"])
    self._library = _LIBRARIES.pop() if _LIBRARIES else fast_downward.load_lib()
    self._logic = _logic()
    with _own_arguments():
      self._state = PddlState(self._library, houses.problem(house), self._logic)
    self._entities = {v.name: EntityInfo(v.name, v.type) for fact in self._state.facts for v in fact.arguments}
    for entity in self._entities.values():
      entity.name, entity.definite, entity.indefinite = entity.id.replace("_", " "), "the", "a"
    opening = self._told("#intro#", {})
    self._list_actions()
    return Reply(opening.replace(_GOAL, house.words))

  def send(self, command: str) -> Reply:
    """Does what a command says, if it is one of `commands`."""
    action = self._actions.get(command.lower())
    if action is None:
      return Reply(_UNKNOWN, understood=False)
    self._state.apply(action)
    text = self._told(action.feedback_rule, action.mapping)
    self._list_actions()
    won = bool(self._state.check_goal())
    return Reply(text, score=float(won), won=won)

  def commands(self) -> Sequence[str]:
    """Commands that do something, in order of the alphabet."""
    return sorted(self._actions)

  def close(self) -> None:
    """Frees the household, and gives the library back for the next one."""
    library, self._library = self._library, None
    if library is not None:
      library.cleanup()
      _LIBRARIES.append(library)

  def _told(self, rule: str, mapping: Any) -> str:
    context = {
      "state": self._state,
      "facts": list(self._state.facts),
      "variables": {placeholder.name: self._entities[variable.name] for placeholder, variable in mapping.items()},
      "mapping": mapping,
      "entity_infos": self._entities,
    }
    return self._logic.grammar.derive(rule, context).strip()

  def _list_actions(self) -> None:
    self._actions: dict[str, Any] = {}
    for action in self._state.all_applicable_actions():
      names = {placeholder.name: self._entities[variable.name].name for placeholder, variable in action.mapping.items()}
      # The grammar's own template of this one asks for the places of a location, which takes 20 ms for each.
      template = "go to {r}" if action.name == "gotolocation" else action.command_template
      self._actions.setdefault(template.format(**names), action)


@functools.cache
def _logic() -> GameLogic:
  """The rules and the grammar, which take a second to read and are the same for all households."""
  domain, grammar = package_files.rules()
  return GameLogic(domain=domain, grammar=grammar)


@contextlib.contextmanager
def _own_arguments() -> Iterator[None]:
  """Gives `sys.argv` back as it was: the translator writes its own into it."""
  arguments = sys.argv
  try:
    yield
  finally:
    sys.argv = arguments


def environment(setting: Setting) -> text_game.TextGame:
  """A fresh game, for one trajectory."""
  return text_game.TextGame(PddlEngine(), setting)


def oracle(task: Task, tool: str = "") -> list[Action]:
  """The way that the household was made around; it is short, and need not be the shortest."""
  return text_tasks.play(task.data["house"]["plan"], task, tool)
