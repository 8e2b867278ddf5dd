"""What an engine reads: all that was committed, wherever it lies."""

import shutil
import sqlite3

import pytest

from agentrl.envs.tools.sql_process import SqlLimits, SqlProcess
from agentrl.envs.tools.sql_worker import cell_text, rows_of

COUNT = "SELECT count(*) FROM t"


@pytest.fixture
def logged(tmp_path):
  """A database in WAL mode, and the open connection of its writer."""
  (tmp_path / "live").mkdir()
  path = tmp_path / "live" / "a.db"
  writer = sqlite3.connect(path, isolation_level=None)
  writer.execute("PRAGMA journal_mode = WAL")
  writer.execute("CREATE TABLE t (x)")
  writer.execute("INSERT INTO t VALUES (1)")
  yield path, writer
  writer.close()


def counted(path):
  process = SqlProcess("sqlite", path, SqlLimits(seconds=30.0))
  try:
    return int(process.run(COUNT).cells[0][0])
  finally:
    process.close()


def test_rows_that_lie_in_the_log_are_read(logged):
  path, writer = logged
  assert counted(path) == 1
  process = SqlProcess("sqlite", path, SqlLimits(seconds=30.0))
  for rows in (2, 3):
    writer.execute("INSERT INTO t VALUES (1)")
    assert process.run(COUNT).cells == [[str(rows)]]
  process.close()


def test_rows_that_lie_in_the_log_of_a_copy_are_read(logged, tmp_path):
  path, _ = logged
  for name in ("a.db", "a.db-wal"):
    shutil.copy(path.with_name(name), tmp_path / name)
  assert counted(tmp_path / "a.db") == 1


def test_a_log_that_cannot_be_read_is_an_error(logged, tmp_path):
  path, _ = logged
  shutil.copy(path, tmp_path / "a.db")
  (tmp_path / "a.db-wal").mkdir()  # SQLite cannot open it, as in a folder that cannot be written
  with pytest.raises(ValueError, match=r"SQLite cannot read .*changes that are not in the file yet lie beside it"):
    SqlProcess("sqlite", tmp_path / "a.db", SqlLimits())


def test_reading_leaves_nothing_beside_a_database_whose_log_is_empty_and_a_later_writer_is_seen(logged):
  path, writer = logged
  writer.close()
  process = SqlProcess("sqlite", path, SqlLimits(seconds=30.0))
  assert process.run(COUNT).cells == [["1"]]
  assert [entry.name for entry in path.parent.iterdir()] == ["a.db"]
  later = sqlite3.connect(path, isolation_level=None)
  later.execute("INSERT INTO t VALUES (2)")
  assert process.run(COUNT).cells == [["2"]]
  later.close()
  process.close()


def test_a_change_that_was_broken_off_is_an_error_rather_than_half_a_change(tmp_path):
  (tmp_path / "live").mkdir()
  writer = sqlite3.connect(tmp_path / "live" / "a.db", isolation_level=None)
  writer.execute("CREATE TABLE t (x)")
  writer.execute("PRAGMA cache_size = 2")
  writer.execute("BEGIN")
  writer.executemany("INSERT INTO t VALUES (?)", [["x" * 3000]] * 50)
  for entry in (tmp_path / "live").iterdir():
    shutil.copy(entry, tmp_path / entry.name)
  writer.close()
  with pytest.raises(ValueError, match=r"SQLite cannot read .*a change was broken off; mend it"):
    SqlProcess("sqlite", tmp_path / "a.db", SqlLimits())


def test_the_log_of_duckdb_is_read(tmp_path):
  duckdb = pytest.importorskip("duckdb", reason="needs agentrl[sql]")
  (tmp_path / "live").mkdir()
  writer = duckdb.connect(str(tmp_path / "live" / "a.duckdb"))
  writer.execute("CREATE TABLE t (x INTEGER)")
  writer.execute("CHECKPOINT")
  writer.execute("INSERT INTO t VALUES (1)")
  for entry in (tmp_path / "live").iterdir():
    shutil.copy(entry, tmp_path / entry.name)
  writer.close()
  process = SqlProcess("duckdb", tmp_path / "a.duckdb", SqlLimits(seconds=30.0))
  assert process.run(COUNT).cells == [["1"]]
  process.close()


@pytest.mark.parametrize(
  ("value", "text"),
  [
    (None, "NULL"),
    (b"abc", "[3 bytes]"),
    (1.5, "1.5"),
    ("a\nb\u2028c", "a b c"),
    ("x" * 12, "xxxxxxxxxx... [12 characters]"),
  ],
)
def test_a_value_is_one_line(value, text):
  assert cell_text(value, 10) == text


def test_rows_are_counted_up_to_a_limit():
  cursor = sqlite3.connect(":memory:").execute(
    "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 500) SELECT n FROM r"
  )
  limits = {"rows": 2, "cell_chars": 5, "counted": 300}
  assert rows_of(cursor, limits) == {"columns": ["n"], "cells": [["1"], ["2"]], "total": 300, "more": True}
