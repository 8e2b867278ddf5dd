"""A database that can only be read, in a process of its own: see `sql_worker.py`.

A single function call of either engine may take seconds and cannot be interrupted, and a sort takes what memory it
finds: so it has to be something that can be killed and that has limits.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import json
import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from agentrl.envs import installed
from agentrl.envs.schema import ToolArgumentError, shortened
from agentrl.envs.tool import ToolError, ToolTimeout, check_positive
from agentrl.named import by_name
from agentrl.types import EnvironmentFailed

_WORKER = Path(__file__).with_name("sql_worker.py")
_START_SECONDS = 60.0
_GRACE_SECONDS = 0.5  # between the statement's own deadline, which the worker keeps, and the end of the worker
_ERROR_CHARS = 400  # of an error that are told
_STATEMENT_CHARS = 20_000
_MOST_IDLE = 8  # processes that wait for another trajectory


@dataclasses.dataclass(frozen=True)
class SqlLimits:
  """Of one statement.

  Attributes:
    seconds: that it may run.
    rows: that are shown.
    cell_chars: of one value that are shown.
    table_chars: of all rows together, and of the schema.
    counted: rows that are counted, where there are more than are shown.
    memory_mb: that the engine may take, sorts and intermediate tables included.
  """

  seconds: float = 3.0
  rows: int = 50
  cell_chars: int = 200
  table_chars: int = 1600
  counted: int = 10_000
  memory_mb: int = 256

  def __post_init__(self):
    check_positive(self)


@dataclasses.dataclass(frozen=True)
class Rows:
  """What a statement gave.

  Attributes:
    columns: their names.
    cells: the rows that may be shown, as text.
    total: number of all rows, up to `SqlLimits.counted`.
    more: there were more than that.
  """

  columns: Sequence[str]
  cells: Sequence[Sequence[str]]
  total: int
  more: bool


class Engine(NamedTuple):
  """An engine, and how its files begin.

  Attributes:
    start: offset of `magic` in a file.
    magic: bytes that all its files have there.
    title: what it is called.
    tool: the tool of `TOOLS` that reads them.
    schema: a statement for the name of each table, and each of its columns with its type.
    locks: an open database cannot be written by others.
  """

  start: int
  magic: bytes
  title: str
  tool: str
  schema: str
  locks: bool


_SQLITE_SCHEMA = """
SELECT found.name, trim(columns.name || ' ' || columns.type) FROM sqlite_master AS found, pragma_table_info(found.name)
AS columns WHERE found.type IN ('table', 'view') ORDER BY found.rowid, columns.cid
"""
_DUCKDB_SCHEMA = """
SELECT table_name, column_name || ' ' || data_type
FROM duckdb_columns() WHERE NOT internal ORDER BY table_oid, column_index
"""
ENGINES: Mapping[str, Engine] = {
  "sqlite": Engine(0, b"SQLite format 3\0", "SQLite", "sql", _SQLITE_SCHEMA, locks=False),
  "duckdb": Engine(8, b"DUCK", "DuckDB", "duckdb", _DUCKDB_SCHEMA, locks=True),
}


def check_file(path: Path, engine: str) -> None:
  """Looks at how a file begins.

  Raises:
    FileNotFoundError: there is none.
    ValueError: that engine did not write it; says which one did, if any.
  """
  if not path.is_file():
    raise FileNotFoundError(f"no database at {path}")
  with path.open("rb") as file:
    head = file.read(16)
  writers = [one for one in ENGINES.values() if head[one.start :].startswith(one.magic)]
  if not writers:
    raise ValueError(f"{path} is no {ENGINES[engine].title} database")
  if writers != [ENGINES[engine]]:
    raise ValueError(f"{path} is a {writers[0].title} file: use the tool {writers[0].tool!r}")


class SqlProcess:
  """An open database. The process starts at once: SQLite's in 0.05 s, DuckDB's in a few tenths of a second.

  No statement leaves anything behind. So SQLite's process, which locks nothing while it waits, serves the next
  trajectory that reads the same file under the same limits.

  What was committed when a statement starts is read, also where it still lies in a log beside the file.

  Args:
    engine: "sqlite" or "duckdb".
    path: of the database.
    limits: of one statement.

  Raises:
    ValueError: there is no such engine, or it cannot read the file.
    EnvironmentFailed: the process did not start.
  """

  def __init__(self, engine: str, path: Path, limits: SqlLimits):
    self._about = by_name(ENGINES, engine, kind="SQL engine")
    self._engine, self._path, self._limits = engine, path, limits
    self._busy = threading.Lock()
    self._worker: subprocess.Popen[bytes] | None = None
    self._closed = False
    self._kind = (engine, os.path.abspath(path), limits)
    self._worker = _idle.take(self._kind)
    if self._worker is None and (refused := self._start()) is not None:
      raise ValueError(f"{self._about.title} cannot read {path}: {refused}")

  def run(self, statement: str) -> Rows:
    """Runs one statement.

    Raises:
      ToolArgumentError: it is wrong, or does more than read.
      ToolError: the database could not be read, whatever the statement: another program locks it, say.
      ToolTimeout: it took too long.
      EnvironmentFailed: the process did not start.
    """
    return self._run(statement, self._limits)

  def schema(self) -> dict[str, tuple[list[str], int]]:
    """Of each table its columns, such as "year INTEGER", and its number of rows."""
    columns: dict[str, list[str]] = {}
    for name, column in self._run(self._about.schema, _everything(self._limits)).cells:
      columns.setdefault(name, []).append(column)
    counts = {name: '"' + name.replace('"', '""') + '"' for name in columns}
    return {
      name: (columns[name], int(self.run(f"SELECT count(*) FROM {quoted}").cells[0][0]))
      for name, quoted in counts.items()
    }

  def close(self) -> None:
    """Frees the process; ends it where it is busy."""
    self._closed = True
    worker = self._worker
    if not self._busy.acquire(blocking=False):
      if worker is not None:
        worker.kill()  # the statement that waits for it is told at once
      self._busy.acquire()
    try:
      worker, self._worker = self._worker, None
      if worker is not None:
        _end(worker) if self._about.locks else _idle.put(self._kind, worker)
    finally:
      self._busy.release()

  def _run(self, statement: str, limits: SqlLimits) -> Rows:
    if len(statement) > _STATEMENT_CHARS:
      raise ToolArgumentError(f"the query has {len(statement)} characters; at most {_STATEMENT_CHARS} are run")
    question = json.dumps([statement, dataclasses.asdict(limits)], ensure_ascii=False).encode()
    with self._busy:
      if self._closed:
        raise RuntimeError("the database is closed")
      if self._worker is None and (refused := self._start()) is not None:
        raise EnvironmentFailed(f"{self._about.title} cannot read {self._path} any more: {refused}")
      told = self._ask(self._worker, question)
    if "late" in told:
      raise ToolTimeout(f"the query was stopped after {limits.seconds:g} s; ask for less, such as fewer joined rows")
    if "failed" in told:
      raise ToolError(f"the database cannot be read now: {shortened(told['failed'], _ERROR_CHARS)}")
    if "refused" in told:
      raise ToolArgumentError(shortened(told["refused"], _ERROR_CHARS))
    if "wrong" in told:
      raise ToolArgumentError(f"the query is wrong: {shortened(told['wrong'], _ERROR_CHARS)}")
    return Rows(**told["rows"])

  def _start(self) -> str | None:
    """Starts the process; it inherits the search path of modules and nothing else of our environment.

    Returns:
      Why the engine cannot read the file; None where it can.
    """
    settings = json.dumps(dataclasses.asdict(self._limits))
    self._worker = subprocess.Popen(
      [sys.executable, "-P", "-S", "-X", "utf8", str(_WORKER), self._engine, self._kind[1], settings],
      env={"PYTHONPATH": installed.search_path(), "HOME": os.devnull},
      stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
      start_new_session=True,  # a Ctrl-C is for the trainer
    )  # fmt: skip
    line = _line(self._worker, _START_SECONDS)
    if line is None:
      told = self._lose()
      raise EnvironmentFailed(f"{self._about.title}'s process did not start: {told[-_ERROR_CHARS:] or 'no error told'}")
    answer = json.loads(line)
    if "failed" in answer:
      self._lose()
      return answer["failed"]
    return None

  def _ask(self, worker: subprocess.Popen[bytes], question: bytes) -> dict[str, Any]:
    """What the process answers; one that died or does not answer is replaced at the next statement."""
    started = time.monotonic()
    try:
      worker.stdin.write(question + b"\n")
      worker.stdin.flush()
      line = _line(worker, self._limits.seconds + _GRACE_SECONDS)
    except (OSError, ValueError):  # its pipe is closed
      line = None
    if line is not None:
      return json.loads(line)
    self._lose()
    if time.monotonic() - started >= self._limits.seconds:
      return {"late": "killed"}
    return {
      "wrong": f"it ended the database's process; it may have taken more than {self._limits.memory_mb} MB of memory"
    }

  def _lose(self) -> str:
    """Ends the process; returns what it wrote to stderr."""
    worker, self._worker = self._worker, None
    return _end(worker)


class _Idle:
  """Processes that wait for another trajectory; the one that has waited longest ends where there are too many."""

  def __init__(self):
    self._lock = threading.Lock()
    self._waiting: list[tuple[tuple[str, str, SqlLimits], subprocess.Popen[bytes]]] = []

  def take(self, kind: tuple[str, str, SqlLimits]) -> subprocess.Popen[bytes] | None:
    """One of this engine, file and limits; None where none waits."""
    with self._lock:
      found = next((entry for entry in reversed(self._waiting) if entry[0] == kind), None)
      if found is None:
        return None
      self._waiting.remove(found)
    if found[1].poll() is None:
      return found[1]
    _end(found[1])
    return None

  def put(self, kind: tuple[str, str, SqlLimits], worker: subprocess.Popen[bytes]) -> None:
    """Has one wait."""
    with self._lock:
      self._waiting.append((kind, worker))
      surplus = [self._waiting.pop(0)] if len(self._waiting) > _MOST_IDLE else []
    for _, oldest in surplus:
      _end(oldest)

  def end(self) -> None:
    """Ends them all."""
    with self._lock:
      waiting, self._waiting = self._waiting, []
    for _, worker in waiting:
      _end(worker)


_idle = _Idle()
atexit.register(lambda: _idle.end())


def _forget() -> None:
  global _idle
  _idle = _Idle()  # the parent's: two would talk to one process


os.register_at_fork(after_in_child=_forget)


def _end(worker: subprocess.Popen[bytes]) -> str:
  """Kills and reaps; returns what it wrote to stderr."""
  worker.kill()
  told = worker.stderr.read().decode(errors="replace")
  worker.wait()
  for stream in (worker.stdin, worker.stdout, worker.stderr):
    with contextlib.suppress(BrokenPipeError):  # of a statement that it never read
      stream.close()
  return told


def _line(worker: subprocess.Popen[bytes], seconds: float) -> bytes | None:
  """A whole line of its stdout; None where it does not come in time, or the process ended."""
  deadline = time.monotonic() + seconds
  gathered = bytearray()
  with selectors.DefaultSelector() as selector:
    selector.register(worker.stdout, selectors.EVENT_READ)
    while not gathered.endswith(b"\n"):
      if not selector.select(max(deadline - time.monotonic(), 0)):
        return None
      block = os.read(worker.stdout.fileno(), 1 << 16)
      if not block:
        return None
      gathered += block
  return bytes(gathered)


def _everything(limits: SqlLimits) -> SqlLimits:
  return dataclasses.replace(limits, rows=limits.counted, cell_chars=1000)
