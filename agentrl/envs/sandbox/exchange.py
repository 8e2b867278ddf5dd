"""Talking to a guest without ever waiting for it: what it writes is counted, and its time runs."""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from typing import BinaryIO

from agentrl.envs.sandbox.limits import Limits

_CHUNK_BYTES = 1 << 16


class Exchange:
  """Feeds a guest and reads what it writes, until all pipes are closed, a cell has ended or a limit is reached.

  Args:
    process: with a pipe on stdin, stdout and stderr.
    status: where the isolator writes.
    sent: bytes for stdin.
    limits: of time and output.
    channel: where an interpreter says that it has taken a cell, and then how it ended; None for any other command.
    last: closes stdin behind `sent`, and waits for the guest's end rather than for the cell's.
    start_seconds: for the interpreter to take the cell; time counts from there. 0 where it counts from now.

  Attributes:
    stdout: what was read of it.
    stderr: what was read of it.
    status: what the isolator wrote.
    started: when time began to count, by `time.monotonic`.
    has_begun: the interpreter took the cell.
    cell_status: how the cell ended, 0 or 1; None where none did.
    killed_by: the limit that was reached, "wall time" or "output", which is for the caller to act on.
  """

  def __init__(
    self,
    process: subprocess.Popen,
    status: BinaryIO,
    sent: bytes,
    limits: Limits,
    *,
    channel: BinaryIO | None = None,
    last: bool = True,
    start_seconds: float = 0.0,
  ):
    self.stdout, self.stderr, self.status, self._said = (bytearray() for _ in range(4))
    self.started = time.monotonic()
    self.has_begun, self.cell_status, self.killed_by = False, None, None
    self._limits, self._last = limits, last
    self._deadline = self.started + (start_seconds or limits.wall_seconds)
    self._restarts_clock = start_seconds > 0
    self._stdin, self._unsent = process.stdin, memoryview(sent)
    self._received = {process.stdout: self.stdout, process.stderr: self.stderr, status: self.status}
    if channel is not None:
      self._received[channel] = self._said

  def run(self) -> None:
    """Until one of the three has happened; which one is then in the attributes."""
    with selectors.DefaultSelector() as selector:
      for stream in self._received:
        os.set_blocking(stream.fileno(), False)
        selector.register(stream, selectors.EVENT_READ)
      os.set_blocking(self._stdin.fileno(), False)
      selector.register(self._stdin, selectors.EVENT_WRITE)
      while selector.get_map() and self.cell_status is None and self.killed_by is None:
        left = self._deadline - time.monotonic()
        if left <= 0:
          self.killed_by = "wall time"
          return
        for key, _ in selector.select(left):
          is_over = self._feed() if key.fileobj is self._stdin else self._receive(key.fileobj)
          if is_over:
            selector.unregister(key.fileobj)
        self._listen()
    if self.cell_status is not None:
      self._drain()

  def _feed(self) -> bool:
    """Writes what fits; whether that was all, or the guest no longer listens."""
    try:
      self._unsent = self._unsent[os.write(self._stdin.fileno(), self._unsent[:_CHUNK_BYTES]) :]
    except BrokenPipeError:
      self._unsent = self._unsent[:0]
    if not self._unsent and self._last:
      self._stdin.close()
    return not self._unsent

  def _receive(self, stream: BinaryIO) -> bool:
    """Reads what is there, up to a chunk; whether the stream has ended."""
    chunk = os.read(stream.fileno(), _CHUNK_BYTES)
    self._received[stream] += chunk
    excess = len(self.stdout) + len(self.stderr) + len(self._said) - self._limits.output_bytes
    if excess > 0:
      longer = max(self.stdout, self.stderr, key=len)
      del longer[max(len(longer) - excess, 0) :]
      self.killed_by = "output"
    return not chunk

  def _listen(self) -> None:
    """Takes note of a cell's beginning and end. A guest that writes here itself ends no cell but its own."""
    if self._said and not self.has_begun:
      self.has_begun = True
      if self._restarts_clock:
        self.started = time.monotonic()
        self._deadline = self.started + self._limits.wall_seconds
    if len(self._said) > 1 and not self._last:
      self.cell_status = int(self._said[1:2] == b"1")

  def _drain(self) -> None:
    """What was written before the cell's end is in the pipes by now; what comes meanwhile may be read, or not."""
    for stream in list(self._received)[:2]:
      try:
        while self.killed_by is None and not self._receive(stream):
          pass
      except BlockingIOError:
        continue
