"""Keeps the browser driver's supervisor and, when that has ended, removes the browser's folder; run as a script.

However the process ends that has the other end of standard input, be it by SIGKILL, the supervisor
(`envs/supervisor.py`) sees it close and kills the driver and all that descends from it.

usage: python guard.py FOLDER SUPERVISOR [ARGUMENT ...]      standard output is the driver's
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys

LIFELINE = 3  # the number under which the supervisor gets standard input


def main(folder: str, *supervisor: str) -> None:
  """Runs the supervisor until it ends."""
  for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(ignored, signal.SIG_IGN)  # the parent decides: a Ctrl-C in its terminal must not leave a folder
  os.dup2(0, LIFELINE)
  subprocess.run(supervisor, stdin=subprocess.DEVNULL, pass_fds=(LIFELINE,))
  shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
  main(*sys.argv[1:])
