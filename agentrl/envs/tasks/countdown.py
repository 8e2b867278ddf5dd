"""Countdown: reach a target with given numbers, each used at most once, and + - * /.

Difficulty 1 to 4 gives 3 to 6 numbers. Targets are built from an expression over all of them, so every task has a
solution; a target is either trained on or held out, at all difficulties. Any expression that holds is right, so
`task.answer` is None; `task.data` holds "numbers", "target" and one "solution".

With `stepwise` the answer is a line per operation, such as "12+5=17", which takes its two numbers off the table and
puts its result there; the last one gives the target. Then `task.data["stepwise"]` is true.
"""

from __future__ import annotations

import collections
import random
import re
from typing import NamedTuple

from agentrl.envs.schema import ToolArgumentError
from agentrl.envs.tasks.shared import splits, traces
from agentrl.envs.tools.calculator import evaluate
from agentrl.types import Action, Task

_TARGETS = (10, 999)
_LINE = re.compile(r"\s*([0-9]{1,9})\s*([-+*/])\s*([0-9]{1,9})\s*=\s*([0-9]{1,18})\s*")
_INNERMOST = re.compile(r"\(([0-9]+)([-+*/])([0-9]+)\)")


class Countdown(NamedTuple):
  """The numbers, the target, and an expression that reaches it."""

  numbers: tuple[int, ...]
  target: int
  solution: str


def generate(
  index: int, *, split: str, difficulty: int = 1, seed: int = 0, stepwise: bool = False, largest: int = 50
) -> Task:
  """One task; a pure function of its arguments.

  Args:
    index: which one.
    split: "train" or "held_out".
    difficulty: 1 to 4, for 3 to 6 numbers.
    seed: another sequence of tasks.
    stepwise: ask for one operation a line, tersely, instead of one expression.
    largest: the numbers are 1 to this.

  Raises:
    ValueError: an unknown split or difficulty, or numbers too small to make many targets.
  """
  if largest < 10:
    raise ValueError(f"countdown needs numbers up to at least 10, not {largest!r}")
  if difficulty not in (1, 2, 3, 4):
    raise ValueError(f"countdown has difficulties 1 to 4, not {difficulty!r}")
  source = ("countdown", difficulty, index, seed)
  drawn = splits.draw(
    lambda rng: _draw(rng, difficulty + 2, largest), lambda made: f"target {made.target}", split=split, source=source
  )
  listed = ", ".join(map(str, drawn.numbers))
  return Task(
    id=splits.task_id("countdown", split, difficulty, index, seed),
    family="countdown",
    question=f"{listed} -> {drawn.target}"
    if stepwise
    else f"Use the numbers {listed}, each at most once, and + - * / ( ) to write an expression that equals "
    f"{drawn.target}. Answer with the expression alone.",
    difficulty=difficulty,
    data=drawn._asdict() | {"numbers": list(drawn.numbers)} | ({"stepwise": True} if stepwise else {}),
  )


def check(task: Task, answer: str) -> bool:
  """Whether the answer is an expression over the task's numbers that gives the target; "= target" may follow.

  Of a stepwise task: whether its lines are operations that hold, over what is on the table, and end at the target.
  """
  target = task.data["target"]
  if "stepwise" in task.data:
    return _last_result(answer, task.data["numbers"]) == target
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
  """Evaluates the known solution with the tool, then answers with it, line by line where the task is stepwise."""
  solution = task.data["solution"]
  if "stepwise" in task.data:
    return [*traces.compute(solution, tool, family="countdown"), traces.answer("\n".join(_lines(solution)))]
  return [*traces.compute(solution, tool, family="countdown"), traces.answer(solution)]


def _last_result(answer: str, numbers: list[int]) -> int | None:
  """Result of the last line; None where a line is no operation, does not hold, or takes what is not on the table."""
  table, result = collections.Counter(numbers), None
  for line in answer.strip().split("\n"):
    found = _LINE.fullmatch(line)
    if found is None:
      return None
    left, right, result = int(found[1]), int(found[3]), int(found[4])
    taken = collections.Counter([left, right])
    if not taken <= table or not _holds(left, found[2], right, result):
      return None
    table = table - taken + collections.Counter([result])
  return result


def _holds(left: int, operator: str, right: int, result: int) -> bool:
  if operator == "/":
    return right != 0 and left == right * result
  return {"+": left + right, "-": left - right, "*": left * right}[operator] == result


def _lines(solution: str) -> list[str]:
  """The operations of a solution of ours, innermost and leftmost first; every one has a positive whole result."""
  lines, rest = [], f"({solution})"
  while found := _INNERMOST.search(rest):
    a, b = int(found[1]), int(found[3])
    result = {"+": a + b, "-": a - b, "*": a * b, "/": a // b}[found[2]]
    lines.append(f"{a}{found[2]}{b}={result}")
    rest = rest[: found.start()] + str(result) + rest[found.end() :]
  return lines


def _draw(rng: random.Random, count: int, largest: int) -> Countdown:
  """Joins random pairs of numbers until one is left; starts over where that is no fit target."""
  while True:
    numbers = tuple(rng.randint(1, largest) for _ in range(count))
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
