"""Twenty Questions: an animal or an object is hidden, and yes/no questions find it.

Two tables: "things", about 100 animals and objects of everyday life, and "sixteen", a miniature of 16 items in which
four questions take every combination of answers once. How utterances are read and rewarded is told in
`envs/dialogue.py`, and who plays the demonstrations in `questioners.py`.

As in ArCHer (Zhou et al., 2024, https://arxiv.org/abs/2402.19446) a turn costs 1 and there are 20 turns. Unlike the
paper, the answers come from a table and not from a language model.
"""

from __future__ import annotations

import functools

from agentrl.envs.base import Setting
from agentrl.envs.dialogue import GuessingGame, Question, Table
from agentrl.envs.tasks.data.things import QUESTIONS, THINGS
from agentrl.envs.tasks.shared import questioners
from agentrl.named import by_name
from agentrl.types import Action, Task

# Item -> answers to the questions below it, in their order.
_SIXTEEN = {
  "a beluga": "yyyy", "a whale": "yyny", "a sheep": "yyyn", "a bear": "yynn",
  "a gull": "ynyy", "a crab": "ynny", "a dove": "ynyn", "a mole": "ynnn",
  "an iceberg": "nyyy", "a ship": "nyny", "an igloo": "nyyn", "a barn": "nynn",
  "milk": "nnyy", "ink": "nnny", "salt": "nnyn", "coal": "nnnn",
}  # fmt: skip
_SIXTEEN_QUESTIONS = ("Is it alive?", "Is it big?", "Is it white?", "Is it wet?")


@functools.cache
def load_table(name: str) -> Table:
  """The table of a name, "things" or "sixteen".

  Raises:
    ValueError: there is no such table.
  """
  return by_name({"things": _things, "sixteen": _sixteen}, name, kind="table")()


def _things() -> Table:
  questions = [
    Question(text, frozenset(item for item, true in THINGS.items() if key in true.split()), tuple(others))
    for key, (text, *others) in QUESTIONS.items()
  ]
  opening = "I am thinking of an animal or an object. Ask yes/no questions to find out what it is."
  return Table("things", opening, tuple(THINGS), tuple(questions), "Please ask a yes/no question that I know.")


def _sixteen() -> Table:
  questions = [
    Question(text, frozenset(item for item, answers in _SIXTEEN.items() if answers[column] == "y"))
    for column, text in enumerate(_SIXTEEN_QUESTIONS)
  ]
  return Table("sixteen", "What is it?", tuple(_SIXTEEN), tuple(questions), "What?")


def generate(
  index: int,
  *,
  split: str,
  difficulty: int = 1,
  seed: int = 0,
  table: str = "things",
  turns: int = 20,
  held_out_items: bool = False,
  demonstrator: str = "bisect",
  guess_share: float = 0.25,
) -> Task:
  """One task; a pure function of its arguments.

  Args:
    index: which one.
    split: "train" or "held_out".
    difficulty: see `questioners.make_task`.
    seed: another sequence of tasks.
    table: "things" or "sixteen".
    turns, held_out_items, demonstrator, guess_share: see `questioners.make_task`.
  """
  where = {"family": "twenty_questions", "split": split, "difficulty": difficulty, "seed": seed}
  demonstrated = {"demonstrator": demonstrator, "guess_share": guess_share}
  game = {"turns": turns, "held_out_items": held_out_items, **demonstrated}
  return questioners.make_task(load_table(table), index, **where, **game)


def environment(setting: Setting) -> GuessingGame:
  """A fresh game, for one trajectory."""
  return GuessingGame(load_table, setting)


def oracle(task: Task, tool: str = "") -> list[Action]:
  """The demonstration of the task; there is no tool."""
  return questioners.oracle(load_table(task.data["table"]), task, tool)
