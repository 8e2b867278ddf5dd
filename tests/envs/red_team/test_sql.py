"""Statements that try to do more than to read, to see this machine, or to hold it up, as a policy would write them."""

import contextlib
import sqlite3

import pytest

from agentrl.envs.tool import ToolLimits, ToolRunner, tools_of
from agentrl.envs.tools import databases, sql_worker
from agentrl.envs.tools.sql import SqlTool
from agentrl.envs.tools.sql_process import SqlLimits
from agentrl.types import Task, ToolCall, ToolFailure

TABLES = {"people": databases.Table(["name TEXT", "age INTEGER"], [["Ann", 31], ["Bob", 40]])}
WIDE = SqlLimits(seconds=20.0, rows=1000, cell_chars=5000, table_chars=1_000_000)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
  """A file of each engine that is installed, in a folder whose name is to stay unknown."""
  folder = tmp_path_factory.mktemp("hidden-place")
  found = {}
  for engine, write in databases._WRITERS.items():
    with contextlib.suppress(ModuleNotFoundError):
      write(folder / f"small.{engine}", TABLES)
      found[engine] = folder / f"small.{engine}"
  return found


def opened(engine, places, limits):
  if engine not in places:
    pytest.skip("needs agentrl[sql]")
  tool = SqlTool(engine, limits, places[engine])
  tool.reset(Task("t", "test", "?"), 0)
  return tool


@pytest.fixture(scope="module")
def policies(places):
  """Asks as a policy does: through the tools' runner, one engine for all statements."""
  with contextlib.ExitStack() as stack:
    runners = {}

    def ask(engine, query):
      if engine not in runners:
        tool = opened(engine, places, WIDE)
        stack.callback(tool.close)
        runners[engine] = ToolRunner(tools_of(tool), ToolLimits(call_seconds=60.0, max_output_chars=10**7))
      (result,) = runners[engine].run([ToolCall("sql", {"query": query})]).results
      return result

    yield ask


WRITES = [
  "EXPLAIN ANALYZE CREATE TEMP TABLE left_behind AS SELECT 1 AS x",
  "explain analyze create temp table left_behind (x integer)",
  "EXPLAIN (ANALYZE) CREATE TEMP TABLE left_behind AS SELECT 1 AS x",
  "EXPLAIN (ANALYZE, FORMAT json) CREATE TEMP TABLE left_behind AS SELECT 1 AS x",
  "/* c */ EXPLAIN ANALYZE CREATE TEMP TABLE left_behind AS SELECT 1 AS x",
  "EXPLAIN /* c */ ANALYZE CREATE TEMP VIEW left_behind AS SELECT 1 AS x",
  "EXPLAIN -- c\nANALYZE CREATE TEMP MACRO left_behind() AS 1",
  "EXPLAIN ANALYZE SET VARIABLE left_behind = 1",
  "EXPLAIN ANALYZE SELECT 1",
  "EXPLAIN CREATE TEMP TABLE left_behind AS SELECT 1 AS x",
  "EXPLAIN INSERT INTO people VALUES ('Cy', 1)",
  "WITH x AS (INSERT INTO people VALUES ('Cy', 1) RETURNING *) SELECT * FROM x",
  "WITH x AS (DELETE FROM people RETURNING *) SELECT * FROM x",
  "WITH x AS (COPY (SELECT 1) TO '/dev/shm/agentrl_red_team') SELECT * FROM x",
  "SELECT * FROM checkpoint()",
  "SELECT write_log('left behind')",
  "SELECT * FROM truncate_duckdb_logs()",
  "SELECT setseed(0.5)",
  "SELECT * FROM enable_logging()",
  "SELECT * FROM enable_profiling()",
  "SELECT * FROM add_grammar_extension('left_behind', 'x')",
  "SELECT * FROM register_external_resource_type('left_behind', kind := 'x', create_function := 'f')",
]


@pytest.mark.parametrize("query", WRITES)
@pytest.mark.parametrize("engine", ["sqlite", "duckdb"])
def test_what_would_write_is_refused_and_leaves_nothing(policies, engine, query):
  result = policies(engine, query)
  assert result.failure is ToolFailure.ARGUMENTS, result.text
  assert policies(engine, "SELECT count(*) AS n FROM people").text == "n\n2"
  assert "left_behind" not in policies(engine, "SELECT name FROM sqlite_master").text
  assert policies(engine, "SELECT * FROM left_behind").failure is ToolFailure.ARGUMENTS


