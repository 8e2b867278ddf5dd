"""The Berkeley Function Calling Leaderboard: 800 dialogues over simulators, and 3,635 single turns.

Patil et al., 2025 (https://openreview.net/forum?id=2GmDdhBdDk), as the package `bfcl-eval` ships it, version 4. The
option `category` says which tasks:

  multi_turn_base, multi_turn_miss_func, multi_turn_miss_param, multi_turn_long_context
      Dialogues of up to eight requests, played on simulators of a file system, a car, a broker and so on. An answer
      ends a request, and the next one follows. See `dialogues.py` for the rules.
  simple_python, simple_java, simple_javascript, multiple, parallel, parallel_multiple, irrelevance, and
  live_simple, live_multiple, live_parallel, live_parallel_multiple, live_irrelevance, live_relevance
      One turn: the tool calls that a request asks for, or none. Nothing is run; see `answers.py`.

The four variants of one dialogue are in the same split, so that none of them gives another away. Left out are the
leaderboard's web search and memory, which need the internet or an embedding model.

The simulators hold no state outside their objects but for the precision of `mpmath` and the weather of the long
contexts, each of which is set anew within every call that reads it: calls of different episodes must not overlap in
one process, and need nothing else. They touch no files and no working directory; their randomness has fixed seeds.
"""

from __future__ import annotations

from typing import Any

from agentrl.envs.adapters.bfcl import answers, dialogues, entries
from agentrl.envs.adapters.by_kind import ByKind, KindOfEpisode
from agentrl.envs.base import Environment, Setting
from agentrl.types import Action, Task


def generate(index: int, *, split: str, difficulty: int = 1, seed: int = 0, category: str = "multi_turn_base") -> Task:
  """One task; a pure function of its arguments.

  Args:
    index: behind the end of the list it starts over.
    split: "train" or "held_out", an eighth of the list.
    difficulty: 1; the categories are the dial.
    seed: of the order of the list.
    category: see the module.

  Raises:
    ValueError: an unknown split, difficulty or category.
  """
  if difficulty != 1:
    raise ValueError(f"bfcl has difficulty 1 alone, not {difficulty}; its dial is the option category")
  listed = entries.listed(category, split, seed)
  entry = listed[index % len(listed)]
  data: dict[str, Any] = {"category": category, "entry": entry.content}
  return Task(f"bfcl-{split}-{entry.name}", "bfcl", entry.request, difficulty=difficulty, data=data)


def environment(setting: Setting) -> Environment:
  """A fresh one, for one trajectory."""
  return ByKind(setting, _start)


def oracle(task: Task, tool: str = "") -> list[Action]:
  """The calls that upstream takes for right, and an answer after each request of a dialogue.

  Raises:
    ValueError: a tool was asked for.
  """
  if tool:
    raise ValueError(f"bfcl brings its own tools, and cannot be solved with the tool {tool!r}")
  return _kind_of(task).oracle(task.data["category"], task.data["entry"])


def _start(task: Task, setting: Setting) -> KindOfEpisode:
  return _kind_of(task).Episode(task.data["category"], task.data["entry"], setting)


def _kind_of(task: Task) -> Any:
  if not {"category", "entry"} <= set(task.data):
    raise ValueError(f"task {task.id} of family {task.family!r} is none of bfcl: it has no category and no entry")
  return dialogues if task.data["category"] in entries.DIALOGUES else answers
