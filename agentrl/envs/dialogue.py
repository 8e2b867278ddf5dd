"""Conversations: environments without tools, in which every turn of the policy is an utterance and is answered.

The one here is a guessing game. It hides an item of a `Table`; the policy asks yes/no questions, and a right guess ends
the game. The oracle is exact: a question of the table is answered from the table, anything else is told to be unknown.

How a question is read: case, accents, punctuation and articles do not matter; "it" may be called "the animal", "the
city" and so on; of an utterance with a question mark only the sentence before the first one counts ("Well. Is it a
dog? I think so." asks "is it dog"). What remains must be a wording that the table knows.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence

from agentrl.envs.base import Setting
from agentrl.envs.tool import ToolSpec
from agentrl.types import Action, Message, Observation, Task, TurnKind

_SENTENCE_END = re.compile(r"[.!:;\n]")
_SUBJECT = re.compile(r"\b(?:the|this|that|your) (?:animal|object|thing|item|city|place|word)\b")
_ARTICLE = re.compile(r"\b(?:a|an|the)\b ?")


@dataclasses.dataclass(frozen=True)
class Question:
  """A yes/no question of a table.

  Attributes:
    text: as a demonstration words it.
    yes: the items of which it is true.
    others: further wordings.
    guess: names the item itself, so that "Yes." would end the game.
  """

  text: str
  yes: frozenset[str]
  others: tuple[str, ...] = ()
  guess: bool = False


@dataclasses.dataclass(frozen=True)
class Table:
  """Items, and what is true of them.

  Attributes:
    name: what a task calls it.
    opening: what the policy reads first.
    items: what may be hidden, as a guess words it, article included: "a dog", "salt", "Paris".
    questions: which do not guess; those that do follow from the items.
    unknown: answer to an utterance that is no question of the table.

  Raises:
    ValueError: two questions share a wording, or one is true of something that is no item.
  """

  name: str
  opening: str
  items: tuple[str, ...]
  questions: tuple[Question, ...]
  unknown: str

  def __post_init__(self):
    for question in self.questions:
      if strangers := question.yes - set(self.items):
        raise ValueError(f"table {self.name!r}: {question.text!r} is true of {sorted(strangers)}, which are no items")
    wordings = [normalize(text) for question in self.moves for text in (question.text, *question.others)]
    if twice := sorted({text for text in wordings if wordings.count(text) > 1}):
      raise ValueError(f"table {self.name!r}: more than one question is worded {twice}; change the text of one")

  @functools.cached_property
  def guesses(self) -> Mapping[str, Question]:
    """The guess of each item."""
    return {item: Question(f"Is it {item}?", frozenset((item,)), guess=True) for item in self.items}

  @functools.cached_property
  def moves(self) -> tuple[Question, ...]:
    """All that may be asked: questions, then guesses."""
    return (*self.questions, *self.guesses.values())

  @functools.cached_property
  def _by_wording(self) -> Mapping[str, Question]:
    return {normalize(text): question for question in self.moves for text in (question.text, *question.others)}

  def read(self, utterance: str) -> Question | None:
    """The question that an utterance asks, as the module's docstring says; None where it asks none of the table's."""
    before, mark, _ = utterance.partition("?")
    said = _SENTENCE_END.split(before)[-1] if mark else utterance
    return self._by_wording.get(normalize(said))


def normalize(text: str) -> str:
  """A wording without case, accents, punctuation and articles; single spaces."""
  plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)).casefold()
  words = " ".join(re.findall("[a-z0-9]+", plain))
  return _ARTICLE.sub("", _SUBJECT.sub("it", words)).strip()


class GuessingGame:
  """An environment that hides `task.answer`, an item of the table `task.data["table"]`.

  A right guess ends the game with turn reward 0; every other turn, garbage and void ones included, is rewarded -1. It
  is lost after `task.data["turns"]` turns. Parts: "correct", 1 where guessed, and "return", the sum of turn rewards.
  Until the game is over the parts are those of a lost one, `-turns`, so that a policy that is cut off by the rollout's
  limits is not better off than one that plays on. That leaves the first turn, which `rollout.turn_tokens` must bound.

  Args:
    table: gives the table of a name.
    setting: system message and examples; there is no tool to limit.
  """

  def __init__(self, table: Callable[[str], Table], setting: Setting | None = None):
    self._table_of = table
    self._setting = Setting() if setting is None else setting
    self._table: Table | None = None

  @property
  def tools(self) -> Sequence[ToolSpec]:
    """None."""
    return ()

  def reset(self, task: Task, seed: int) -> list[Message]:
    """Hides the task's item; nothing is random here.

    Raises:
      ValueError: the task is not one of this game's.
    """
    del seed
    if not {"table", "turns"} <= set(task.data):
      raise ValueError(f"task {task.id} of family {task.family!r} is no guessing game: it names no table and no turns")
    self._table = self._table_of(task.data["table"])
    self._item, self._limit = task.answer, task.data["turns"]
    if self._item not in self._table.items:
      raise ValueError(f"task {task.id} hides {self._item!r}, which is no item of the table {self._table.name!r}")
    self._turns, self._return = 0, 0.0
    return [*self._setting.opening, Message("user", task.question)]

  def step(self, action: Action) -> Observation:
    """Answers one utterance.

    Raises:
      RuntimeError: there is no open game.
    """
    if self._table is None:
      raise RuntimeError("step() outside a game: call reset(task, seed) first, and nothing after done")
    question = self._table.read(action.answer) if action.kind is TurnKind.ANSWER else None
    true = question is not None and self._item in question.yes
    won = true and question.guess
    self._turns += 1
    self._return -= not won
    if won or self._turns >= self._limit:
      parts = {"correct": float(won), "return": self._return}
      self._table = None
      return Observation("", done=True, parts=parts, ok=question is not None, reward=-float(not won))
    text = self._table.unknown if question is None else "Yes." if true else "No."
    parts = {"correct": 0.0, "return": -float(self._limit)}
    return Observation(text, parts=parts, ok=question is not None, reward=-1.0)

  def close(self) -> None:
    """Ends the game."""
    self._table = None
