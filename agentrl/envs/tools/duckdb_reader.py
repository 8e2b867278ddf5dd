"""A DuckDB database that can only be read, in a process of its own that is killed when it does not answer."""

from __future__ import annotations

import dataclasses
import json
import os
import selectors
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from agentrl.envs.schema import ToolArgumentError
from agentrl.envs.tool import ToolTimeout
from agentrl.envs.tools.sql import Rows, SqlLimits
from agentrl.types import EnvironmentFailed

_START_SECONDS = 60.0
_GRACE_SECONDS = 0.5  # between the statement's own deadline, which the worker keeps, and the end of the worker
_LINE_CHARS = 400  # of an error that are told
_STATEMENT_CHARS = 20_000
_SCHEMA = """
SELECT table_name, column_name || ' ' || data_type
FROM duckdb_columns() WHERE NOT internal ORDER BY table_oid, column_index
"""


class DuckdbReader:
  """See `sql.Reader`. The process starts at once, in a few tenths of a second.

  Args:
    path: of the database, which nobody writes while it is open.
    limits: of one statement.

  Raises:
    EnvironmentFailed: the process did not start.
  """

  def __init__(self, path: Path, limits: SqlLimits):
    self._path, self._limits = path, limits
    self._busy = threading.Lock()
    self._worker: subprocess.Popen[bytes] | None = None
    self._closed = False
    self._running()

  def run(self, statement: str) -> Rows:
    """Runs one statement.

    Raises:
      ToolArgumentError: it is wrong, or does more than read.
      ToolTimeout: it took too long.
      EnvironmentFailed: the process did not start.
    """
    return self._run(statement, self._limits)

  def schema(self) -> dict[str, tuple[list[str], int]]:
    """Of each table its columns and its number of rows."""
    columns: dict[str, list[str]] = {}
    for name, column in self._run(_SCHEMA, _everything(self._limits)).cells:
      columns.setdefault(name, []).append(column)
    counts = {name: '"' + name.replace('"', '""') + '"' for name in columns}
    return {
      name: (columns[name], int(self.run(f"SELECT count(*) FROM {quoted}").cells[0][0]))
      for name, quoted in counts.items()
    }

  def close(self) -> None:
    """Ends the process, whatever it is doing."""
    self._closed = True
    if (worker := self._worker) is not None:
      worker.kill()  # a statement that waits for it is told at once
    with self._busy:
      self._kill()

  def _run(self, statement: str, limits: SqlLimits) -> Rows:
    if len(statement) > _STATEMENT_CHARS:
      raise ToolArgumentError(f"the query has {len(statement)} characters; at most {_STATEMENT_CHARS} are run")
    with self._busy:
      worker = self._running()
      told = self._ask(worker, [statement, dataclasses.asdict(limits)])
    if "late" in told:
      raise ToolTimeout(f"the query was stopped after {self._limits.seconds:g} s; ask for less")
    if "refused" in told:
      raise ToolArgumentError(told["refused"])
    if "wrong" in told:
      raise ToolArgumentError(f"the query is wrong: {_short(told['wrong'])}")
    return Rows(told["columns"], told["cells"], told["total"], told["more"])

  def _running(self) -> subprocess.Popen[bytes]:
    if self._closed:
      raise RuntimeError("the database is closed")
    if self._worker is None:
      self._worker = _start(self._path, self._limits)
      if _line(self._worker, _START_SECONDS) is None:
        told = self._kill()
        raise EnvironmentFailed(f"DuckDB's process did not start: {told[-_LINE_CHARS:] or 'no error told'}")
    return self._worker

  def _ask(self, worker: subprocess.Popen[bytes], question: Any) -> dict[str, Any]:
    """What the process answers; one that died or does not answer is replaced at the next statement."""
    started = time.monotonic()
    try:
      worker.stdin.write(json.dumps(question).encode() + b"\n")
      worker.stdin.flush()
      line = _line(worker, self._limits.seconds + _GRACE_SECONDS)
    except (OSError, ValueError):  # its pipe is closed
      line = None
    if line is not None:
      return json.loads(line)
    self._kill()
    if time.monotonic() - started >= self._limits.seconds:
      return {"late": True}
    return {
      "wrong": f"it ended the database's process; it may have taken more than {self._limits.memory_mb} MB of memory"
    }

  def _kill(self) -> str:
    """Ends the process; returns what it wrote to stderr."""
    worker, self._worker = self._worker, None
    if worker is None:
      return ""
    worker.kill()
    told = worker.stderr.read().decode(errors="replace")
    worker.wait()
    for stream in (worker.stdin, worker.stdout, worker.stderr):
      stream.close()
    return told


def _start(path: Path, limits: SqlLimits) -> subprocess.Popen[bytes]:
  """The process; it inherits the search path of modules and nothing else of our environment."""
  environment = {"PYTHONPATH": os.pathsep.join(part or os.getcwd() for part in sys.path), "HOME": os.devnull}
  command = [
    sys.executable,
    "-m",
    "agentrl.envs.tools.duckdb_worker",
    str(path),
    json.dumps(dataclasses.asdict(limits)),
  ]
  pipe = subprocess.PIPE
  return subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe)


def _line(worker: subprocess.Popen[bytes], seconds: float) -> bytes | None:
  """A whole line of its stdout; None where it does not come in time, or the process ended."""
  deadline = time.monotonic() + seconds
  gathered = b""
  with selectors.DefaultSelector() as selector:
    selector.register(worker.stdout, selectors.EVENT_READ)
    while not gathered.endswith(b"\n"):
      if not selector.select(max(deadline - time.monotonic(), 0)):
        return None
      block = os.read(worker.stdout.fileno(), 1 << 16)
      if not block:
        return None
      gathered += block
  return gathered


def _everything(limits: SqlLimits) -> SqlLimits:
  return dataclasses.replace(limits, rows=limits.counted)


def _short(error: str) -> str:
  """An error on one line, without the drawing of the place, and cut."""
  text = " ".join(error.split("\nLINE ")[0].split())
  return text if len(text) <= _LINE_CHARS else text[:_LINE_CHARS] + "..."
