"""The process around an engine: it is bounded, killed, replaced, and says what was wrong with the file."""

import contextlib
import json
import os
import pathlib
import sqlite3

import pytest

from agentrl.envs.deadline import call_within
from agentrl.envs.schema import ToolArgumentError
from agentrl.envs.tool import ToolError, ToolTimeout
from agentrl.envs.tools.sql_process import SqlLimits, SqlProcess
from agentrl.types import EnvironmentFailed

# One call of trim compares each character of one text with each of the other, and looks at no clock.
LETTERS = "replace(hex(zeroblob(40000)), '0', '{}')".format
LONG = f"SELECT sum(length(trim({LETTERS('a')}, {LETTERS('b')} || 'a'))) FROM numbers"


@pytest.fixture
def path(tmp_path):
  connection = sqlite3.connect(tmp_path / "a.db")
  connection.execute("CREATE TABLE numbers AS WITH RECURSIVE r AS "
                     "(SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 2000) SELECT n FROM r")  # fmt: skip
  connection.commit()
  connection.close()
  return tmp_path / "a.db"


@pytest.fixture
def opened(path):
  with contextlib.ExitStack() as stack:

    def make(**limits):
      process = SqlProcess("sqlite", path, SqlLimits(**limits))
      stack.callback(process.close)
      return process

    yield make


def test_a_function_that_looks_at_no_clock_is_killed_and_the_next_statement_does_not_pay(opened):
  process = opened(seconds=0.2)
  with pytest.raises(ToolTimeout, match=r"stopped after 0\.2 s"):
    call_within(60.0, lambda: process.run(LONG))
  assert process._worker is None  # nothing goes on behind it
  assert process.run("SELECT 1 AS x").cells == [["1"]]


def test_a_function_that_looks_at_no_clock_ends_also_where_nobody_is_left_to_kill_it(opened):
  worker = opened()._worker
  worker.stdin.write(json.dumps([LONG, {"seconds": 0.1}]).encode() + b"\n")
  worker.stdin.flush()
  assert worker.wait(60) == 1


def test_a_sort_stays_in_memory_and_within_its_bound(opened):
  query = "SELECT hex(randomblob(50000)) AS x FROM numbers ORDER BY x"
  with pytest.raises(ToolArgumentError, match="it takes more than 32 MB of memory; sort, group or join less"):
    opened(memory_mb=32, seconds=30.0).run(query)
  assert opened(memory_mb=32, seconds=30.0).run("SELECT n FROM numbers ORDER BY -n").cells[0] == ["2000"]


def test_a_database_that_another_program_locks_is_the_tools_failure(opened, path):
  process = opened(seconds=30.0)
  writer = sqlite3.connect(path, isolation_level=None)
  writer.execute("BEGIN EXCLUSIVE")
  with pytest.raises(ToolError, match="the database cannot be read now: database is locked"):
    process.run("SELECT count(*) FROM numbers")
  writer.execute("INSERT INTO numbers VALUES (0)")
  writer.execute("COMMIT")
  writer.close()
  assert process.run("SELECT count(*) FROM numbers").cells == [["2001"]]


def test_a_process_that_ended_is_replaced(opened):
  process = opened()
  process._worker.kill()
  process._worker.wait()
  with pytest.raises(ToolArgumentError, match="it ended the database's process"):
    process.run("SELECT 1")
  assert process.run("SELECT 1 AS x").cells == [["1"]]


def test_a_file_that_is_gone_is_the_environments_failure(opened, path):
  process = opened()
  process._lose()
  path.write_bytes(b"SQLite format 3\0" + bytes(2000))
  with pytest.raises(EnvironmentFailed, match=r"SQLite cannot read .*a\.db any more: "):
    process.run("SELECT 1")


def test_a_process_serves_the_next_trajectory_that_reads_the_same_under_the_same_limits(path):
  processes = []
  for limits in (SqlLimits(), SqlLimits(), SqlLimits(rows=7)):
    one = SqlProcess("sqlite", path, limits)
    processes.append(one._worker)
    assert one.run("SELECT count(*) FROM numbers").cells == [["2000"]]
    one.close()
  assert processes[0] is processes[1]
  assert processes[2] is not processes[0]


def test_one_that_ended_while_it_waited_is_not_taken(path):
  one = SqlProcess("sqlite", path, SqlLimits())
  ended = one._worker
  one.close()
  ended.kill()
  ended.wait()
  two = SqlProcess("sqlite", path, SqlLimits())
  assert two._worker is not ended
  assert two.run("SELECT 1 AS x").cells == [["1"]]
  two.close()


def test_few_processes_wait(path):
  many = [SqlProcess("sqlite", path, SqlLimits(rows=n + 1)) for n in range(10)]
  workers = [one._worker for one in many]
  for one in many:
    one.close()
  assert [worker.poll() is None for worker in workers] == [False] * 2 + [True] * 8


def test_a_file_that_was_replaced_is_read_anew(opened, path, tmp_path):
  process = opened()
  process.run("SELECT count(*) FROM numbers")
  other = sqlite3.connect(tmp_path / "other.db")
  other.execute("CREATE TABLE numbers AS SELECT 1 AS n")
  other.commit()
  other.close()
  (tmp_path / "other.db").replace(path)
  assert process.run("SELECT count(*) FROM numbers").cells == [["1"]]
  path.unlink()
  with pytest.raises(ToolError, match="the database cannot be read now: No such file or directory"):
    process.run("SELECT count(*) FROM numbers")


def test_a_closed_one_is_closed(opened):
  process = opened()
  process.close()
  with pytest.raises(RuntimeError, match="the database is closed"):
    process.run("SELECT 1")


def test_the_schema_has_columns_in_their_order(opened, path):
  connection = sqlite3.connect(path)
  connection.execute('CREATE TABLE "a ""b" (z TEXT, y)')
  connection.execute('CREATE VIEW v AS SELECT z FROM "a ""b"')
  connection.close()
  assert opened().schema() == {"numbers": (["n"], 2000), 'a "b': (["z TEXT", "y"], 0), "v": (["z TEXT"], 0)}


def test_the_process_imports_nothing_of_ours(opened):
  """Trajectories start one each: with the package it would take a second instead of hundredths."""
  mapped = pathlib.Path(f"/proc/{opened()._worker.pid}/maps").read_text(encoding="utf-8")
  assert "_sqlite3" in mapped
  assert "numpy" not in mapped


def test_a_ctrl_c_in_the_trainer_s_terminal_is_not_for_the_process(opened):
  process = opened()._worker
  assert os.getsid(process.pid) == process.pid
