"""One guest, from its start to its end: pipes, deadlines, and nothing left behind."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from typing import BinaryIO

from agentrl.envs.sandbox import cgroup, enter_group, keeper, seccomp
from agentrl.envs.sandbox.exchange import Exchange
from agentrl.envs.sandbox.isolators import Isolator
from agentrl.envs.sandbox.limits import Completed, Limits
from agentrl.types import EnvironmentFailed

ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8"}

_REAP_SECONDS = 20.0  # for a process that was sent SIGKILL, on a machine that guests keep busy
_START_SECONDS = 30.0  # for an interpreter to take its first cell, likewise; its deadline counts from there
_CHUNK_BYTES = 1 << 16
_STALE_CHUNKS = 16  # a pipe's largest size without privileges
_LOST = 128 + signal.SIGKILL  # of a guest whose monitor was killed too, by the kernel when memory ran out
_SIGNALS = {128 + number: number.name for number in signal.Signals}


class CellNotTaken(Exception):
  """The interpreter had ended before it took the cell; the text is what it last wrote to stderr."""


class Guest:
  """A command in isolation. One thread talks to it; `kill` may come from any.

  A guest dies with the thread that made it: give it to one that lives as long.

  Args:
    isolate: how.
    command: an absolute path under /usr and its arguments. One that takes cells gets the number of its end of the
      channel as a further argument (see `interpreter.py`).
    limits: of the guest.
    takes_cells: it is an interpreter that takes cells on stdin, for `run_cell`.

  Raises:
    EnvironmentFailed: it could not be started.
  """

  def __init__(self, isolate: Isolator, command: Sequence[str], limits: Limits, *, takes_cells: bool = False):
    self._limits = limits
    self._lock = threading.Lock()
    self._killed = self._ended = False
    self._has_begun = False
    self._is_heavy = True
    with contextlib.ExitStack() as stack:
      try:
        self._start(isolate, command, takes_cells, stack)
      except OSError as error:
        raise EnvironmentFailed(f"a sandbox could not be started: {error}") from error
      self._open = stack.pop_all()

  def _start(self, isolate: Isolator, command: Sequence[str], takes_cells: bool, stack: contextlib.ExitStack) -> None:
    with contextlib.ExitStack() as theirs:
      self._status, status_out = _pipe(stack, theirs)
      self._channel, channel_out = _pipe(stack, theirs) if takes_cells else (None, None)
      filter_in, filter_out = _pipe(theirs, theirs)
      with filter_out:
        filter_out.write(seccomp.program(platform.machine()))
      passed = [stream.fileno() for stream in (status_out, filter_in, channel_out) if stream is not None]
      command = [*command, str(channel_out.fileno())] if takes_cells else command
      status_fd = status_out.fileno()
      line = isolate(enter_group.inside(command), self._limits, status_fd, filter_in.fileno())
      self._group = self._make_group(stack)
      procs_files = [] if self._group is None else self._group.procs_files
      self._process = subprocess.Popen(
        [*enter_group.outside(status_fd, procs_files), *line],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        env=ENVIRONMENT,
        cwd="/",
        pass_fds=passed,
        start_new_session=True,
      )
    for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
      stack.callback(stream.close)
    self._keeper = keeper.KEEPER
    self._keeper.add(self._process.pid)

  def _make_group(self, stack: contextlib.ExitStack) -> cgroup.Group | None:
    """A group of its own; None where there can be none."""
    groups = cgroup.groups(self._limits)
    if groups is None:
      return None
    group = groups.acquire()
    stack.callback(groups.release, group)
    group.weigh(True)
    return group

  def is_alive(self) -> bool:
    """Whether its process runs. Looks without reaping, so that its id stays its own until `close`."""
    return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

  def run(self, stdin: bytes) -> Completed:
    """Gives it all of its stdin and waits until it has ended, or has reached a limit; the caller then calls `close`.

    Raises:
      EnvironmentFailed: its command was not run, or `kill` ended it.
    """
    exchange = Exchange(self._process, self._status, stdin, self._limits)
    exchange.run()
    return self._completed(exchange)

  def run_cell(self, code: bytes, *, last: bool) -> Completed:
    """Gives it one cell. Where it is not alive afterwards, the caller then calls `close`.

    Args:
      code: Python.
      last: it gets no other, and ends behind this one as a script does.

    Raises:
      CellNotTaken: the guest had ended; the cell was not run.
      EnvironmentFailed: a new guest did not start in time, or `kill` ended it.
    """
    os.set_blocking(self._channel.fileno(), False)
    for _ in range(_STALE_CHUNKS):  # what the last cell left there; one that goes on is stopped by the limit on output
      if not self._channel.read(_CHUNK_BYTES):
        break
    exchange = Exchange(
      self._process,
      self._status,
      b"%08x" % len(code) + code,
      self._limits,
      channel=self._channel,
      last=last,
      start_seconds=0.0 if self._has_begun else _START_SECONDS,
    )
    self._weigh(True)
    exchange.run()
    if exchange.cell_status is not None:
      self._weigh(False)
    if not exchange.has_begun and exchange.killed_by is None:
      raise CellNotTaken(exchange.stderr.decode(errors="replace").strip()[-500:] or "no reason given")
    if not exchange.has_begun and not self._has_begun:
      raise EnvironmentFailed(f"a sandboxed interpreter did not start within {_START_SECONDS:g} s")
    self._has_begun = True
    return self._completed(exchange)

  def kill(self) -> None:
    """Kills the isolator's process group, and with it the guest's PID namespace; harmless when all is over."""
    with self._lock, contextlib.suppress(ProcessLookupError):
      if not self._ended:
        self._killed = True
        self._weigh(True)  # dying is work too
        os.killpg(self._process.pid, signal.SIGKILL)

  def close(self) -> None:
    """Kills, reaps and frees; a second call does nothing.

    Raises:
      EnvironmentFailed: it outlived SIGKILL.
    """
    self.kill()
    with self._lock:
      if self._ended:
        return
      self._ended = True
    with self._open:
      self._keeper.remove(self._process.pid)
      try:
        self._process.wait(_REAP_SECONDS)
      except subprocess.TimeoutExpired as error:
        text = f"process {self._process.pid} of a sandbox outlived SIGKILL by {_REAP_SECONDS:g} s"
        raise EnvironmentFailed(text) from error

  def _weigh(self, is_in_a_cell: bool) -> None:
    """Makes it as heavy as any other process, or as light as can be; it starts heavy."""
    if self._group is not None and self._is_heavy != is_in_a_cell:
      self._group.weigh(is_in_a_cell)
      self._is_heavy = is_in_a_cell

  def _completed(self, exchange: Exchange) -> Completed:
    """How it, or its cell, ended. Once its own code runs, whatever ends it is its own doing, save `kill`."""
    stdout, stderr, status = (
      bytes(part).decode(errors="replace") for part in (exchange.stdout, exchange.stderr, exchange.status)
    )
    seconds = time.monotonic() - exchange.started
    if exchange.killed_by is not None:
      return Completed(stdout, stderr, None, exchange.killed_by, seconds)
    if exchange.cell_status is not None:
      return Completed(stdout, stderr, exchange.cell_status, None, seconds, alive=True)
    if self._killed:
      raise EnvironmentFailed("the sandbox was closed while its guest ran")
    said = {name: value for line in status.splitlines() for name, value in json.loads(line).items()}
    if not exchange.has_begun and "begun" not in said:
      raise EnvironmentFailed(f"the sandbox did not run its command: {stderr.strip()[-500:] or 'no reason given'}")
    exit_code = said.get("exit-code", _LOST)
    return Completed(stdout, stderr, exit_code, _SIGNALS.get(exit_code), seconds)


def _pipe(reading: contextlib.ExitStack, writing: contextlib.ExitStack) -> tuple[BinaryIO, BinaryIO]:
  """A pipe whose ends are closed with one stack each, with numbers that shells leave alone."""
  ends = os.pipe()
  try:
    opened = [
      stack.enter_context(os.fdopen(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, enter_group.LOWEST_FD), mode, 0))
      for end, mode, stack in zip(ends, ("rb", "wb"), (reading, writing), strict=True)
    ]
  finally:
    for end in ends:
      os.close(end)
  return opened[0], opened[1]
