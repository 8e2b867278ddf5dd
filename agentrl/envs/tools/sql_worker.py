"""The process that reads a database: a statement per line of stdin, what it gave per line of stdout, as JSON.

`sql_process.py` runs this file alone, so it imports nothing of ours and starts in hundredths of a second:

  python -P -S sql_worker.py ENGINE PATH LIMITS

Each answer has one key: "rows"; "refused" or "wrong", what the policy is told of its statement; "failed", what went
wrong with the database; or "late".
"""

from __future__ import annotations

import json
import os
import re
import resource
import sqlite3
import sys
import threading
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_ALONE_SECONDS = 2.0  # beyond its own that a statement may run where the process that asked is gone
_ROOM = 1 << 30  # of address space beside the engine's own memory: libraries, code and the interpreter


class Refused(Exception):
  """The statement does something else than to read; the text is told to the policy."""


class Failed(Exception):
  """The database cannot be read, whatever the statement."""


class Sqlite:
  """A SQLite database: opened to be read, and every statement asked what it does before it runs.

  A value of more than a million bytes cannot be read.

  Args:
    path: of the database.
    memory_mb: that SQLite may take, sorts and tables of its own included: they never become files.

  Raises:
    Failed: SQLite cannot read the file.
  """

  _READ_ONLY = "this database can only be read: one SELECT (or WITH, VALUES, EXPLAIN) statement, and no other"
  _PRAGMAS = ("table_info", "table_xinfo", "table_list", "index_list", "index_info", "foreign_key_list")
  _FUNCTIONS = ("load_extension", "readfile", "writefile", "edit", "fts3_tokenizer", "sqlite_log")  # they reach out
  # ATTACH is refused twice.
  _BOUNDS = ((sqlite3.SQLITE_LIMIT_LENGTH, 1_000_000), (sqlite3.SQLITE_LIMIT_ATTACHED, 0))
  # The file, the disk or another program is at fault, not the statement.
  _FAULTS = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_CANTOPEN", "SQLITE_IOERR")
  errors = (sqlite3.Error, sqlite3.Warning, MemoryError, ValueError, OverflowError, OSError)

  def __init__(self, path: str, memory_mb: int):
    self._path, self._memory = path, memory_mb
    self._connection: sqlite3.Connection | None = None
    self._seen: tuple[Any, ...] = ()
    try:
      self._open_anew()
    except (sqlite3.DatabaseError, OSError) as error:
      raise Failed(self._why(error)) from error

  def interrupt(self) -> None:
    """Stops the statement that runs, at its next step: within one function call it has none."""
    self._connection.interrupt()

  def read(self, statement: str, limits: Mapping[str, Any]) -> dict[str, Any]:
    """The rows that one statement gives."""
    self._open_anew()
    cursor = self._connection.execute(statement)
    if cursor.description is None:
      raise Refused("the query is empty; write one SELECT statement")
    return rows_of(cursor, limits)

  def told(self, error: Exception) -> dict[str, str]:
    """An answer for an error."""
    text = str(error)
    if "interrupted" in text:
      return {"late": "interrupted"}
    if isinstance(error, MemoryError):
      return {"wrong": f"it takes more than {self._memory} MB of memory; sort, group or join less"}
    if isinstance(error, OSError):
      return {"failed": error.strerror}
    if "sqlite_errorname" in vars(error) and error.sqlite_errorname.startswith(self._FAULTS):
      return {"failed": text}
    if "to use function" in text:
      return {"refused": f"{text}; the other functions of SQLite, such as round, are there"}
    if "not authorized" in text or "prohibited" in text or "readonly" in text:
      return {"refused": f"{self._READ_ONLY} ({text})"}
    if "one statement at a time" in text:
      return {"refused": "only one statement can be run in a call"}
    if "too big" in text:
      return {"wrong": "a value is longer than a million bytes"}
    if "no such table" in text or "no such column" in text:
      return {"wrong": f"{text}; the tool `tables` lists tables and columns"}
    return {"wrong": text}

  def _open_anew(self) -> None:
    """Opens the file, unless it is open and still the same.

    SQLite itself looks whether somebody writes. Beside a database that keeps a log of changes (WAL) it cannot do so
    without files of its own. Such a file is taken as unchangeable as long as its log is empty, and is opened again when
    that was wrong: none of what was committed is overlooked, and nothing appears beside a file that is only read.
    """
    with open(self._path, "rb") as file:
      keeps_log = file.read(20)[18:] == b"\x02\x02"
    log = f"{self._path}-wal"
    unchangeable = keeps_log and not (os.path.exists(log) and os.path.getsize(log))
    found = os.stat(self._path)
    seen = (unchangeable, found.st_ino, *((found.st_mtime_ns, found.st_size) if unchangeable else ()))
    if seen != self._seen:
      self._open("mode=ro&immutable=1" if unchangeable else "mode=ro")
      self._seen = seen

  def _open(self, options: str) -> None:
    if self._connection is not None:
      self._connection.close()
    uri = f"file:{urllib.parse.quote(self._path)}?{options}"
    self._connection = connection = sqlite3.connect(
      uri, uri=True, timeout=0.2, check_same_thread=False, isolation_level=None
    )
    connection.text_factory = lambda raw: raw.decode("utf-8", errors="replace")
    for bound, value in self._BOUNDS:
      connection.setlimit(bound, value)
    connection.execute("PRAGMA query_only = 1")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute(f"PRAGMA hard_heap_limit = {self._memory << 20}")
    for name in self._PRAGMAS:  # each is a table too, which makes itself at first use: something else than reading
      connection.execute(f"SELECT * FROM pragma_{name} LIMIT 0").fetchall()
    connection.set_authorizer(self._allowed)
    connection.execute("SELECT count(*) FROM sqlite_master").fetchall()  # SQLite looks into the file at the first one

  def _allowed(self, action: int, first: str | None, second: str | None, *_: str | None) -> int:
    """SQLite's question about each thing a statement does, answered while the statement is prepared."""
    reads = action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE)
    pragma = action == sqlite3.SQLITE_PRAGMA and first in self._PRAGMAS
    function = action == sqlite3.SQLITE_FUNCTION and second not in self._FUNCTIONS
    return sqlite3.SQLITE_OK if reads or pragma or function else sqlite3.SQLITE_DENY

  def _why(self, error: Exception) -> str:
    """Of a file that cannot be opened."""
    beside = {
      "-journal": "a change was broken off; mend it with a program that may write, as `sqlite3 FILE .schema` does",
      "-wal": "changes that are not in the file yet lie beside it, and SQLite reads them only in a folder that can be "
      "written; close the program that writes them, or copy both files to another folder",
    }
    found = [why for ending, why in beside.items() if os.path.exists(self._path + ending)]
    return "; ".join([str(error), *found])


