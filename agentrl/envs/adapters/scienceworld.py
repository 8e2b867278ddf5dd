"""ScienceWorld: experiments of an elementary school (Wang et al., 2022, https://arxiv.org/abs/2203.07540).

30 kinds of task, by the option `game` ("boil", "grow-fruit", ...; "all" lets them take turns), with 7,207 variations
in all. Of each kind about half of the variations are the train fold, a quarter "dev" and a quarter "test", as the
package has them: train tasks are of the first, held-out ones of "test", or of "dev". Difficulty 1 is with all
simplifications of the package (open doors and containers, no wiring, flowers that water themselves, `teleport to`),
2 without.

The part "correct" is the score, by default: partial progress counts, and a wrong focus ends the episode below zero.
Needs Java; each episode has a machine of its own, which takes a second or more to start and 300 MB. A step is mostly
one of tens of milliseconds, but one of the genetics tasks can take a second and more on a busy machine, and one that
is past `call_seconds` is the environment's failure: leave it room.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scienceworld.constants import JAR_PATH

from agentrl.envs.adapters import text_game, text_tasks
from agentrl.envs.adapters.java import JavaEngine, check_java
from agentrl.envs.adapters.text_game import Reply
from agentrl.envs.base import Setting
from agentrl.envs.tasks.shared import splits
from agentrl.types import Action, Task

_ENTRY = "scienceworld.runtime.pythonapi.PythonInterface"
_SIMPLIFICATIONS = ("easy", "")  # of difficulty 1 and 2
_UNKNOWN = "No known action"
_INTRO = "You are in a text game about science, in a house with a greenhouse, a workshop and more."

# Kind of task -> number of its variations.
VARIATIONS: Mapping[str, int] = {
  "boil": 30,
  "change-the-state-of-matter-of": 30,
  "chemistry-mix": 32,
  "chemistry-mix-paint-secondary-color": 36,
  "chemistry-mix-paint-tertiary-color": 36,
  "find-animal": 300,
  "find-living-thing": 300,
  "find-non-living-thing": 300,
  "find-plant": 300,
  "freeze": 30,
  "grow-fruit": 126,
  "grow-plant": 126,
  "identify-life-stages-1": 14,
  "identify-life-stages-2": 10,
  "inclined-plane-determine-angle": 168,
  "inclined-plane-friction-named-surfaces": 1386,
  "inclined-plane-friction-unnamed-surfaces": 162,
  "lifespan-longest-lived": 125,
  "lifespan-longest-lived-then-shortest-lived": 125,
  "lifespan-shortest-lived": 125,
  "measure-melting-point-known-substance": 436,
  "measure-melting-point-unknown-substance": 300,
  "melt": 30,
  "mendelian-genetics-known-plant": 120,
  "mendelian-genetics-unknown-plant": 480,
  "power-component": 20,
  "power-component-renewable-vs-nonrenewable-energy": 20,
  "test-conductivity": 900,
  "test-conductivity-of-unknown-substances": 600,
  "use-thermometer": 540,
}


def fold(kind: str, name: str) -> range:
  """The variations of a kind of task that are in the fold "train", "dev" or "test"."""
  quarter, count = VARIATIONS[kind] // 4, VARIATIONS[kind]
  first, last = {"train": (0, 2 * quarter), "dev": (2 * quarter, 3 * quarter), "test": (3 * quarter, count)}[name]
  return range(first, last)


def generate(
  index: int,
  *,
  split: str,
  difficulty: int = 1,
  seed: int = 0,
  game: str = "all",
  held_out_fold: str = "test",
  steps: int = 100,
  graded: bool = True,
  tool: bool = False,
  show_commands: bool = False,
) -> Task:
  """One task; a pure function of its arguments. A kind starts over behind its variations, in another order.

  Args:
    index: which one.
    split: "train" or "held_out".
    seed: another sequence of tasks.
    difficulty: 1 with the package's simplifications, 2 without.
    game: key of `VARIATIONS`, or "all".
    held_out_fold: which fold the held-out split is, "test" or "dev".
    steps: commands after which the game is over; some demonstrations need more than 100.
    graded: "correct" is the score, at least 0; False: 1 where the score is full, else 0.
    tool, show_commands: see `text_tasks.make_task`.

  Raises:
    ValueError: an unknown split, difficulty, game or fold.
  """
  if difficulty not in (1, 2):
    raise ValueError(f"scienceworld has difficulties 1 and 2, not {difficulty!r}")
  if held_out_fold not in ("test", "dev"):
    raise ValueError(f"held_out_fold is test or dev, not {held_out_fold!r}")
  kind, place = text_tasks.pick_game(tuple(VARIATIONS), game, index, family="scienceworld")
  variations = fold(kind, "train" if split == splits.TRAIN else held_out_fold)
  variation = variations[text_tasks.shuffled(len(variations), place, split, ("scienceworld", kind, seed))]
  data = {"game": kind, "variation": variation, "simplifications": _SIMPLIFICATIONS[difficulty - 1]}
  where = {"split": split, "difficulty": difficulty, "seed": seed}
  shown = {"tool": tool, "show_commands": show_commands, "graded": graded}
  return text_tasks.make_task("scienceworld", index, **where, intro=_INTRO, data=data, steps=steps, **shown)


class ScienceEngine(JavaEngine):
  """Plays one task on a Java machine of its own; see `text_game.Engine`.

  It talks to the package's Java interface and not to its Python class, which lists all valid commands after every
  step: that costs more than the step itself.
  """

  def __init__(self):
    super().__init__("ScienceWorld", JAR_PATH, _ENTRY)

  def start(self, task: Task, seed: int) -> Reply:
    """Starts the machine and the task, in which nothing is random beyond its variation."""
    del seed
    self._open(task, gold=False)
    seen = (
      self._interface.freeActionTaskDesc(),
      self._interface.freeActionLook(),
      self._interface.freeActionInventory(),
    )
    return self._reply("\n\n".join(text.strip() for text in seen))

  def send(self, command: str) -> Reply:
    """Gives a command."""
    return self._reply(self._interface.step(command))

  def commands(self) -> Sequence[str]:
    """Valid commands, some hundreds, in order of the alphabet."""
    return sorted(self._interface.getValidActionObjectCombinations())

  def _gold_path(self, task: Task) -> Sequence[str]:
    self._open(task, gold=True)
    path = list(self._interface.getGoldActionSequence())
    self._open(task, gold=False)
    return path

  def _open(self, task: Task, gold: bool) -> None:
    self._interface = self._new_interface()
    self._interface.load(task.data["game"], task.data["variation"], task.data["simplifications"], gold)

  def _reply(self, text: str) -> Reply:
    score = float(self._interface.getScore())
    over = bool(self._interface.getCompleted()) or score < 0
    return Reply(text.strip(), score, won=score >= 1, over=over, understood=not text.startswith(_UNKNOWN))


def environment(setting: Setting) -> text_game.TextGame:
  """A fresh game, for one trajectory.

  Raises:
    FileNotFoundError: there is no Java; names the package that brings it.
  """
  check_java()
  return text_game.TextGame(ScienceEngine(), setting)


def oracle(task: Task, tool: str = "") -> list[Action]:
  """The package's own way to the full score, which takes a Java machine to find."""
  return text_tasks.play(ScienceEngine().gold(task), task, tool)
