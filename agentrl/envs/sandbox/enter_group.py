"""The way of a command into a guest: two shells, one before the isolator and one behind it.

The first opens files that a guest cannot see. The second, which already is the guest, moves itself into its control
group through them, says that the command begins, closes them, and becomes the command. So the isolator's monitor, and
its process 1, stay outside the group: however the kernel ends what is in it, somebody is left to tell. The kernel asks
whoever opened such a file, not who writes, for the right to move a process (since Linux 5.16, and in older series that
are still kept).

A shell redirects to single digits only, so the files that the isolator gets have numbers from 10 on (`LOWEST_FD`).
"""

from __future__ import annotations

from collections.abc import Sequence

LOWEST_FD = 10

_OPEN = 'exec 6>"$1" 7>"$2" 8>"$3" 9>"$4"; shift 4; exec "$@"'
_ENTER = """\
for fd in 7 8 9; do echo 0 >&$fd || exit 1; done; echo '{"begun": true}' >&6 && exec "$@" 6>&- 7>&- 8>&- 9>&-"""
_MOST_GROUPS = 3


def outside(status_fd: int, procs_files: Sequence[str]) -> list[str]:
  """The start of an isolator's command line.

  Args:
    status_fd: where the isolator reports; the second shell adds a line, `{"begun": true}`.
    procs_files: files that a process writes "0" to, to enter its groups; three at most.
  """
  padded = [*procs_files, *["/dev/null"] * (_MOST_GROUPS - len(procs_files))]
  return ["/bin/sh", "-c", _OPEN, "sh", f"/proc/self/fd/{status_fd}", *padded]


def inside(command: Sequence[str]) -> list[str]:
  """The command line of the guest that becomes `command`."""
  return ["/bin/sh", "-c", _ENTER, "sh", *command]
