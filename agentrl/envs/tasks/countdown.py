"""Countdown: reach a target with given numbers, each used at most once, and + - * /.

Difficulty 1 to 4 gives 3 to 6 numbers. Targets are built from an expression over all of them, so every task has a
solution; a target is either trained on or held out, at all difficulties. Any expression that holds is right, so
`task.answer` is None; `task.data` holds "numbers", "target" and one "solution".
"""

from __future__ import annotations

import collections
import random
from typing import NamedTuple

from agentrl.envs.schema import ToolArgumentError
from agentrl.envs.tasks import splits, traces
from agentrl.envs.tools.calculator import evaluate
from agentrl.types import Action, Task

_NUMBERS = (1, 50)
_TARGETS = (10, 999)


class Countdown(NamedTuple):
  """The numbers, the target, and an expression that reaches it."""

  numbers: tuple[int, ...]
  target: int
  solution: str


def generate(index: int, *, split: str, difficulty: int = 1, seed: int = 0) -> Task:
  """One task; a pure function of its arguments.

  Args:
    index: which one.
    split: "train" or "held_out".
    difficulty: 1 to 4, for 3 to 6 numbers.
    seed: another sequence of tasks.

  Raises:
    ValueError: an unknown split or difficulty.
  """
  if difficulty not in (1, 2, 3, 4):
    raise ValueError(f"countdown has difficulties 1 to 4, not {difficulty!r}")
  source = ("countdown", difficulty, index, seed)
  drawn = splits.draw(
    lambda rng: _draw(rng, difficulty + 2), lambda made: f"target {made.target}", split=split, source=source
  )
  listed = ", ".join(map(str, drawn.numbers))
  return Task(
    id=splits.task_id("countdown", split, difficulty, index, seed),
    family="countdown",
    question=f"Use the numbers {listed}, each at most once, and + - * / ( ) to write an expression that equals "
    f"{drawn.target}. Answer with the expression alone.",
    difficulty=difficulty,
    data=drawn._asdict() | {"numbers": list(drawn.numbers)},
  )


def check(task: Task, answer: str) -> bool:
  """Whether the answer is an expression over the task's numbers that gives the target; "= target" may follow."""
  target = task.data["target"]
  left, equals, right = answer.strip().rstrip(".").strip("`$ ").partition("=")
  if equals and right.strip() != str(target):
    return False
  try:
    expression = evaluate(left)
  except ToolArgumentError:
    return False
  used, given = collections.Counter(expression.numbers), collections.Counter(task.data["numbers"])
  return set(expression.operators) <= set("+-*/") and used <= given and expression.value == target


def oracle(task: Task, tool: str = "calculator") -> list[Action]:
  """Evaluates the known solution with the tool, then answers with it."""
  solution = task.data["solution"]
  return [*traces.compute(solution, tool, family="countdown"), traces.answer(solution)]


def _draw(rng: random.Random, count: int) -> Countdown:
  """Joins random pairs of numbers until one is left; starts over where that is no fit target."""
  while True:
    numbers = tuple(rng.randint(*_NUMBERS) for _ in range(count))
    terms = [(number, str(number)) for number in numbers]
    while len(terms) > 1:
      rng.shuffle(terms)
      terms.append(_join(rng, terms.pop(), terms.pop()))
    target, expression = terms[0]
    if _TARGETS[0] <= target <= _TARGETS[1] and target not in numbers:
      return Countdown(numbers, target, expression[1:-1])


def _join(rng: random.Random, left: tuple[int, str], right: tuple[int, str]) -> tuple[int, str]:
  """One operation with a positive whole result, in parentheses."""
  (a, a_text), (b, b_text) = max(left, right), min(left, right)
  results = {"+": a + b, "*": a * b}
  if a > b:
    results["-"] = a - b
  if a % b == 0:
    results["/"] = a // b
  operator = rng.choice(list(results))
  return results[operator], f"({a_text}{operator}{b_text})"
