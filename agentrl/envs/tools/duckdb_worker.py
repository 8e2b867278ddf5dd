"""The process in which DuckDB runs: a statement per line of stdin, what it gave per line of stdout, as JSON.

Started by `duckdb_reader.py` with the path of the database and the limits, as JSON, in its arguments.
"""

from __future__ import annotations

import json
import resource
import sys
import threading
from pathlib import Path
from typing import Any

import duckdb

from agentrl.envs.tools.sql import SqlLimits, cell_text

_READS = ("SELECT", "EXPLAIN")
_ROOM = 1 << 30  # of address space beside DuckDB's own memory: the library, its code and the interpreter


def main() -> None:
  """Serves until stdin ends."""
  path, limits = Path(sys.argv[1]), SqlLimits(**json.loads(sys.argv[2]))
  ceiling = _ROOM + (limits.memory_mb << 20)
  resource.setrlimit(resource.RLIMIT_AS, (ceiling, ceiling))
  resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # no file grows, whatever a statement finds to write to
  connection = duckdb.connect(str(path), read_only=True, config=_configuration(limits))
  print(json.dumps({"ready": True}), flush=True)
  for line in sys.stdin:
    statement, limits = json.loads(line)
    print(json.dumps(_answer(connection, statement, SqlLimits(**limits))), flush=True)


def _configuration(limits: SqlLimits) -> dict[str, Any]:
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
    "memory_limit": f"{limits.memory_mb}MB",
    "lock_configuration": "true",
  }


def _answer(connection: duckdb.DuckDBPyConnection, statement: str, limits: SqlLimits) -> dict[str, Any]:
  """The rows, or {"refused": why}, {"wrong": why}, {"late": True}."""
  timer = threading.Timer(limits.seconds, connection.interrupt)
  timer.start()
  try:
    parsed = connection.extract_statements(statement)
    if len(parsed) != 1:
      return {
        "refused": "write one statement, not more" if parsed else "the query is empty; write one SELECT statement"
      }
    if parsed[0].type.name not in _READS:
      return {"refused": f"this database can only be read: one SELECT statement, not {parsed[0].type.name}"}
    return _rows(connection.execute(parsed[0]), limits)
  except duckdb.InterruptException:
    return {"late": True}
  except (duckdb.Error, RuntimeError, MemoryError, UnicodeError, OverflowError, ValueError) as error:
    return {"wrong": f"{type(error).__name__}: {error}"}
  finally:
    timer.cancel()


def _rows(result: duckdb.DuckDBPyConnection, limits: SqlLimits) -> dict[str, Any]:
  columns = [column[0] for column in result.description or ()]
  shown = [[cell_text(value, limits.cell_chars) for value in row] for row in result.fetchmany(limits.rows)]
  total = len(shown)
  while total <= limits.counted and (block := result.fetchmany(1000)):
    total += len(block)
  return {"columns": columns, "cells": shown, "total": min(total, limits.counted), "more": total > limits.counted}


if __name__ == "__main__":
  main()