class Duckdb:
  """A DuckDB database, opened to be read, with nothing else in reach.

  Args:
    path: of the database.
    memory_mb: that DuckDB may take.

  Raises:
    Failed: DuckDB cannot read the file.
  """

  _NODES = ("SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE")  # of a statement that reads
  # Tables that are made by a function: of the others some change the process, tell of this machine, or run a text or
  # call a function that a statement names.
  _TABLE_FUNCTIONS = frozenset((
    "range", "generate_series", "unnest", "repeat", "repeat_row", "json_each", "json_tree", "histogram",
    "histogram_values", "summary", "duckdb_tables", "duckdb_columns", "duckdb_views", "duckdb_schemas",
    "duckdb_constraints", "duckdb_indexes", "duckdb_sequences", "duckdb_types", "duckdb_functions", "duckdb_keywords",
    "pragma_table_info", "pragma_show", "pragma_version",
  ))  # fmt: skip
  # Views that tell paths and settings of this machine, functions that do so, and those that leave something behind.
  _NAMES = frozenset((
    "duckdb_databases", "pragma_database_list", "pg_settings", "duckdb_logs", "current_setting", "write_log",
    "setseed", "getenv",
  ))  # fmt: skip
  _EXPLAIN = re.compile(r"\s*EXPLAIN\b", re.IGNORECASE)

  def __init__(self, path: str, memory_mb: int):
    import duckdb

    self.errors = (duckdb.Error, RuntimeError, MemoryError, ValueError, OverflowError)
    self._late = duckdb.InterruptException
    self._folder = os.path.dirname(os.path.realpath(path))
    try:
      self._connection = duckdb.connect(path, read_only=True, config=self._configuration(memory_mb))
    except duckdb.Error as error:
      raise Failed(str(error)) from error

  def interrupt(self) -> None:
    """Stops the statement that runs, at its next step."""
    self._connection.interrupt()

  def read(self, statement: str, limits: Mapping[str, Any]) -> dict[str, Any]:
    """The rows that one statement gives."""
    parsed = self._connection.extract_statements(statement)
    if len(parsed) != 1:
      raise Refused("write one statement, not more" if parsed else "the query is empty; write one SELECT statement")
    if parsed[0].type.name == "EXPLAIN":
      self._check(self._explained(statement))
    elif parsed[0].type.name == "SELECT":
      self._check(statement)
    else:
      raise Refused(f"this database can only be read: one SELECT statement, not {parsed[0].type.name}")
    return rows_of(self._connection.execute(parsed[0]), limits)

  def told(self, error: Exception) -> dict[str, str]:
    """An answer for an error, without the drawing of the place."""
    if isinstance(error, self._late):
      return {"late": "interrupted"}
    text = " ".join(str(error).split("\nLINE ")[0].split())
    return {"wrong": f"{type(error).__name__}: {text.replace(self._folder + '/', '')}"}

  def _explained(self, statement: str) -> str:
    """What an EXPLAIN explains. With ANALYZE it would run it; that, and options, are no beginning of a SELECT."""
    start = self._EXPLAIN.match(statement)
    inner = statement[start.end() :] if start else ""
    try:
      kinds = [one.type.name for one in self._connection.extract_statements(inner)]
    except self.errors:
      kinds = []
    if kinds != ["SELECT"]:
      raise Refused("this database can only be read: EXPLAIN takes one SELECT statement, without ANALYZE and options")
    return inner

  def _check(self, select: str) -> None:
    """Looks at what DuckDB's parser made of a statement: comments, quotes and capitals hide nothing there."""
    ((text,),) = self._connection.execute("SELECT json_serialize_sql(?)", [select]).fetchall()
    tree = json.loads(text)
    if tree["error"]:
      raise Refused(f"this database can only be read: one SELECT statement ({tree['error_message']})")
    for node in _nodes(tree):
      if str(node.get("type", "")).endswith("_NODE") and node["type"] not in self._NODES:
        raise Refused("this database can only be read: a part of the query would change it, or write a file")
      if node.get("show_type") == "SHOW":  # of a table or, where there is none, of a setting
        raise Refused("SHOW with a name is refused; DESCRIBE shows the columns of a table")
      made_by = node["function"].get("function_name") if node.get("type") == "TABLE_FUNCTION" else None
      if node.get("type") == "TABLE_FUNCTION" and _plain(made_by) not in self._TABLE_FUNCTIONS:
        raise Refused(f"{made_by} makes no table here, and is refused; the tool `tables` lists tables and columns")
      for name in (node.get("function_name"), node.get("table_name")):
        if _plain(name) in self._NAMES:
          raise Refused(f"{name} is not about the data, and is refused; the tool `tables` lists tables and columns")

  @staticmethod
  def _configuration(memory_mb: int) -> dict[str, Any]:
    """No file but the database, no network, no extension, no Python object, and none of this can be changed back."""
    return {
      "enable_external_access": "false",
      "autoinstall_known_extensions": "false",
      "autoload_known_extensions": "false",
      "allow_community_extensions": "false",
      "python_enable_replacements": "false",
      "temp_directory": "",
      "max_temp_directory_size": "0KB",
      "threads": "1",
      "memory_limit": f"{memory_mb}MB",
      "lock_configuration": "true",
    }


