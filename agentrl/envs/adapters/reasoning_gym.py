"""Puzzles and exercises of Reasoning Gym: 88 generators, each with a scorer of its own; the answer is text.

The generators are those of Stojanovski et al., 2025 (https://arxiv.org/abs/2505.24760), Apache-2.0 licence, but for
those in `LEFT_OUT`. Difficulty 1 is the first level of a generator's curriculum; one without a curriculum has only
difficulty 1, its defaults. Two tasks are the same where the question is the same.

The check gives the generator's own score, from 0.0 to 1.0, of which only 1.0 is "correct": many give a little for the
right form. A few scorers evaluate the answer as Python; it reaches those only in the form of `_EVALUATED`.

`task.data` holds "generator", "level" (None: its defaults), "config" and "number", from which the item is made again.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import json
import random
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import reasoning_gym  # noqa: F401  fills the tables of its factory
from reasoning_gym.factory import CURRICULA, DATASETS

from agentrl.envs.tasks.shared import splits, traces
from agentrl.named import check_name
from agentrl.types import Action, Task

_NO_ANSWER = "it gives no answer, so that nothing shows that its scorer is right"
_PROCESS = "its items differ from one process to the next, as they follow the order of sets"

# Why a generator is not let in; as of version 0.1.25.
LEFT_OUT: Mapping[str, str] = {
  "boxnet": _NO_ANSWER,
  "codeio": "it runs thousands of other people's programs in this process, which open files and tell the time",
  "coin_flip": "the answer 0 is right in nine of ten: small probabilities lie within its tolerance",
  "composite": "it is a mixture of others; give `generator` a list instead",
  "game_of_life_halting": "its scorer takes any text for a right 'no'",
  "graph_color": _NO_ANSWER,
  "intermediate_integration": _PROCESS,
  "isomorphic_strings": _PROCESS,
  "knight_swap": _PROCESS,
  "polynomial_multiplication": _PROCESS,
  "pool_matrix": "it seeds NumPy's global generator, which is not its own",
  "propositional_logic": _NO_ANSWER,
  "puzzle24": "its scorer takes any four numbers for the given ones",
  "ransom_note": _PROCESS,
  "rubiks_cube": _NO_ANSWER,
  "rush_hour": _NO_ANSWER,
  "spell_backward": "its scorer gives full marks, and more, to some answers that go on after the right word",
  "word_ladder": _PROCESS,
}

# Levels that hold, where upstream's later ones fail, take many seconds, or make items that their scorer refuses.
_LEVELS = {
  "arc_1d": 3, "bf": 2, "caesar_cipher": 2, "game_of_life": 3, "jugs": 1, "modulo_grid": 1, "n_queens": 4,
  "number_sequence": 1, "quantum_lock": 6, "sudoku": 3, "survo": 2, "zebra_puzzles": 3,
}  # fmt: skip
_DEFAULTS_ONLY = ("sokoban",)  # its first level does not end
_WHOLE = ("acre", "gsm_symbolic", "list_functions")  # they make their items at the start, from the seed

# Scorers that evaluate the answer: what it must look like to reach them. Nothing here can call or look up anything, and
# powers are small, as 9**9**9 would never end.
_LISTS = re.compile(r"[\[\]\s,'\"A-Za-z0-9_-]*", re.ASCII)
_ARITHMETIC = re.compile(r"(?:[0-9+/().\s-]|\*(?!\s*\*))*", re.ASCII)
_POLYNOMIAL = re.compile(
  r"(?:[A-Za-z](?![A-Za-z_])(?:\s*\*\*\s*[0-9]{1,2}(?![0-9.]|\s*\*\*))?|[0-9+/().\s-]|\*(?!\s*\*))*", re.ASCII
)
_EVALUATED: Mapping[str, re.Pattern] = {
  "binary_matrix": _LISTS,
  "countdown": _ARITHMETIC,
  "n_queens": _LISTS,
  "simple_integration": _POLYNOMIAL,
  "spiral_matrix": _LISTS,
  "string_insertion": _LISTS,
}
_TRIES = 100
_MOST_CHARS = 100_000  # of any answer
_MOST_EVALUATED_CHARS = {_ARITHMETIC: 200, _POLYNOMIAL: 500}

_lock = threading.Lock()  # some generators keep what they are working on in themselves


def generators() -> list[str]:
  """Names that `generate` takes."""
  return [name for name in sorted(DATASETS) if name not in LEFT_OUT]


@functools.cache
def levels(generator: str) -> int:
  """How many difficulties a generator has."""
  if generator not in CURRICULA or generator in _DEFAULTS_ONLY:
    return 1
  longest = max(len(attribute.levels) for attribute in CURRICULA[generator]().attributes.values())
  return min(longest, _LEVELS.get(generator, longest))


def generate(
  index: int,
  *,
  split: str,
  difficulty: int = 1,
  seed: int = 0,
  generator: str | Sequence[str] = (),
  config: Mapping[str, Any] | None = None,
) -> Task:
  """One task; a pure function of its arguments.

  Args:
    index: which one.
    split: "train" or "held_out".
    difficulty: level of the curriculum, from 1; in a mixture a generator that has fewer gives its highest.
    seed: another sequence of tasks.
    generator: a name, or several to draw from; empty for all.
    config: keyword arguments of the generator's own configuration, of which there must be one; they go before what
      the level says.

  Raises:
    ValueError: an unknown split, or a generator, difficulty or configuration that there is not, with the reason.
  """
  names = [generator] if isinstance(generator, str) and generator else list(generator) or generators()
  for name in names:
    _admit(name)
  highest = max(levels(name) for name in names)
  if not 1 <= difficulty <= highest:
    raise ValueError(f"reasoning_gym has difficulties 1 to {highest} for {_named(names)}, not {difficulty!r}")
  if config and len(names) > 1:
    raise ValueError(f"config {dict(config)} is for one generator, and {len(names)} are drawn from; name one")
  source = ("reasoning_gym", difficulty, tuple(names), json.dumps(config or {}, sort_keys=True), index, seed)
  name = splits.generator(split, source).choice(names)
  has_levels = name in CURRICULA and name not in _DEFAULTS_ONLY
  level = min(difficulty, levels(name)) - 1 if has_levels else None
  made = functools.partial(_item, name, level, json.dumps(config or {}, sort_keys=True))

  number = splits.draw(
    functools.partial(_number, made), lambda number: made(number)["question"], split=split, source=source
  )
  item = made(number)
  return Task(
    id=splits.task_id("reasoning_gym", split, difficulty, index, seed),
    family="reasoning_gym",
    question=item["question"],
    answer=item["answer"],
    difficulty=1 if level is None else level + 1,
    data={"generator": name, "level": level, "config": dict(config or {}), "number": number},
  )


def check(task: Task, answer: str) -> float:
  """The generator's own score of an answer, stripped of space around it."""
  name, answer = task.data["generator"], answer.strip()
  form = _EVALUATED.get(name)
  if len(answer) > _MOST_EVALUATED_CHARS.get(form, _MOST_CHARS) or (form and not form.fullmatch(answer)):
    return 0.0
  config = json.dumps(task.data["config"], sort_keys=True)
  item, dataset = (
    _item(name, task.data["level"], config, task.data["number"]),
    _dataset(name, task.data["level"], config),
  )
  try:
    return float(dataset.score_answer(answer, copy.deepcopy(item)))
  except Exception:
    # Some scorers read the answer as a number or a table and raise where it is none. Such an answer is wrong; a scorer
    # that cannot read the right one either is broken.
    if dataset.score_answer(item["answer"], item) != 1.0:
      raise
    return 0.0


