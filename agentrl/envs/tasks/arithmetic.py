"""Plain expressions, in short ASCII questions that a tiny byte-level model can learn: "What is 47*36?".

Difficulty 1: two operands of two digits and one of + - *. 2: three operands. 3: three operands of two to four digits,
two of them in parentheses. Two tasks are the same where they have the same numbers, in whatever order and under
whatever operators.
"""

from __future__ import annotations

import random

from agentrl.envs.numbers import is_number
from agentrl.envs.tasks.shared import splits, traces
from agentrl.envs.tools.calculator import Calculator
from agentrl.types import Action, Task

_OPERATORS = "+-*"
_PHRASINGS = ("What is {}?", "Compute {}.", "{}=?")


def generate(index: int, *, split: str, difficulty: int = 1, seed: int = 0) -> Task:
  """One task; a pure function of its arguments.

  Args:
    index: which one.
    split: "train" or "held_out".
    difficulty: 1 to 3.
    seed: another sequence of tasks.

  Raises:
    ValueError: an unknown split or difficulty.
  """
  if difficulty not in (1, 2, 3):
    raise ValueError(f"arithmetic has difficulties 1 to 3, not {difficulty!r}")

  def make(rng: random.Random) -> tuple[list[int], str, str]:
    numbers = _numbers(rng, difficulty)
    return numbers, _expression(rng, numbers, parentheses=difficulty == 3), rng.choice(_PHRASINGS)

  source = ("arithmetic", difficulty, index, seed)
  _, expression, phrasing = splits.draw(make, lambda made: str(sorted(made[0])), split=split, source=source)
  return Task(
    id=splits.task_id("arithmetic", split, difficulty, index, seed),
    family="arithmetic",
    question=phrasing.format(expression),
    answer=Calculator().calculate(expression),
    difficulty=difficulty,
    data={"expression": expression},
  )


def check(task: Task, answer: str) -> bool:
  """Whether the last number of the answer is the task's."""
  return is_number(answer, str(task.answer))


def oracle(task: Task, tool: str = "calculator") -> list[Action]:
  """Evaluates the expression with the tool, then answers."""
  return [*traces.compute(task.data["expression"], tool, family="arithmetic"), traces.answer(str(task.answer))]


def by_hand(task: Task, tool: str) -> list[Action]:
  """Writes the steps and the result in place of a call, "47*30=1410,47*6=282,1410+282=1692": products by digits.

  Raises:
    ValueError: another difficulty than 1.
  """
  del tool
  if task.difficulty != 1:
    raise ValueError(f"arithmetic by hand is shown at difficulty 1 alone, and task {task.id} has {task.difficulty}")
  expression = task.data["expression"]
  first, operator, second = expression[:2], expression[2], expression[3:]
  steps = [expression]
  if operator == "*":
    parts = [f"{first}*{second[0]}0", f"{first}*{second[1]}"]
    steps = [*parts, "+".join(map(Calculator().calculate, parts))]
  return [traces.answer(",".join(f"{step}={Calculator().calculate(step)}" for step in steps))]


HABITS = {"by_hand": by_hand}


def _numbers(rng: random.Random, difficulty: int) -> list[int]:
  if difficulty == 3:
    return [rng.randrange(10, 10 ** rng.choice((2, 3, 4))) for _ in range(3)]
  return [rng.randrange(10, 100) for _ in range(difficulty + 1)]


def _expression(rng: random.Random, numbers: list[int], *, parentheses: bool) -> str:
  first, *rest = map(str, numbers)
  operators = [rng.choice(_OPERATORS) for _ in rest]
  if not parentheses:
    return first + "".join(operator + number for operator, number in zip(operators, rest, strict=True))
  second, third = rest
  if rng.random() < 0.5:
    return f"({first}{operators[0]}{second}){operators[1]}{third}"
  return f"{first}{operators[0]}({second}{operators[1]}{third})"
