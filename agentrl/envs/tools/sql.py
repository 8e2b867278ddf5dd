"""SQL as a tool: the tools `tables` and `sql` over one database that nobody can change.

Two engines. SQLite runs in this process: it steps its statements, so it can be stopped anywhere, and it bounds its own
strings. DuckDB runs in a process of its own, with a limit on its memory: a single function call of it may take
gigabytes and cannot be interrupted, so it has to be something that can be killed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from agentrl.envs.named import by_name
from agentrl.envs.schema import ToolArgumentError
from agentrl.envs.tool import Toolset
from agentrl.types import Task


@dataclasses.dataclass(frozen=True)
class SqlLimits:
  """Of one statement.

  Attributes:
    seconds: that it may run.
    rows: that are shown.
    cell_chars: of one value that are shown.
    table_chars: of all rows together, and of the schema.
    counted: rows that are counted, where there are more than are shown.
    memory_mb: that DuckDB may take; SQLite takes little.
  """

  seconds: float = 3.0
  rows: int = 50
  cell_chars: int = 200
  table_chars: int = 1600
  counted: int = 10_000
  memory_mb: int = 256

  def __post_init__(self):
    for name, value in vars(self).items():
      if value <= 0:
        raise ValueError(f"{name} must be positive, got {value}")


@dataclasses.dataclass(frozen=True)
class Rows:
  """What a statement gave.

  Attributes:
    columns: their names.
    cells: the rows that may be shown, as text.
    total: number of all rows, up to `SqlLimits.counted`.
    more: there were more than that.
  """

  columns: Sequence[str]
  cells: Sequence[Sequence[str]]
  total: int
  more: bool


class Reader(Protocol):
  """An open database. Errors of a statement are `ToolArgumentError`, one that takes too long is `ToolTimeout`."""

  def run(self, statement: str) -> Rows:
    """Runs one statement that reads."""

  def schema(self) -> dict[str, tuple[list[str], int]]:
    """Of each table its columns, such as "year INTEGER", and its number of rows."""

  def close(self) -> None:
    """Frees everything, also while a statement runs."""


def _sqlite(path: Path, limits: SqlLimits) -> Reader:
  from agentrl.envs.tools.sqlite_reader import SqliteReader

  return SqliteReader(path, limits)


def _duckdb(path: Path, limits: SqlLimits) -> Reader:
  from agentrl.envs.tools.duckdb_reader import DuckdbReader

  return DuckdbReader(path, limits)


READERS: Mapping[str, Callable[[Path, SqlLimits], Reader]] = {"sqlite": _sqlite, "duckdb": _duckdb}


class _Format(NamedTuple):
  """How an engine's files begin, what it is called, and the tool of `TOOLS` that reads them."""

  start: int
  magic: bytes
  title: str
  tool: str


_FORMATS = {
  "sqlite": _Format(0, b"SQLite format 3\0", "SQLite", "sql"),
  "duckdb": _Format(8, b"DUCK", "DuckDB", "duckdb"),
}


def check_file(path: Path, engine: str) -> None:
  """Looks at how a file begins.

  Raises:
    FileNotFoundError: there is none.
    ValueError: that engine did not write it; says which one did, if any.
  """
  if not path.is_file():
    raise FileNotFoundError(f"no database at {path}")
  with path.open("rb") as file:
    head = file.read(16)
  writers = [name for name, form in _FORMATS.items() if head[form.start :].startswith(form.magic)]
  if not writers:
    raise ValueError(f"{path} is no {_FORMATS[engine].title} database")
  if writers != [engine]:
    raise ValueError(f"{path} is a {_FORMATS[writers[0]].title} file: use the tool {_FORMATS[writers[0]].tool!r}")


