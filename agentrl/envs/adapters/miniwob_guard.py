"""Keeps the browser driver and ends it with its parent: a small process between the two, run as a script.

However the parent ends, be it by SIGKILL, its end of the guard's standard input closes. The guard then kills the
driver and all that descends from it, and removes the browser's folder.

usage: python miniwob_guard.py FOLDER DRIVER [ARGUMENT ...]      standard output is the driver's
"""

from __future__ import annotations

import ctypes
import os
import pathlib
import shutil
import signal
import subprocess
import sys

_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
  """From now on, a descendant whose parent ends becomes this process's child, so that none gets away."""
  if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
    raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def children() -> list[int]:
  """Processes whose parent is this one, dead ones that nobody waited for included."""
  found = []
  for entry in pathlib.Path("/proc").iterdir():
    if entry.name.isdigit():
      try:
        status = (entry / "stat").read_text(encoding="utf-8", errors="replace")
      except OSError:  # it ended meanwhile
        continue
      if int(status.rpartition(")")[2].split()[1]) == os.getpid():
        found.append(int(entry.name))
  return found


def end_children() -> None:
  """Kills them, then the grandchildren that have become children, until none is left."""
  while left := children():
    for process in left:
      os.kill(process, signal.SIGKILL)
      os.waitpid(process, 0)


def main(folder: str, *command: str) -> None:
  """Runs the command until standard input ends."""
  for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(ignored, signal.SIG_IGN)  # the parent decides: a Ctrl-C in its terminal must not leave a folder
  adopt_orphans()
  driver = subprocess.Popen(command, stdin=subprocess.DEVNULL, restore_signals=True)
  sys.stdin.buffer.read()
  driver.kill()
  driver.wait()
  end_children()
  shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
  main(*sys.argv[1:])
