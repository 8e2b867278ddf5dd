"""A SQLite database that can only be read: opened so, and every statement asked what it does before it runs."""

from __future__ import annotations

import sqlite3
import threading
import time
import urllib.parse
from pathlib import Path

from agentrl.envs.schema import ToolArgumentError, shortened
from agentrl.envs.tool import ToolTimeout
from agentrl.envs.tools.sql import Rows, SqlLimits, cell_text

_STEPS = 2000  # of SQLite's machine between two looks at the clock: a fraction of a millisecond
_PRAGMAS = ("table_info", "table_xinfo", "table_list", "index_list", "index_info", "foreign_key_list")
# Those that reach out, and printf and format, which count to a billion without a look at the clock: '%.*c'.
_FUNCTIONS = ("load_extension", "readfile", "writefile", "edit", "fts3_tokenizer", "printf", "format")
# A function call cannot be stopped, and trim or LIKE take the product of two lengths: short strings bound them all.
# ATTACH is refused twice.
_BOUNDS = {
  sqlite3.SQLITE_LIMIT_LENGTH: 50_000,
  sqlite3.SQLITE_LIMIT_SQL_LENGTH: 20_000,
  sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 100,
  sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 200,
  sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 200,
  sqlite3.SQLITE_LIMIT_ATTACHED: 0,
}
_READ_ONLY = "this database can only be read: one SELECT (or WITH, VALUES, EXPLAIN) statement, and no other"


class SqliteReader:
  """See `sql.Reader`.

  A value of more than 50,000 bytes cannot be read.

  Args:
    path: of the database, which nobody writes while it is open.
    limits: of one statement.

  Raises:
    ValueError: SQLite cannot read the file.
  """

  def __init__(self, path: Path, limits: SqlLimits):
    uri = f"file:{urllib.parse.quote(str(path))}?mode=ro&immutable=1"
    self._limits = limits
    self._deadline = 0.0
    self._busy = threading.Lock()
    # A call has a thread of its own; the lock keeps them apart.
    self._connection = sqlite3.connect(uri, uri=True, check_same_thread=False, isolation_level=None)
    self._connection.text_factory = lambda raw: raw.decode("utf-8", errors="replace")
    for bound, value in _BOUNDS.items():
      self._connection.setlimit(bound, value)
    self._connection.execute("PRAGMA query_only = 1")
    self._connection.set_authorizer(_allowed)
    self._connection.set_progress_handler(lambda: time.monotonic() > self._deadline, _STEPS)
    try:
      self._all("SELECT count(*) FROM sqlite_master")  # SQLite looks into the file with the first statement
    except sqlite3.DatabaseError as error:
      self._connection.close()
      raise ValueError(f"SQLite cannot read {path}: {error}") from error

  def run(self, statement: str) -> Rows:
    """Runs one statement.

    Raises:
      ToolArgumentError: it is wrong, or does more than read.
      ToolTimeout: it took too long.
    """
    with self._busy:
      self._deadline = time.monotonic() + self._limits.seconds
      try:
        return self._fetch(statement)
      except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError) as error:
        raise _in_words(error, self._limits.seconds) from error

  def schema(self) -> dict[str, tuple[list[str], int]]:
    """Of each table its columns and its number of rows."""
    found = {}
    for (name,) in self._all("SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY rowid"):
      quoted = '"' + name.replace('"', '""') + '"'
      columns = [f"{row[1]} {row[2]}".strip() for row in self._all(f"PRAGMA table_info({quoted})")]
      found[name] = (columns, self._all(f"SELECT count(*) FROM {quoted}")[0][0])
    return found

  def close(self) -> None:
    """Stops what runs, and closes."""
    self._connection.interrupt()
    with self._busy:
      self._connection.close()

  def _all(self, statement: str) -> list[tuple]:
    with self._busy:
      self._deadline = time.monotonic() + self._limits.seconds
      return self._connection.execute(statement).fetchall()

  def _fetch(self, statement: str) -> Rows:
    cursor = self._connection.execute(statement)
    try:
      if cursor.description is None:
        raise ToolArgumentError("the query is empty; write one SELECT statement")
      columns = [column[0] for column in cursor.description]
      shown = cursor.fetchmany(self._limits.rows)
      cells = [[cell_text(value, self._limits.cell_chars) for value in row] for row in shown]
      total = len(cells)
      while total <= self._limits.counted and cursor.fetchone() is not None:
        total += 1
    finally:
      cursor.close()
    return Rows(columns, cells, min(total, self._limits.counted), total > self._limits.counted)


def _allowed(action: int, first: str | None, second: str | None, database: str | None, source: str | None) -> int:
  """SQLite's question about each thing a statement does, answered while the statement is prepared."""
  del database, source
  reads = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE)
  pragma = action == sqlite3.SQLITE_PRAGMA and first in _PRAGMAS
  function = action == sqlite3.SQLITE_FUNCTION and second not in _FUNCTIONS
  return sqlite3.SQLITE_OK if action in reads or pragma or function else sqlite3.SQLITE_DENY


def _in_words(error: Exception, seconds: float) -> Exception:
  """What the policy is told."""
  text = str(error)
  if "interrupted" in text:
    return ToolTimeout(f"the query was stopped after {seconds:g} s; ask for less, such as fewer joined rows")
  if "to use function" in text:
    return ToolArgumentError(f"{shortened(text)}; the other functions of SQLite, such as round, are there")
  if "not authorized" in text or "prohibited" in text or "readonly" in text:
    return ToolArgumentError(f"{_READ_ONLY} ({shortened(text)})")
  if "one statement at a time" in text:
    return ToolArgumentError("only one statement can be run in a call")
  if "too big" in text:
    return ToolArgumentError("a value of the query is longer than 50,000 bytes")
  if "no such table" in text or "no such column" in text:
    return ToolArgumentError(f"the query is wrong: {shortened(text)}; the tool `tables` lists tables and columns")
  return ToolArgumentError(f"the query is wrong: {shortened(text)}")