class SqlTool(Toolset):
  """The tools `tables` and `sql`. One object, and one handle of the database, per trajectory.

  Args:
    engine: "sqlite" or "duckdb".
    limits: of one statement.
    path: of the database, written by that engine and opened at once; None for the one that the task names in its
      `data["database"]`, see `databases.SOURCES`.

  Raises:
    ValueError: no such engine, or a file that it cannot read.
    FileNotFoundError: no such database.
    EnvironmentFailed: DuckDB's process did not start, or not with this file.
  """

  def __init__(self, engine: str = "sqlite", limits: SqlLimits | None = None, path: Path | None = None):
    self._engine = engine
    self._open = by_name(READERS, engine, kind="SQL engine")
    self._limits = SqlLimits() if limits is None else limits
    self._path = path
    self._schema: dict[str, tuple[list[str], int]] | None = None
    self._reader: Reader | None = None
    if path is not None:
      check_file(path, engine)
      self._reader = self._open(path, self._limits)

  def reset(self, task: Task, seed: int) -> None:
    """Opens the database, if it is not the given one and that is open; not a tool.

    Raises:
      ValueError: the task names no database, and the tool was given none.
    """
    del seed
    if self._path is None or self._reader is None:
      self.close()
      self._reader = self._open(self._path or self._named(task), self._limits)

  def close(self) -> None:
    """Closes it; not a tool."""
    reader, self._reader, self._schema = self._reader, None, None
    if reader is not None:
      reader.close()

  def tables(self, table: str = "") -> str:
    """Lists the tables of the database with their columns, types and numbers of rows.

    Args:
      table: one table alone; empty for all.
    """
    if self._schema is None:
      self._schema = self._opened().schema()
    if not table:
      return self._overview(self._schema)
    known = {name.lower(): name for name in self._schema}
    if table.strip().lower() not in known:
      raise ToolArgumentError(f"no table is called {table[:60]!r}; there are: {', '.join(self._schema)}")
    name = known[table.strip().lower()]
    columns, rows = self._schema[name]
    return f"{name}, {rows} rows:\n" + "\n".join(columns)

  def sql(self, query: str) -> str:
    """Runs one SQL statement that reads, such as SELECT, and returns its rows. The database cannot be changed.

    Args:
      query: one statement.
    """
    return table_text(self._opened().run(query), self._limits)

  def _opened(self) -> Reader:
    if self._reader is None:
      raise RuntimeError("no database is open: call reset(task, seed) first")
    return self._reader

  def _named(self, task: Task) -> Path:
    from agentrl.envs.tools import databases

    if "database" not in task.data:
      raise ValueError(f"the SQL tools need a task that names a database, such as sql_qa's; task {task.id} has none")
    return databases.path_of(task.data["database"], self._engine)

  def _overview(self, schema: Mapping[str, tuple[list[str], int]]) -> str:
    full = "\n".join(f"{name} ({', '.join(columns)}): {rows} rows" for name, (columns, rows) in schema.items())
    if len(full) <= self._limits.table_chars:
      return full
    short = [f"{name}: {len(columns)} columns, {rows} rows" for name, (columns, rows) in schema.items()]
    return "\n".join([*short, "[columns left out; ask for one table to see them]"])


def table_text(rows: Rows, limits: SqlLimits) -> str:
  """Rows as text, a line each, and a last line that tells what was left out.

  Args:
    rows: at least those to show.
    limits: how much is shown.
  """
  head = " | ".join(rows.columns)
  lines, room = [], limits.table_chars - len(head)
  for cells in rows.cells[: limits.rows]:
    line = " | ".join(cells)
    room -= len(line) + 1
    if room < 0 and lines:
      break
    lines.append(line if room >= 0 else f"{line[: max(room + len(line), 0)]}... [row cut]")
  number = f"more than {rows.total}" if rows.more else str(rows.total)
  if not lines:
    return f"{head}\n[no rows]"
  if len(lines) < rows.total or rows.more:
    lines.append(f"[first {len(lines)} of {number} rows shown; add a WHERE, or count in SQL]")
  return "\n".join([head, *lines])


def cell_text(value: Any, chars: int) -> str:
  """A value on one line, and what was cut of it; NULL for none."""
  if value is None:
    return "NULL"
  if isinstance(value, bytes | bytearray | memoryview):
    return f"[{len(value)} bytes]"
  text = str(value)
  shown = " ".join(text[:chars].splitlines())
  return shown if len(text) <= chars else f"{shown}... [{len(text)} characters]"
