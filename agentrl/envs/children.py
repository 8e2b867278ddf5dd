"""How child processes ended, also where a library has told the kernel to forget it."""

from __future__ import annotations

import ctypes
import pathlib
import signal
import sys


def heed_children() -> None:
  """Lets this process learn the exit codes of its children from now on.

  Where SIGCHLD is ignored the kernel keeps no exit code: every command that failed or was killed would pass for one
  that ended with 0. Ray ignores it for a process that joins a cluster which ends what actors leave behind. Such a
  process inherits it to those that it starts. May be called from any thread; a handler that somebody has set stays.
  """
  if sys.platform == "linux" and _is_ignored():
    ctypes.CDLL(None).signal(int(signal.SIGCHLD), ctypes.c_void_p(int(signal.SIG_DFL)))


def _is_ignored() -> bool:
  """Whether SIGCHLD is ignored, also where C code set that, which `signal.getsignal` does not see."""
  status = dict(line.split(":", 1) for line in pathlib.Path("/proc/self/status").read_text().splitlines())
  return bool(int(status["SigIgn"], 16) >> (signal.SIGCHLD - 1) & 1)
