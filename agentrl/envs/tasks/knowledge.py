"""Knowledge in the weights or in a table: what a key stands for, which a policy may know or may have to look up.

64 facts never change, so that a cold start teaches them. All other keys look the same, and what they stand for is drawn
anew for every task, and stands in the task's table alone. The question is always "What is koka?", so that only memory
tells a policy whether a lookup is needed. The table has the facts too: to look them up is right, and needless.

What a key stands for may be a key again, and the number at the end of the path is asked for. Strata:

  known        a fact: 0 lookups are needed
  one_hop      a key of the table stands for the number: 1
  mixed        a key of the table stands for that of a fact: 1
  two_hops     two keys of the table, then the number: 2
  three_hops   three of them: 3

Difficulty 1 asks known and one_hop, 2 up to two_hops, 3 all; of those that are not known equally many each. A lookup of
a key that is no fact is right with probability `right`; else it says another key or number, which is in no table, so
that the path ends in "no such key" or in a wrong number. Which lookup of an episode, counted from its first, goes wrong
is part of the task: all samples of a group meet the same.

With `twins` there are two tables of the same content, and a lookup says in which one: "a koka" or "b koka".

A share `sums` of the tasks asks for the sum of two values, which the calculator adds. Where no lookup is needed the
values stand in the question, as in "What is 417+582?", else each is a key of the table, "What is koka+bodu?":

  calculator   two numbers: 0 lookups are needed, and 1 calculation
  both         two keys, neither a fact: 2 lookups, then 1 calculation

By construction a key that is no fact and a pair of numbers are either trained on or held out; facts are asked for in
both splits.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Collection

from agentrl.envs.tasks.shared import splits, traces
from agentrl.envs.tools.lookup import KeyTable
from agentrl.types import Action, Task

_CONSONANTS, _VOWELS = "bdfgklmnprstvz", "aeiou"
_HOPS = {"one_hop": 1, "mixed": 2, "two_hops": 2, "three_hops": 3}  # of lookups, if all are looked up
_LOOKUPS = 8  # of an episode, that may go wrong
_TOOLS = ("lookup", "lookup_and_calculator")


def _word(rng: random.Random) -> str:
  return "".join(rng.choice(_CONSONANTS) + rng.choice(_VOWELS) for _ in range(2))


def _number(rng: random.Random) -> str:
  return str(rng.randrange(100, 1000))


def _facts(count: int) -> dict[str, str]:
  rng, facts = random.Random("what everybody knows"), {}
  while len(facts) < count:
    facts[_word(rng)] = _number(rng)
  return facts


FACTS = _facts(64)


def generate(
  index: int,
  *,
  split: str,
  difficulty: int = 1,
  seed: int = 0,
  known: float = 0.5,
  right: float = 1.0,
  twins: bool = False,
  sums: float = 0.0,
) -> Task:
  """One task; a pure function of its arguments.

  Args:
    index: which one.
    split: "train" or "held_out".
    difficulty: 1 to 3, the most hops of a task.
    seed: another sequence of tasks.
    known: share of tasks that need no lookup: they ask for a fact, or for the sum of two numbers.
    right: probability that a lookup of a key that is no fact is right.
    twins: two tables, "a" and "b".
    sums: share of tasks that ask for the sum of two values.

  Raises:
    ValueError: an unknown split or difficulty, or a share or probability outside [0, 1].
  """
  if difficulty not in (1, 2, 3):
    raise ValueError(f"knowledge has difficulties 1 to 3, not {difficulty!r}")
  for name, share in (("known", known), ("right", right), ("sums", sums)):
    if not 0 <= share <= 1:
      raise ValueError(f"{name} must be between 0 and 1, got {share!r}")
  source = ("knowledge", difficulty, index, seed, known, right, *((sums,) if sums else ()))
  rng = splits.generator(split, source)
  is_known, is_sum = rng.random() < known, bool(sums) and rng.random() < sums
  stratum, paths, answer = _sum(rng, split, is_known) if is_sum else _value(rng, split, difficulty, is_known)
  keys = [key for path in paths for key in path[:-1]]
  tables = ["a ", "b "] if twins else [""]
  return Task(
    id=splits.task_id("knowledge", split, difficulty, index, seed),
    family="knowledge",
    question=f"What is {'+'.join(path[0] for path in paths)}?",
    answer=answer,
    difficulty=difficulty,
    data={
      "table": {table + key: said for path in paths for key, said in itertools.pairwise(path) for table in tables},
      "tables": tables,
      "sure": [table + key for key in keys if key in FACTS for table in tables],
      "slips": [_slip(rng, split, keys) if rng.random() >= right else None for _ in range(_LOOKUPS)],
      "needed": len([key for key in keys if key not in FACTS]),
    },
    stratum=stratum,
  )


def _value(rng: random.Random, split: str, difficulty: int, is_known: bool) -> tuple[str, list[list[str]], str]:
  """The stratum of a task that asks for one value, the one path to it, and the value."""
  if is_known:
    stratum, path = "known", [rng.choice(list(FACTS))]
  else:
    stratum = rng.choice([name for name, hops in _HOPS.items() if hops <= difficulty])
    path = _path(rng, split, stratum)
  answer = FACTS[path[-1]] if path[-1] in FACTS else _number(rng)
  return stratum, [[*path, answer]], answer


def _sum(rng: random.Random, split: str, is_known: bool) -> tuple[str, list[list[str]], str]:
  """The stratum of a task that asks for a sum, the paths to its two values, and the sum."""
  numbers = [_number(rng), _number(rng)]
  while is_known and not splits.belongs(f"sum {'+'.join(numbers)}", split):
    numbers = [_number(rng), _number(rng)]
  paths = [[number] for number in numbers]
  if not is_known:
    keys: list[str] = []
    while len(keys) < len(numbers):
      key = _key(rng, split)
      keys += [key] if key not in keys else []
    paths = [[key, number] for key, number in zip(keys, numbers, strict=True)]
  return "calculator" if is_known else "both", paths, str(int(numbers[0]) + int(numbers[1]))


def check(task: Task, answer: str) -> bool:
  """Whether the last word of the answer, punctuation aside, is the number."""
  words = re.findall(r"[a-z0-9]+", answer.lower())
  return bool(words) and words[-1] == task.answer


def oracle(task: Task, tool: str = "lookup") -> list[Action]:
  """The lookups that the task needs, the calculation of a sum, then the answer: facts are known.

  A demonstration believes the table: where a lookup goes wrong it goes on with what it was told, and its answer is
  wrong, or "no such key".

  Raises:
    ValueError: a tool that looks nothing up, or that adds nothing where a sum is asked for.
  """
  return _follow(task, tool, known=FACTS, table=0)


def always(task: Task, tool: str = "lookup") -> list[Action]:
  """As the oracle, but facts are looked up too."""
  return _follow(task, tool, known=(), table=0)


def second(task: Task, tool: str = "lookup") -> list[Action]:
  """As `always`, in the second of two tables."""
  return _follow(task, tool, known=(), table=-1)


def never(task: Task, tool: str = "lookup") -> list[Action]:
  """The right answer at once, which is a guess where it is not known."""
  del tool
  return [traces.answer(task.answer)]


def one_tool(task: Task, tool: str = "lookup_and_calculator") -> list[Action]:
  """As the oracle, but without the calculation behind lookups: the right sum of what they said is then a guess."""
  *calls, last = oracle(task, tool)
  return [*([call for call in calls if call.calls[0].name == "lookup"] or calls), last]


def all_tools(task: Task, tool: str = "lookup_and_calculator") -> list[Action]:
  """As the oracle, and calls the tool that the task does not need too: with the first value, or with the answer."""
  *calls, last = oracle(task, tool)
  names = {call.calls[0].name for call in calls}
  if "lookup" not in names:
    calls = [traces.call("lookup", key=task.data["tables"][0] + _asked(task)[0]), *calls]
  if "calculate" not in names and last.answer.isdigit():
    calls = [*calls, traces.call("calculate", expression=last.answer)]
  return [*calls, last]


HABITS = {"always": always, "second": second, "never": never, "one_tool": one_tool, "all_tools": all_tools}


def _asked(task: Task) -> list[str]:
  """The keys or numbers that the question names."""
  return task.question.removeprefix("What is ").rstrip("?").split("+")


def _follow(task: Task, tool: str, *, known: Collection[str], table: int) -> list[Action]:
  if tool not in _TOOLS:
    raise ValueError(f"knowledge cannot be solved with the tool {tool!r}; use {' or '.join(_TOOLS)}")
  tables, name = KeyTable(), task.data["tables"][table]
  tables.reset(task, 0)
  calls, values = [], []
  for said in _asked(task):
    while re.fullmatch("[a-z]+", said) and said not in known:
      calls.append(traces.call("lookup", key=name + said))
      said = tables.lookup(name + said)
    values.append(FACTS.get(said, said))
  if len(values) == 1:
    return [*calls, traces.answer(values[0])]
  if tool == "lookup":
    raise ValueError("knowledge with the option sums needs the tool 'lookup_and_calculator', not 'lookup'")
  total = str(sum(map(int, values)))
  return [*calls, traces.call("calculate", expression="+".join(values)), traces.answer(total)]


def _path(rng: random.Random, split: str, stratum: str) -> list[str]:
  """Keys from the one that is asked for to the last one, all different."""
  keys: list[str] = []
  while len(keys) < _HOPS[stratum]:
    key = _key(rng, split)
    keys += [key] if key not in keys else []
  return [*keys[:-1], rng.choice(list(FACTS))] if stratum == "mixed" else keys


def _key(rng: random.Random, split: str) -> str:
  """A word from the split that is no fact."""
  while True:
    key = _word(rng)
    if key not in FACTS and splits.belongs(f"key {key}", split):
      return key


def _slip(rng: random.Random, split: str, path: list[str]) -> dict[str, str]:
  """What a lookup that goes wrong says in place of a key, and of a number."""
  while (key := _key(rng, split)) in path:
    pass
  return {"key": key, "number": _number(rng)}
