"""JSON checked against JSON schemas that come from outside, in processes that can be killed.

A schema decides how long its check takes: a pattern may go back and forth over a text for years, alternatives that
refer to one another double with each level, and no thread of Python can be stopped in either. So the work is done in a
process (`validation_worker.py`) that the kernel ends after so much CPU time and memory, and a new one does the next
check. Nothing is fetched: a reference to another document leads nowhere.

The validator is `jsonschema-rs` (https://github.com/Stranger6667/jsonschema): the dialect that "$schema" names, the
patterns of ECMAScript, and formats as annotations.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentrl.envs import installed
from agentrl.types import EnvironmentFailed

CPU_SECONDS = 1.0  # of one check
WALL_SECONDS = 20.0  # of one check, on however busy a machine
MEMORY_BYTES = 1 << 30  # of address space of the process
AT_ONCE = 4  # processes


class NoSchema(ValueError):
  """This is no JSON schema."""


class Unclear(Exception):
  """A JSON schema of which a part cannot be judged here; the text says which."""


class Misfit(Exception):
  """A value does not fit its schema; the text says where and why."""


class TooMuchWork(Exception):
  """A check was given up: it took more time or memory than any sensible one."""


class Validator:
  """A compiled schema.

  Args:
    schema: any JSON value.

  Raises:
    NoSchema, Unclear, TooMuchWork: it cannot be checked against.
    EnvironmentFailed: no process can be started.
  """

  def __init__(self, schema: Any):
    try:
      self._schema = json.dumps(schema, ensure_ascii=False).encode().decode()  # no half of a surrogate pair
    except (TypeError, ValueError, RecursionError) as error:
      raise NoSchema(f"it is no JSON: {error}") from error
    self._ask({})

  def check(self, value: Any) -> None:
    """Nothing where the value fits.

    Raises:
      Misfit, TooMuchWork: it does not, or there is no telling.
      EnvironmentFailed: no process can be started.
    """
    self._ask({"instance": value})

  def _ask(self, question: Mapping[str, Any]) -> None:
    try:
      line = json.dumps({"schema": self._schema, **question}, ensure_ascii=False).encode() + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
      raise Misfit(f"what was given is no JSON: {error}") from error
    with _processes.slot:
      process = _processes.take()
      answer = process.ask(line)
      reason = process.more() if answer.get("fits") is False else {}
      _processes.give_back(process)
    if "none" in answer:
      raise NoSchema(answer["none"])
    if "unclear" in answer:
      raise Unclear(answer["unclear"])
    if "fits" not in answer:
      raise TooMuchWork(f"it takes more than {CPU_SECONDS:g} s or {MEMORY_BYTES >> 20} MiB to check")
    if not answer["fits"]:
      raise Misfit(reason.get("words", "the arguments do not fit the schema of the tool"))


class _Process:
  """One process, which answers questions until it is killed."""

  def __init__(self):
    script = Path(__file__).with_name("validation_worker.py")
    command = [sys.executable, "-S", "-P", str(script), str(CPU_SECONDS), str(MEMORY_BYTES)]
    pipe = subprocess.PIPE
    self._process = subprocess.Popen(
      command,
      env={"PYTHONPATH": installed.search_path()},
      stdin=pipe,
      stdout=pipe,
      stderr=subprocess.DEVNULL,
      bufsize=0,
      cwd="/",
      start_new_session=True,  # a Ctrl-C is for the trainer
    )
    os.set_blocking(self._process.stdin.fileno(), False)
    self._read = b""

  def ask(self, line: bytes) -> dict[str, Any]:
    """The first line that answers a question; empty where there is none, and the process has been ended."""
    self._deadline = time.monotonic() + WALL_SECONDS
    with selectors.DefaultSelector() as selector:
      selector.register(self._process.stdin, selectors.EVENT_WRITE)
      while line:
        if not selector.select(max(self._deadline - time.monotonic(), 0)):
          break
        try:
          line = line[os.write(self._process.stdin.fileno(), line) :]
        except OSError:  # it has ended
          break
    return self.more()

  def more(self) -> dict[str, Any]:
    """The next line of an answer, as above."""
    with selectors.DefaultSelector() as selector:
      selector.register(self._process.stdout, selectors.EVENT_READ)
      while b"\n" not in self._read:
        late = not selector.select(max(self._deadline - time.monotonic(), 0))
        block = b"" if late else os.read(self._process.stdout.fileno(), 1 << 16)
        if not block:
          self.end()
          return {}
        self._read += block
    line, _, self._read = self._read.partition(b"\n")
    return json.loads(line)

  @property
  def alive(self) -> bool:
    """It can answer another question."""
    return self._process.poll() is None

  def end(self) -> None:
    """Kills it."""
    self._process.kill()
    self._process.wait()
    self._process.stdin.close()
    self._process.stdout.close()


class _Processes:
  """Those of this process: started when there is no idle one, and kept for the next check."""

  def __init__(self):
    self.slot = threading.BoundedSemaphore(AT_ONCE)
    self._lock = threading.Lock()
    self._idle: list[_Process] = []

  def take(self) -> _Process:
    """One that can answer.

    Raises:
      EnvironmentFailed: a new one does not.
    """
    with self._lock:
      while self._idle:
        if (process := self._idle.pop()).alive:
          return process
        process.end()
    process = _Process()
    if process.ask(b'{"schema": "true"}\n') != {"fits": True}:
      raise EnvironmentFailed("the process that checks arguments does not start; try: python -c 'import jsonschema_rs'")
    return process

  def give_back(self, process: _Process) -> None:
    """For the next check, if it lives."""
    with self._lock:
      if process.alive:
        self._idle.append(process)


_processes = _Processes()


def _renew() -> None:
  """A forked process starts its own; its parent's answer its parent."""
  global _processes
  _processes = _Processes()


os.register_at_fork(after_in_child=_renew)