SPIES = [
  "SELECT path FROM duckdb_databases()",
  "SELECT reverse(path) FROM system.main.DUCKDB_Databases()",
  "SELECT file FROM pragma_database_list",
  'SELECT file FROM "pragma_database_list"',
  "EXPLAIN SELECT file FROM pragma_database_list",
  "SELECT value FROM duckdb_settings() WHERE name = 'allowed_paths'",
  "SELECT current_setting('allowed_paths')",
  "SELECT \"current_setting\"/* c */('allowed_' || 'paths')",
  "SELECT pg_catalog.current_setting('allowed_paths')",
  "SELECT * FROM query('FROM duckdb_data' || 'bases()')",
  "SELECT * FROM query_table(['pragma_database_list'])",
  "WITH a AS (SELECT path FROM duckdb_databases()) SELECT substr(path, 2) FROM a",
  "SELECT (SELECT string_agg(path, ',') FROM duckdb_databases())",
  "SELECT x FROM people, LATERAL (SELECT current_setting('allowed_paths') AS x)",
  "FROM json_execute_serialized_sql(json_serialize_sql('FROM duckdb_databases()'))",
  "SELECT * FROM destroy_external_resource('query', "
  "$$SELECT error('P:' || reverse(path)) FROM duckdb_databases() WHERE path IS NOT NULL$$)",
  "SELECT * FROM people, LATERAL destroy_external_resource('query', $$SELECT error(reverse('x'))$$)",
  "SELECT * FROM main.\"Destroy_External_Resource\"('duckdb_settings', 'x')",
  "PRAGMA database_list",
  "SHOW allowed_paths",
  "SELECT * FROM (SHOW allowed_paths)",
]


@pytest.mark.parametrize("query", SPIES)
@pytest.mark.parametrize("engine", ["sqlite", "duckdb"])
def test_no_statement_tells_where_the_file_is(policies, places, engine, query):
  result = policies(engine, query)
  assert result.failure is ToolFailure.ARGUMENTS
  for shown in (result.text, result.text[::-1]):
    assert "hidden-place" not in shown


def test_none_of_the_tables_and_views_that_the_engine_brings_tells_where_the_file_is(policies, places):
  """Also those that a later version brings."""
  listed = policies(
    "duckdb",
    "SELECT DISTINCT function_name || '()' FROM duckdb_functions() "
    "WHERE function_type = 'table' AND len(parameters) = 0 "
    "UNION SELECT DISTINCT schema_name || '.' || view_name FROM duckdb_views() WHERE internal",
  )
  if listed.failure is not None:
    pytest.skip("needs agentrl[sql]")
  names = listed.text.splitlines()[1:]
  assert "duckdb_tables()" in names
  assert "main.sqlite_master" in names
  for name in names:
    told = policies("duckdb", f"SELECT * FROM {name}").text
    assert "hidden-place" not in told, name


READS = [
  "SELECT sum(range) AS n FROM range(3)",
  "SELECT count(*) FROM generate_series(1, 3)",
  "SELECT x FROM unnest([1, 2]) AS t (x)",
  "SELECT * FROM json_each('[1, 2]')",
  "SELECT count(*) FROM duckdb_columns() WHERE table_name = 'people'",
  "SELECT name FROM pragma_table_info('people')",
  "SELECT * FROM (DESCRIBE people)",
  "SUMMARIZE people",
  "SELECT table_name FROM information_schema.tables",
]


@pytest.mark.parametrize("query", READS)
def test_what_only_reads_is_let_through(policies, query):
  assert policies("duckdb", query).ok


def test_of_all_functions_that_make_a_table_those_that_are_let_through_are_known(policies):
  """Also of those that a later version brings: what is not listed is refused, whatever it does."""
  listed = policies("duckdb", "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type LIKE 'table%'")
  names = set(listed.text.splitlines()[1:])
  assert {"query", "range", "destroy_external_resource"} <= names
  for name in names - sql_worker.Duckdb._TABLE_FUNCTIONS:
    assert f"{name} makes no table here" in policies("duckdb", f"SELECT * FROM {name}('x')").text


