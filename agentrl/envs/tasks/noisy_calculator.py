"""Two calls of a calculator that now and then answers with a line of noise: "47*36+12=?", one operator a call.

The calculator does one operator a call, so `a*b+c` takes two. With probability `noise` a call of it is answered by a
line of characters that are nowhere else, and the right thing is to call again. What is noise derives from the seed of
the episode: `rollout.seeds` says whether the samples of a prompt meet the same.

Demonstrations show how one calls again, and never show noise: in a share `mild` of the tasks one of the two calls is
answered with "?", and their oracle repeats it (the stratum "fault"; the others are "plain"). The first `quiet` tasks of
the train split have no noise: give the cold start's as many.

Difficulty 1: a and b of one digit and c of two. 2: all of two. Two tasks are the same where they have the same numbers.
"""

from __future__ import annotations

import random

from agentrl.envs.base import Setting, ToolEnvironment
from agentrl.envs.numbers import is_number
from agentrl.envs.schema import ToolArgumentError
from agentrl.envs.tasks.shared import splits, traces
from agentrl.envs.tool import Toolset
from agentrl.envs.tools.calculator import ExpressionError, evaluate, to_text
from agentrl.types import Action, Task

NOISE = "#$%&@^~|{}_;"  # no question, call, result or answer has one of these
FAULT = "?"
_PHRASINGS = ("What is {}?", "{}=?")
_NO_FAULT = -1


def generate(
  index: int,
  *,
  split: str,
  difficulty: int = 1,
  seed: int = 0,
  noise: float = 0.3,
  length: int = 12,
  mild: float = 0.1,
  quiet: int = 0,
) -> Task:
  """One task; a pure function of its arguments.

  Args:
    index: which one.
    split: "train" or "held_out".
    difficulty: 1 or 2.
    seed: another sequence of tasks.
    noise: probability that a call is answered with noise.
    length: characters of a line of noise.
    mild: share of tasks in which the first try of one of the two calls is answered with "?".
    quiet: tasks of the train split before this number have no noise.

  Raises:
    ValueError: an unknown split or difficulty, no length, or a share outside [0, 1].
  """
  if difficulty not in (1, 2):
    raise ValueError(f"noisy_calculator has difficulties 1 and 2, not {difficulty!r}")
  if not (0 <= noise <= 1 and 0 <= mild <= 1):
    raise ValueError(f"noise and mild are shares between 0 and 1, got {noise!r} and {mild!r}")
  if length < 1:
    raise ValueError(f"a line of noise has at least one character: length={length!r}")

  def make(rng: random.Random) -> tuple[list[int], str, int]:
    first = (2, 10) if difficulty == 1 else (10, 100)
    numbers = [rng.randrange(*first), rng.randrange(*first), rng.randrange(10, 100)]
    return numbers, rng.choice(_PHRASINGS), rng.randrange(2) if rng.random() < mild else _NO_FAULT

  source = ("noisy_calculator", difficulty, index, seed)
  (a, b, c), phrasing, fault = splits.draw(make, lambda made: str(sorted(made[0])), split=split, source=source)
  is_quiet = split == splits.TRAIN and index < quiet
  return Task(
    id=splits.task_id("noisy_calculator", split, difficulty, index, seed),
    family="noisy_calculator",
    question=phrasing.format(f"{a}*{b}+{c}"),
    answer=str(a * b + c),
    difficulty=difficulty,
    data={"numbers": [a, b, c], "fault": fault, "noise": 0.0 if is_quiet else noise, "length": length},
    stratum="plain" if fault == _NO_FAULT else "fault",
  )


def check(task: Task, answer: str) -> bool:
  """Whether the last number of the answer is the task's."""
  return is_number(answer, str(task.answer))


def oracle(task: Task, tool: str) -> list[Action]:
  """The product, the sum, and the answer; a call that meets a "?" is made again."""
  del tool
  a, b, c = task.data["numbers"]
  calls = [traces.call("calculate", expression=e) for e in (f"{a}*{b}", f"{a * b}+{c}")]
  if task.data["fault"] != _NO_FAULT:
    calls.insert(task.data["fault"], calls[task.data["fault"]])
  return [*calls, traces.answer(str(task.answer))]


def environment(setting: Setting) -> ToolEnvironment:
  """The question, and the calculator."""
  return ToolEnvironment(NoisyCalculator(), check, setting)


class NoisyCalculator(Toolset):
  """A calculator of one operator a call, which is sometimes unwell."""

  def __init__(self):
    self._task: Task | None = None
    self._random = random.Random()
    self._calls = 0

  def reset(self, task: Task, seed: int) -> None:
    """Takes the task's dials; not a tool."""
    self._task, self._calls = task, 0
    self._random = random.Random(f"noise {task.id} {seed}")

  def calculate(self, expression: str) -> str:
    """Computes one sum, difference, product or quotient of two numbers.

    Args:
      expression: such as 47*36
    """
    data = self._task.data
    number, self._calls = self._calls, self._calls + 1
    unwell, line = self._random.random() < data["noise"], self._random.choices(NOISE, k=data["length"])
    if number == data["fault"]:
      return FAULT
    return "".join(line) if unwell else _computed(expression)


def _computed(expression: str) -> str:
  """The result, or in few words why there is none."""
  try:
    found = evaluate(expression)
  except ExpressionError as error:
    raise ToolArgumentError("no numbers") from error
  if len(found.operators) > 1:
    raise ToolArgumentError("one operator")
  return to_text(found.value)
