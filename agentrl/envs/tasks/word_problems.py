"""Arithmetic word problems of one to four steps.

Difficulty is the number of steps, which are the operations in the expression. A kind is a shape of expression, told in
several stories; names, things and numbers vary. All answers are whole and positive.

`task.data` holds "expression", valid in Python and for the calculator, and "kind". Two tasks are the same where kind
and numbers are the same, in whatever order.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Mapping, Sequence

from agentrl.envs.numbers import is_number
from agentrl.envs.tasks.data.stories import NAMES, STORIES, THINGS
from agentrl.envs.tasks.shared import splits, traces
from agentrl.envs.tools.calculator import Calculator
from agentrl.named import by_name
from agentrl.types import Action, Task

Numbers = Mapping[str, int]


@dataclasses.dataclass(frozen=True)
class Kind:
  """A shape of problem.

  Attributes:
    steps: operations in the expression.
    expression: with the numbers' letters in braces.
    draw: draws the numbers, by letter.
  """

  steps: int
  expression: str
  draw: Callable[[random.Random], Numbers]


def _within(**bounds: tuple[int, int]) -> Callable[[random.Random], Numbers]:
  """Draws each number between its bounds, both included."""
  return lambda rng: {letter: rng.randint(*ends) for letter, ends in bounds.items()}


def _difference(rng: random.Random) -> Numbers:
  b = rng.randint(11, 400)
  return {"a": b + rng.randint(11, 400), "b": b}


def _quotient(rng: random.Random) -> Numbers:
  b = rng.randint(3, 25)
  return {"a": b * rng.randint(6, 80), "b": b}


def _minus_plus(rng: random.Random) -> Numbers:
  b = rng.randint(11, 150)
  return {"a": b + rng.randint(11, 300), "b": b, "c": rng.randint(11, 200)}


def _change(rng: random.Random) -> Numbers:
  b, c = rng.randint(3, 20), rng.randint(6, 40)
  return {"a": b * c + rng.randint(5, 200), "b": b, "c": c}


def _rest_shared(rng: random.Random) -> Numbers:
  b, c = rng.randint(5, 60), rng.randint(3, 15)
  return {"a": b + c * rng.randint(4, 40), "b": b, "c": c}


def _earnings_minus(rng: random.Random) -> Numbers:
  a, b, c = rng.randint(5, 40), rng.randint(5, 40), rng.randint(6, 30)
  return {"a": a, "b": b, "c": c, "d": rng.randint(20, (a + b) * c - 10)}


def _pooled_shared(rng: random.Random) -> Numbers:
  b, c, d = rng.randint(6, 40), rng.randint(5, 60), rng.randint(3, 12)
  a = d * rng.randint(2, 8)
  return {"a": a, "b": b, "c": c * d, "d": d}


def _two_orders_change(rng: random.Random) -> Numbers:
  a, b, c, d = rng.randint(3, 15), rng.randint(4, 30), rng.randint(3, 15), rng.randint(4, 30)
  return {"a": a, "b": b, "c": c, "d": d, "e": a * b + c * d + rng.randint(5, 200)}


def _profit_shared(rng: random.Random) -> Numbers:
  a, b, c, e = rng.randint(8, 40), rng.randint(8, 40), rng.randint(5, 25), rng.randint(3, 9)
  total = (a + b) * c
  share = rng.randint(1, (total - 5) // e)
  return {"a": a, "b": b, "c": c, "d": total - share * e, "e": e}


KINDS: Mapping[str, Kind] = {
  "sum": Kind(1, "{a}+{b}", _within(a=(11, 500), b=(11, 500))),
  "difference": Kind(1, "{a}-{b}", _difference),
  "product": Kind(1, "{a}*{b}", _within(a=(11, 99), b=(3, 40))),
  "quotient": Kind(1, "{a}//{b}", _quotient),
  "sum_times_price": Kind(2, "({a}+{b})*{c}", _within(a=(5, 60), b=(5, 60), c=(3, 40))),
  "two_step": Kind(2, "{a}-{b}+{c}", _minus_plus),
  "product_plus": Kind(2, "{a}*{b}+{c}", _within(a=(6, 60), b=(3, 25), c=(5, 200))),
  "change": Kind(2, "{a}-{b}*{c}", _change),
  "rest_shared": Kind(2, "({a}-{b})//{c}", _rest_shared),
  "two_orders": Kind(3, "{a}*{b}+{c}*{d}", _within(a=(3, 30), b=(4, 40), c=(3, 30), d=(4, 40))),
  "earnings_minus": Kind(3, "({a}+{b})*{c}-{d}", _earnings_minus),
  "pooled_shared": Kind(3, "({a}*{b}+{c})//{d}", _pooled_shared),
  "two_orders_plus": Kind(4, "{a}*{b}+{c}*{d}+{e}", _within(a=(3, 30), b=(4, 40), c=(3, 30), d=(4, 40), e=(5, 200))),
  "two_orders_change": Kind(4, "{e}-({a}*{b}+{c}*{d})", _two_orders_change),
  "profit_shared": Kind(4, "(({a}+{b})*{c}-{d})//{e}", _profit_shared),
}


def generate(index: int, *, split: str, difficulty: int = 1, seed: int = 0, kinds: Sequence[str] | None = None) -> Task:
  """One task; a pure function of its arguments.

  Args:
    index: which one.
    split: "train" or "held_out".
    difficulty: steps, 1 to 4; the most that any of `kinds` may have, where they are given.
    seed: another sequence of tasks.
    kinds: names in `KINDS` to draw from; None for all that have exactly `difficulty` steps.

  Raises:
    ValueError: an unknown split, difficulty or kind, or a kind with more steps than `difficulty`.
  """
  names = _kinds(difficulty, kinds)

  def make(rng: random.Random) -> tuple[str, Numbers, str]:
    name = rng.choice(names)
    numbers = KINDS[name].draw(rng)
    return name, numbers, _tell(rng, rng.choice(STORIES[name]), numbers)

  source = ("word_problems", difficulty, names, index, seed)
  name, numbers, question = splits.draw(make, _content, split=split, source=source)
  expression = KINDS[name].expression.format(**numbers)
  return Task(
    id=splits.task_id("word_problems", split, difficulty, index, seed),
    family="word_problems",
    question=question,
    answer=Calculator().calculate(expression),
    difficulty=KINDS[name].steps,
    data={"expression": expression, "kind": name},
  )


def check(task: Task, answer: str) -> bool:
  """Whether the last number of the answer is the task's."""
  return is_number(answer, str(task.answer))


