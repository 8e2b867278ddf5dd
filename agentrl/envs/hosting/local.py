"""A worker as a process on this machine."""

from __future__ import annotations

import collections
import contextlib
import os
import pathlib
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time

from agentrl.envs import supervisor
from agentrl.envs.hosting import frames
from agentrl.envs.hosting.host import Reply, Request
from agentrl.envs.hosting.worker import Deadlines, WorkerLost, as_reply, lost_before

_SHOWN_LINES = 5  # of what a lost worker wrote last
_LINE_BYTES = 400
_LAST_WORDS_SECONDS = 2.0
_ROOT = str(pathlib.Path(__file__).parents[3])  # that holds the package


class LocalWorker:
  """See `worker.Worker`. What it writes is read and dropped, but for the last lines, which explain its end."""

  def __init__(self, family: str, deadlines: Deadlines):
    self._deadlines = deadlines
    self._lock = threading.Lock()
    self._lost: str | None = None
    self._process_id: int | None = None
    self._said: collections.deque[bytes] = collections.deque(maxlen=_SHOWN_LINES)
    self._stream, theirs = socket.socketpair()
    their_lifeline, self._lifeline = os.pipe()
    command = [sys.executable, "-m", "agentrl.envs.hosting.serve", str(theirs.fileno())]
    path = os.pathsep.join([_ROOT, *filter(None, [os.environ.get("PYTHONPATH")])])
    with theirs:
      self._process = subprocess.Popen(
        supervisor.supervised(their_lifeline, command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": path},
        pass_fds=(theirs.fileno(), their_lifeline),
        start_new_session=True,
      )
    os.close(their_lifeline)
    self._reader = threading.Thread(target=self._read_what_it_says, daemon=True, name="worker output")
    self._reader.start()
    self._family = pickle.dumps(family)

  @property
  def alive(self) -> bool:
    """See `Worker`."""
    return self._lost is None and self._process.poll() is None

  @property
  def process_id(self) -> int | None:
    """Of its process, which leads a group of its own; None until it has answered."""
    return self._process_id

  def call(self, request: Request, seconds: float) -> Reply:
    """See `Worker`."""
    with self._lock:
      if self._lost is not None:
        raise lost_before(self._lost)
      try:
        self._get_ready()
        return self._exchange(pickle.dumps(request), seconds)
      except (frames.BrokenStream, WorkerLost) as error:
        if isinstance(error, frames.ClosedStream):  # it is about to end, and may have something to say
          with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_LAST_WORDS_SECONDS)
        self.kill(str(error))
        raise WorkerLost(self._epitaph()) from error

  def kill(self, reason: str = "it was told to end") -> None:
    """See `Worker`."""
    if self._lost is None:
      self._lost = reason
    lifeline, self._lifeline = self._lifeline, -1
    if lifeline >= 0:
      os.close(lifeline)  # its supervisor kills it, and all that descends from it
    with contextlib.suppress(subprocess.TimeoutExpired):
      self._process.wait(self._deadlines.call)
    self._reader.join(1.0)
    self._stream.close()

  def retire(self) -> None:
    """See `Worker`."""
    with self._lock:
      if self._lost is None and self._process_id is not None:
        with contextlib.suppress(OSError):
          self._stream.shutdown(socket.SHUT_WR)  # it reads the end, closes its environments and leaves
        with contextlib.suppress(subprocess.TimeoutExpired):
          self._process.wait(self._deadlines.call)
      self.kill()

  def _get_ready(self):
    if self._process_id is not None:
      return
    deadline = time.monotonic() + self._deadlines.start
    frames.send(self._stream, self._family, self._deadlines.start)
    self._process_id = self._read_reply(deadline - time.monotonic()).value

  def _exchange(self, message: bytes, seconds: float) -> Reply:
    deadline = time.monotonic() + seconds
    frames.send(self._stream, message, seconds)
    return self._read_reply(deadline - time.monotonic())

  def _read_reply(self, seconds: float) -> Reply:
    message = frames.receive(self._stream, seconds)
    try:
      return as_reply(pickle.loads(message))
    except WorkerLost:
      raise
    except Exception as error:  # whatever unpickling makes of bytes that were not meant for it
      raise WorkerLost(f"its reply cannot be read: {error}") from error

  def _epitaph(self) -> str:
    code = self._process.returncode
    how = "" if code in (None, -signal.SIGKILL) else f"; exit code {code}"
    said = b" | ".join(line[:_LINE_BYTES].strip() for line in self._said).decode(errors="replace")
    return f"a worker process was lost: {self._lost}{how}" + (f"; it last wrote: {said}" if said else "")

  def _read_what_it_says(self):
    with self._process.stderr as stream:
      for line in iter(lambda: stream.readline(1 << 16), b""):
        self._said.append(line)