ENGINES = {"sqlite": Sqlite, "duckdb": Duckdb}


def main() -> None:
  """Serves until stdin ends."""
  engine, path, limits = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
  # Other systems refuse to set it, or do not keep it: there the engine's own bound is the only one.
  if sys.platform == "linux":
    ceiling = _ROOM + (limits["memory_mb"] << 20)
    resource.setrlimit(resource.RLIMIT_AS, (ceiling, ceiling))
  try:
    database = ENGINES[engine](path, limits["memory_mb"])
  except Failed as failed:
    _tell({"failed": str(failed)})
    return
  resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # no file grows, whatever a statement finds to write to
  _tell({"ready": True})
  for line in sys.stdin.buffer:
    statement, limits = json.loads(line)
    _tell(_answer(database, statement, limits))


def _tell(answer: Mapping[str, Any]) -> None:
  print(json.dumps(answer), flush=True)


def _answer(database: Sqlite | Duckdb, statement: str, limits: Mapping[str, Any]) -> dict[str, Any]:
  # A step that goes on is ended from outside, or from within where nobody is left there.
  timers = (
    threading.Timer(limits["seconds"], database.interrupt),
    threading.Timer(limits["seconds"] + _ALONE_SECONDS, os._exit, [1]),
  )
  for timer in timers:
    timer.start()
  try:
    return {"rows": database.read(statement, limits)}
  except Refused as refused:
    return {"refused": str(refused)}
  except database.errors as error:
    return database.told(error)
  finally:
    for timer in timers:
      timer.cancel()


def rows_of(cursor: Any, limits: Mapping[str, Any]) -> dict[str, Any]:
  """The first rows of a result as text, and how many there are, counted up to a limit."""
  columns = [column[0] for column in cursor.description or ()]
  shown = [[cell_text(value, limits["cell_chars"]) for value in row] for row in cursor.fetchmany(limits["rows"])]
  total = len(shown)
  while total <= limits["counted"] and (block := cursor.fetchmany(100)):
    total += len(block)
  return {"columns": columns, "cells": shown, "total": min(total, limits["counted"]), "more": total > limits["counted"]}


def cell_text(value: Any, chars: int) -> str:
  """A value on one line, and what was cut of it; NULL for none."""
  if value is None:
    return "NULL"
  if isinstance(value, bytes | bytearray | memoryview):
    return f"[{len(value)} bytes]"
  text = str(value)
  shown = " ".join(text[:chars].splitlines())
  return shown if len(text) <= chars else f"{shown}... [{len(text)} characters]"


def _plain(name: Any) -> str:
  """A name without quotes and capitals; empty where there is none."""
  return name.strip('"').lower() if isinstance(name, str) else ""


def _nodes(tree: Any) -> Iterator[Mapping[str, Any]]:
  """Every object of a JSON value, however deep."""
  waiting: list[Any] = [tree]
  while waiting:
    value = waiting.pop()
    if isinstance(value, Mapping):
      yield value
      waiting.extend(value.values())
    elif isinstance(value, Sequence) and not isinstance(value, str):
      waiting.extend(value)


if __name__ == "__main__":
  main()
