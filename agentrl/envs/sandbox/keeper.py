"""Ends the guests of a trainer that was killed.

Isolators ask the kernel to die with their parent, but each of them starts with a moment in which one of its processes
has not asked yet: bubblewrap's first one waits for ever then. So every process that has guests has a keeper, which is
told of each guest's process group, and kills those that are left when its pipe closes.
"""

from __future__ import annotations

import os
import subprocess
import threading

_PROGRAM = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
groups = set()
for line in sys.stdin:
  groups ^= {int(line)}
for group in groups:
  try:
    os.killpg(group, signal.SIGKILL)
  except OSError:
    pass
"""


class Keeper:
  """The keeper of one process, started when it is first needed, and again should it be lost."""

  def __init__(self):
    self._lock = threading.Lock()
    self._groups: set[int] = set()
    self._process: subprocess.Popen | None = None

  def add(self, group: int) -> None:
    """Takes charge of a process group.

    Raises:
      OSError: no keeper can be started.
    """
    with self._lock:
      self._groups.add(group)
      self._tell(group)

  def remove(self, group: int) -> None:
    """Lets go of one. Called before its leader is reaped: until then no other group can have its number."""
    with self._lock:
      self._groups.remove(group)
      self._tell(group)

  def _tell(self, group: int) -> None:
    try:
      if self._process is not None:
        os.write(self._process.stdin.fileno(), b"%d\n" % group)
        return
    except BrokenPipeError:
      self._process.stdin.close()
      self._process.wait()
    self._process = subprocess.Popen(
      ["/usr/bin/python3", "-I", "-S", "-c", _PROGRAM],
      stdin=subprocess.PIPE,
      bufsize=0,
      cwd="/",
      start_new_session=True,
    )
    os.write(self._process.stdin.fileno(), b"".join(b"%d\n" % group for group in self._groups))


KEEPER = Keeper()


def _renew() -> None:
  """A forked process has no guests yet; its parent's keeper stays its parent's."""
  global KEEPER
  KEEPER = Keeper()


os.register_at_fork(after_in_child=_renew)
