"""Key lookup: what a key stands for, known or not, over 0, 1 or 2 hops.

Difficulty 1: the question states the value, so no lookup is needed (0 hops). 2: one lookup. 3: the value of the key is
itself a key, whose value is asked for (2 hops). In a share of the tasks the last key is in no table: the tool says
"no such key", and the right answer is "unknown".

By construction a key is either trained on or held out, and either in every table that could hold it or in none.
"""

from __future__ import annotations

import random
import re

from agentrl.envs.tasks.shared import splits, traces
from agentrl.types import Action, Task

UNKNOWN = "unknown"
_OTHERS = 6  # keys of a table that nobody asks for
_CONSONANTS, _VOWELS = "bdfgklmnprstvz", "aeiou"


def generate(index: int, *, split: str, difficulty: int = 1, seed: int = 0, unknown: float = 0.25) -> Task:
  """One task; a pure function of its arguments.

  Args:
    index: which one.
    split: "train" or "held_out".
    difficulty: 1 to 3, for 0 to 2 hops.
    seed: another sequence of tasks.
    unknown: share of tasks whose right answer is "unknown".

  Raises:
    ValueError: an unknown split or difficulty, or a share outside [0, 1].
  """
  if difficulty not in (1, 2, 3):
    raise ValueError(f"key_lookup has difficulties 1 to 3, not {difficulty!r}")
  if not 0 <= unknown <= 1:
    raise ValueError(f"unknown must be a share between 0 and 1, got {unknown!r}")
  rng, hops = splits.generator(split, ("key_lookup", difficulty, index, seed, unknown)), difficulty - 1
  missing = rng.random() < unknown
  first, last, *others = _keys(rng, split, missing, two=hops == 2)
  table = {key: _value(rng) for key in others + ([] if missing else [last])} | ({first: last} if hops == 2 else {})
  items = list(table.items())
  rng.shuffle(items)
  return Task(
    id=splits.task_id("key_lookup", split, difficulty, index, seed),
    family="key_lookup",
    question=_question(hops, first, *((others[0], table[others[0]]) if missing else (last, table[last]))),
    answer=UNKNOWN if missing else table[last],
    difficulty=difficulty,
    data={"table": dict(items), "keys": [first, last][:hops], "hops": hops, "known": not missing},
  )


def check(task: Task, answer: str) -> bool:
  """Whether the last word of the answer, punctuation aside, is the value, or "unknown"."""
  words = re.findall(r"[a-z0-9]+", answer.lower())
  return bool(words) and words[-1] == task.answer


def oracle(task: Task, tool: str = "lookup") -> list[Action]:
  """As many lookups as there are hops, then the answer; with the tool "none" 0 hops alone.

  Raises:
    ValueError: a tool that looks nothing up.
  """
  if tool != "lookup" and not (tool == "none" and task.data["hops"] == 0):
    raise ValueError(f"key_lookup with {task.data['hops']} hops cannot be solved with the tool {tool!r}; use lookup")
  lookups = [traces.call("lookup", key=key) for key in task.data["keys"]]
  return [*lookups, traces.answer(str(task.answer))]


def _question(hops: int, first: str, stated: str, value: str) -> str:
  if hops == 0:
    return f"The value of {stated} is {value}. What is the value of {first}?"
  if hops == 1:
    return f"What is the value of {first}?"
  return f"What is the value of the key that {first} stands for?"


def _keys(rng: random.Random, split: str, missing: bool, *, two: bool) -> list[str]:
  """The key that is asked for, the last key on its path (the same one below 2 hops), and others; all different."""
  keys = [_key(rng, split, missing)]
  while len(keys) < 1 + _OTHERS + two:
    key = _key(rng, split, missing=False)
    if key not in keys:
      keys.append(key)
  return [keys[1], keys[0], *keys[2:]] if two else [keys[0], *keys]


def _key(rng: random.Random, split: str, missing: bool) -> str:
  """A word of three syllables from the split; half of all words are in no table."""
  while True:
    key = "".join(rng.choice(_CONSONANTS) + rng.choice(_VOWELS) for _ in range(3))
    if splits.belongs(f"key {key}", split) and (splits.digest(f"known {key}") % 2 == 1) == missing:
      return key


def _value(rng: random.Random) -> str:
  return str(rng.randrange(100, 1000))
