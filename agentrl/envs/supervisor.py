"""A small process between us and a command, so that nothing which the command starts outlives it, or us.

It holds one end of a pipe, the lifeline. When the other end is closed, by will or because whoever held it was killed,
and also when the command ends by itself, it kills every process that descends from the command and ends as the command
did. On Linux that is so whatever session or parent a descendant has chosen: as the subreaper, the supervisor becomes
the parent of each whose own has ended. Elsewhere it kills the command's process group.

usage: python -I -S supervisor.py LIFELINE COMMAND [ARGUMENT ...]     LIFELINE is the number of an inherited file
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import pathlib
import select
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_CANNOT_RUN = 127  # exit code, as of a shell
_LINUX = sys.platform == "linux"


def supervised(lifeline: int, command: Sequence[str]) -> list[str]:
  """The command line that runs `command` under a supervisor, which inherits `lifeline`, the reading end of a pipe."""
  return [sys.executable, "-I", "-S", __file__, str(lifeline), *command]


def main(lifeline: int, *command: str) -> None:
  """Runs the command until it ends or the lifeline closes; does not return."""
  for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(ignored, signal.SIG_IGN)  # it is the holder of the lifeline who decides
  os.set_inheritable(lifeline, False)
  woken, wakes = os.pipe()
  for end in (woken, wakes):
    os.set_blocking(end, False)
  signal.set_wakeup_fd(wakes)
  signal.signal(signal.SIGCHLD, lambda *_: None)
  if _LINUX:
    _set_for_process(_PR_SET_CHILD_SUBREAPER, 1)
  child = _start(command)
  _let_go_of_files(keep={lifeline, woken, wakes})
  status = _watch(child, lifeline, woken)
  _end_descendants(child)
  _end_as(os.waitstatus_to_exitcode(status))


def _start(command: Sequence[str]) -> int:
  """The command, in a session of its own, with the signals that a new process has."""
  us = os.getpid()
  child = os.fork()
  if child:
    return child
  try:
    os.setsid()
    if _LINUX:
      _set_for_process(_PR_SET_PDEATHSIG, signal.SIGKILL)
      if os.getppid() != us:  # it has ended meanwhile
        os._exit(_CANNOT_RUN)
    for changed in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD):
      signal.signal(changed, signal.SIG_DFL)
    os.execvp(command[0], command)
  except BaseException as error:
    os.write(2, f"cannot run {command[0]}: {error}\n".encode(errors="replace"))
  os._exit(_CANNOT_RUN)


def _watch(child: int, lifeline: int, woken: int) -> int:
  """The command's status when it has ended, that of a killed one when the lifeline was closed; reaps orphans."""
  poll = select.poll()  # unlike `select`, it takes any number of a file
  for file in (lifeline, woken):
    poll.register(file, select.POLLIN)
  while True:
    if lifeline in dict(poll.poll()):
      return int(signal.SIGKILL)
    os.read(woken, 1 << 10)
    ended = 1
    while ended:
      try:
        ended, status = os.waitpid(-1, os.WNOHANG)
      except ChildProcessError:
        break
      if ended == child:
        return status


def _let_go_of_files(keep: set[int]) -> None:
  """Closes this process's copies: whoever reads or writes at the other ends deals with the command alone."""
  nowhere = os.open(os.devnull, os.O_RDWR)
  for standard in (0, 1, 2):
    os.dup2(nowhere, standard)
  bounds = [2, *sorted(keep), 1 << 16]
  for before, after in itertools.pairwise(bounds):
    os.closerange(before + 1, after)


def _end_descendants(child: int) -> None:
  """Kills our children, then the grandchildren that have become children, until none is left that we may kill."""
  if not _LINUX:
    with contextlib.suppress(OSError):
      os.killpg(child, signal.SIGKILL)
    return
  spared: set[int] = set()
  while left := [process for process in _children() if process not in spared]:
    for process in left:
      try:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
      except PermissionError:  # it has become another user's, as sudo does
        spared.add(process)


def _end_as(code: int) -> None:
  """Exits with a code, or by a signal where it is negative."""
  if code < 0:
    if -code != signal.SIGKILL:
      signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
  os._exit(code)


def _children() -> list[int]:
  """Processes whose parent is this one, dead ones that nobody waited for included."""
  found = []
  for entry in pathlib.Path("/proc").iterdir():
    if entry.name.isdigit():
      try:
        status = (entry / "stat").read_bytes()
      except OSError:  # it ended meanwhile
        continue
      if int(status.rpartition(b")")[2].split()[1]) == os.getpid():
        found.append(int(entry.name))
  return found


def _set_for_process(option: int, value: int) -> None:
  if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
    raise OSError(ctypes.get_errno(), f"prctl({option})")


if __name__ == "__main__":
  main(int(sys.argv[1]), *sys.argv[2:])
