"""Tasks, demonstrations and the optimum of guessing games; the families differ in their tables alone.

A questioner picks the next question from those asked so far and the candidates, which are the items that fit every
answer. It plays without a model, so its skill is a choice:

  bisect     asks what splits the candidates most evenly, and guesses where three or fewer are left
  random     asks any question not asked before, or guesses any candidate: consistent, but without a plan
  careless   asks any question and guesses any item, whatever was answered

`random` and `careless` guess in a share of their turns, `guess_share`; `random` guesses where it knows the item.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Mapping, Sequence

from agentrl.envs.dialogue import Question, Table
from agentrl.envs.tasks.shared import splits, traces
from agentrl.named import check_name
from agentrl.types import Action, Task

_MOST_ITEMS = 16  # of an exact search: it visits up to 2**items sets of candidates

Questioner = Callable[[Table, Sequence[str], Sequence[Question], random.Random, float], Question]


# ---- questioners: (table, candidates, asked, rng, guess_share) -> the next question -----------------------------


def bisect(table: Table, candidates: Sequence[str], asked: Sequence[Question], rng: random.Random, share: float):
  """The question that splits the candidates most evenly, first in the table where several do."""
  del asked, rng, share
  count = len(candidates)

  def unevenness(question: Question) -> int:
    return abs(2 * len(question.yes.intersection(candidates)) - count)

  best = min(table.questions, key=unevenness)
  return table.guesses[candidates[0]] if count <= 3 or unevenness(best) == count else best


def at_random(table: Table, candidates: Sequence[str], asked: Sequence[Question], rng: random.Random, share: float):
  """A question not asked before, or a guess of a candidate."""
  open_questions = [question for question in table.questions if question not in asked]
  if len(candidates) == 1 or not open_questions or rng.random() < share:
    return table.guesses[rng.choice(candidates)]
  return rng.choice(open_questions)


def careless(table: Table, candidates: Sequence[str], asked: Sequence[Question], rng: random.Random, share: float):
  """Any question, or a guess of any item."""
  del candidates, asked
  return table.guesses[rng.choice(table.items)] if rng.random() < share else rng.choice(table.questions)


QUESTIONERS: Mapping[str, Questioner] = {"bisect": bisect, "random": at_random, "careless": careless}


def demonstrate(table: Table, task: Task) -> list[Action]:
  """The game of the task's questioner, up to its right guess or the last turn; a pure function of the task."""
  ask, rng = QUESTIONERS[task.data["demonstrator"]], random.Random(f"demonstration {task.id}")
  candidates, asked = table.items, []
  for _ in range(task.data["turns"]):
    question = ask(table, candidates, asked, rng, task.data["guess_share"])
    asked.append(question)
    true = task.answer in question.yes
    if true and question.guess:
      break
    candidates = tuple(item for item in candidates if (item in question.yes) == true)
  return [traces.answer(question.text) for question in asked]


# ---- tasks ------------------------------------------------------------------------------------------------------


def make_task(
  table: Table,
  index: int,
  *,
  family: str,
  split: str,
  difficulty: int,
  seed: int,
  turns: int = 20,
  held_out_items: bool = False,
  demonstrator: str = "bisect",
  guess_share: float = 0.25,
) -> Task:
  """Task number `index` of a guessing game; a pure function of its arguments.

  As many tasks in a row as there are items ask for each of them once, in an order of their own, so that an evaluation
  over whole rounds weighs all items alike.

  Args:
    table: where the item is from.
    index: which task.
    family: of the task.
    split: "train" or "held_out".
    difficulty: 1; a table has no dial.
    seed: another sequence of tasks.
    turns: after which the game is lost. `rollout.max_turns` should be the same.
    held_out_items: an eighth of the items (see `splits.belongs`) is asked for in the held-out split alone, the others
      in the train split alone; False: both splits ask for all items, in other orders.
    demonstrator: key of `QUESTIONERS`, who plays the demonstrations.
    guess_share: share of turns in which a demonstrator that does not plan guesses, in [0, 1].

  Raises:
    ValueError: an unknown split, difficulty or demonstrator, a number out of its range, or a split without items.
  """
  _check(family, difficulty, turns, guess_share)
  check_name(QUESTIONERS, demonstrator, kind="demonstrator")
  items = [item for item in table.items if not held_out_items or splits.belongs(item, split)]
  if not items:
    raise ValueError(f"no item of the table {table.name!r} is on the {split} side; set held_out_items to False")
  order, place = divmod(index, len(items))
  splits.generator(split, (family, table.name, order, seed)).shuffle(items)
  return Task(
    id=splits.task_id(family, split, difficulty, index, seed),
    family=family,
    question=table.opening,
    answer=items[place],
    difficulty=difficulty,
    data={"table": table.name, "turns": turns, "demonstrator": demonstrator, "guess_share": guess_share},
  )


def _check(family: str, difficulty: int, turns: int, guess_share: float) -> None:
  if difficulty != 1:
    raise ValueError(f"{family} has difficulty 1 alone, not {difficulty!r}; what makes it hard is its table")
  if turns < 1:
    raise ValueError(f"turns must be at least 1, got {turns!r}")
  if not 0 <= guess_share <= 1:
    raise ValueError(f"guess_share must be a share between 0 and 1, got {guess_share!r}")


def oracle(table: Table, task: Task, tool: str) -> list[Action]:
  """The demonstration of the task.

  Raises:
    ValueError: a tool is asked for.
  """
  if tool:
    raise ValueError(f"{task.family} tasks cannot be solved with the tool {tool!r}: they are games, without one")
  return demonstrate(table, task)


# ---- the optimum ------------------------------------------------------------------------------------------------


def optimal_return(table: Table) -> float:
  """Expected return of the best strategy over all items alike, by exact search over sets of candidates.

    V(C) = max over moves of  -1 + sum over answers of |C'| / |C| V(C'),  and 0 instead of -1 + V where a guess is right

  It holds for games of at least as many turns as there are items: the best strategy needs no more.

  Args:
    table: of at most 16 items.

  Raises:
    ValueError: more items than can be searched exactly.
  """
  if len(table.items) > _MOST_ITEMS:
    raise ValueError(f"exact search takes at most {_MOST_ITEMS} items; the table {table.name!r} has {len(table.items)}")
  bit = {item: 1 << position for position, item in enumerate(table.items)}
  moves = [(sum(bit[item] for item in question.yes), question.guess) for question in table.moves]

  @functools.cache
  def value(candidates: int) -> float:
    count, best = candidates.bit_count(), float("-inf")
    for true, guess in moves:
      yes, no = candidates & true, candidates & ~true
      if not yes or (not no and not guess):
        continue
      rest = no.bit_count() * (value(no) - 1) if no else 0
      best = max(best, (rest + (0 if guess else yes.bit_count() * (value(yes) - 1))) / count)
    return best

  return value((1 << len(table.items)) - 1)