def oracle(task: Task, tool: str = "calculator") -> list[Action]:
  """Evaluates the whole expression with the tool, then answers."""
  return [*traces.compute(task.data["expression"], tool, family="word_problems"), traces.answer(str(task.answer))]


def _kinds(difficulty: int, kinds: Sequence[str] | None) -> tuple[str, ...]:
  if difficulty not in (1, 2, 3, 4):
    raise ValueError(f"word_problems has difficulties 1 to 4, not {difficulty!r}")
  if kinds is None:
    return tuple(name for name, kind in KINDS.items() if kind.steps == difficulty)
  if not kinds or isinstance(kinds, str):
    raise ValueError(f"kinds must be a sequence of at least one name, got {kinds!r}; known: {', '.join(KINDS)}")
  for name in kinds:
    steps = by_name(KINDS, name, kind="kind of word problem").steps
    if steps > difficulty:
      raise ValueError(f"kind {name!r} has {steps} steps; set difficulty to {steps} or leave it out")
  return tuple(kinds)


def _content(made: tuple[str, Numbers, str]) -> str:
  name, numbers, _ = made
  return f"{name} {sorted(numbers.values())}"


def _tell(rng: random.Random, story: str, numbers: Numbers) -> str:
  """Fills a story with two names, two things and the numbers."""
  (name, other), (things, stuff) = rng.sample(NAMES, 2), rng.sample(THINGS, 2)
  return story.format(name=name, other=other, things=things, stuff=stuff, **numbers)
