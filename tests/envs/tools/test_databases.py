"""The databases that tasks ask about."""

import pytest

from agentrl.envs.tools import databases

pytest.importorskip("duckdb", reason="needs agentrl[sql]")


sql_qa = pytest.importorskip("agentrl.envs.tasks.sql_qa", reason="needs agentrl[sql]", exc_type=ModuleNotFoundError)


def test_both_engines_hold_the_same_rows():
  import duckdb

  for name in ("flights", "geography"):
    connection = duckdb.connect(str(databases.path_of(name, "duckdb")), read_only=True)
    for (table,) in sql_qa._rows(name, "SELECT name FROM sqlite_master WHERE type = 'table'"):
      column = {"flights": "dest", "weather": "origin", "planes": "tailnum"}.get(table, "name")
      query = f"SELECT count(*), count(DISTINCT {column}) FROM {table}"
      assert connection.execute(query).fetchall() == sql_qa._rows(name, query)
    connection.close()