def oracle(task: Task, tool: str = "none") -> list[Action]:
  """The stored answer; no tool is of use for all of them, so none is called.

  Raises:
    ValueError: the tool "lookup", which needs a table.
  """
  if tool not in ("none", "calculator", "python"):
    raise ValueError(f"reasoning_gym tasks cannot be solved with the tool {tool!r}; use none, calculator or python")
  return [traces.answer(str(task.answer))]


def _number(made: Callable[[int], Any], rng: random.Random) -> int:
  """A number that has an item: some generators give up on one number in twenty, and say so."""
  for _ in range(_TRIES):
    number = rng.getrandbits(31)
    try:
      made(number)
    except (RuntimeError, ValueError) as error:
      if not str(error).startswith("Failed to generate"):
        raise
      gave_up = error
    else:
      return number
  raise ValueError(f"{_TRIES} numbers in a row gave no item; allow more in config: {gave_up}")


def _admit(name: str) -> None:
  if name in LEFT_OUT:
    raise ValueError(f"the generator {name!r} is left out: {LEFT_OUT[name]}")
  check_name(generators(), name, kind="generator")


def _named(names: Sequence[str]) -> str:
  return repr(names[0]) if len(names) == 1 else f"{len(names)} generators"


@functools.lru_cache(maxsize=512)
def _item(name: str, level: int | None, config: str, number: int) -> Mapping[str, Any]:
  """Upstream's item: "question", "answer" and "metadata"."""
  with _lock:
    if name in _WHOLE:
      return _make(name, level, config, number)[0]
    return _dataset(name, level, config)[number]


@functools.lru_cache(maxsize=256)
def _dataset(name: str, level: int | None, config: str) -> Any:
  return _make(name, level, config, 0)


def _make(name: str, level: int | None, config: str, seed: int) -> Any:
  """A dataset of one item; most give any other as well, as item n is drawn with the seed of the dataset plus n."""
  dataset_class, config_class = DATASETS[name]
  known = {field.name for field in dataclasses.fields(config_class)} - {"seed", "size"}
  options = json.loads(config)
  for key in options:
    check_name(known, key, kind=f"option of {name}")
  try:
    if level is None:
      made = config_class(seed=seed, size=1)
    else:
      curriculum = CURRICULA[name]()
      curriculum.set_global_level(level)
      made = curriculum.generate_configuration({"seed": seed, "size": 1})
    return dataset_class(config=dataclasses.replace(made, **options))
  except (AssertionError, ValueError, TypeError) as error:
    raise ValueError(f"the generator {name!r} refuses level {level} with {options}: {error}") from error
