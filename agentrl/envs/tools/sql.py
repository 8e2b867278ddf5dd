"""SQL as a tool: the tools `tables` and `sql` over one database that nobody can change."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from agentrl.envs.schema import ToolArgumentError
from agentrl.envs.tool import Toolset
from agentrl.envs.tools.sql_process import ENGINES, Rows, SqlLimits, SqlProcess, check_file
from agentrl.named import check_name
from agentrl.types import Task


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
    EnvironmentFailed: the engine's process did not start.
  """

  def __init__(self, engine: str = "sqlite", limits: SqlLimits | None = None, path: Path | None = None):
    check_name(ENGINES, engine, kind="SQL engine")
    self._engine = engine
    self._limits = SqlLimits() if limits is None else limits
    self._path = path
    self._schema: dict[str, tuple[list[str], int]] | None = None
    self._reader: SqlProcess | None = None
    self._opened_path = path
    if path is not None:
      check_file(path, engine)
      self._reader = SqlProcess(engine, path, self._limits)

  def reset(self, task: Task, seed: int) -> None:
    """Opens the database, if it is not open; not a tool.

    Raises:
      ValueError: the task names no database, and the tool was given none.
    """
    del seed
    self._schema = None  # somebody may have written since
    path = self._path or self._named(task)
    if self._reader is None or path != self._opened_path:
      self.close()
      self._reader, self._opened_path = SqlProcess(self._engine, path, self._limits), path

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

  def _opened(self) -> SqlProcess:
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