def test_an_error_does_not_tell_where_the_file_is(policies):
  for query in (
    "SELECT * FROM read_blob('small.duckdb')",
    "ATTACH 'small.duckdb' AS b",
    "SELECT * FROM 'small.duckdb'",
  ):
    for engine in ("sqlite", "duckdb"):
      assert "hidden-place" not in policies(engine, query).text


@pytest.mark.parametrize("engine", ["sqlite", "duckdb"])
@pytest.mark.parametrize(
  ("query", "words"),
  [
    ("SELECT '\ud800'", "half of a character"),
    ('SELECT 1 AS "\udfff"', "half of a character"),
    ("SELECT 'a\0b' FROM nowhere", "error: the query is wrong"),
    ("SELECT " + "(" * 3000 + "1" + ")" * 3000 + " FROM nowhere", "error: the query is wrong"),
    ("SELECT " + "- " * 5000 + "1 FROM nowhere", "error: the query is wrong"),
    ("SELECT " + "1 + " * 4000 + "1 FROM nowhere", "error: the query is wrong"),
  ],
  ids=range(6),
)
def test_odd_text_is_the_policys_mistake_and_ends_no_process(places, engine, query, words):
  tool = opened(engine, places, WIDE)
  runner = ToolRunner(tools_of(tool), ToolLimits(call_seconds=60.0))
  process = tool._reader._worker
  (result,) = runner.run([ToolCall("sql", {"query": query})]).results
  assert result.failure is ToolFailure.ARGUMENTS
  assert words in result.text
  assert tool._reader._worker is process
  assert process.poll() is None
  tool.close()


LETTERS = "replace(hex(zeroblob(12000)), '0', '{}')".format
SLOW = [
  f"SELECT sum(length(trim({LETTERS('a')}, {LETTERS('b')} || 'a' || n))) FROM r",
  f"SELECT count(*) FROM r WHERE instr({LETTERS('a')}, substr({LETTERS('a')}, 12000) || 'b' || n) > 0",
  f"SELECT sum(length(replace({LETTERS('a')}, 'a', 'b' || n % 2))) FROM r",
  "SELECT sum(length(hex(zeroblob(20000 + n)))) FROM r",
]


@pytest.mark.parametrize("query", SLOW)
def test_many_long_calls_of_functions_end_in_time_and_the_next_statement_does_not_pay(places, query):
  tool = opened("sqlite", places, SqlLimits(seconds=0.2))
  runner = ToolRunner(tools_of(tool), ToolLimits(call_seconds=30.0))
  many = "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 100000) "
  (result,) = runner.run([ToolCall("sql", {"query": many + query})]).results
  assert (result.failure, "stopped after 0.2 s" in result.text) == (ToolFailure.TIMEOUT, True)
  (after,) = runner.run([ToolCall("sql", {"query": "SELECT 1 AS x"})]).results
  assert after.text == "x\n1"
  tool.close()


def test_a_sort_fills_neither_disk_nor_memory(places):
  tool = opened("sqlite", places, SqlLimits(seconds=30.0, memory_mb=32))
  runner = ToolRunner(tools_of(tool), ToolLimits(call_seconds=60.0))
  many = "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 2000) "
  for query in (
    "SELECT hex(randomblob(50000)) AS x FROM r ORDER BY x",
    "SELECT DISTINCT hex(randomblob(50000)) FROM r",
    "SELECT hex(randomblob(50000)) AS x FROM r GROUP BY x",
  ):
    (result,) = runner.run([ToolCall("sql", {"query": many + query})]).results
    assert "more than 32 MB of memory" in result.text
  tool.close()


def test_rows_that_were_committed_are_seen_whoever_else_has_the_file_open(tmp_path):
  writer = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
  writer.execute("PRAGMA journal_mode = WAL")
  writer.execute("CREATE TABLE t (x)")
  writer.execute("INSERT INTO t VALUES (1)")
  tool = SqlTool("sqlite", WIDE, tmp_path / "a.db")
  assert tool.sql("SELECT count(*) AS n FROM t") == "n\n1"
  writer.execute("INSERT INTO t VALUES (1)")
  assert tool.sql("SELECT count(*) AS n FROM t") == "n\n2"
  assert tool.tables() == "t (x): 2 rows"
  tool.close()
  writer.close()
