"""One process at a time in a folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import platform
from collections.abc import Iterator
from typing import IO


class InUse(OSError):
  """Another process holds the folder; the message names both."""


def lock(path: pathlib.Path, *, otherwise: str) -> IO:
  """Keeps other processes out of a folder until `unlock`, or the end of this process.

  Args:
    path: the folder.
    otherwise: what to do but wait for the other process or stop it, for the error: "choose another --workdir".

  Raises:
    InUse: another process is in it.
  """
  file = open(path / ".lock", "a+", encoding="utf-8")  # noqa: SIM115 (open as long as the folder is held)
  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError as error:
    file.seek(0)
    holder = file.read().strip() or "unknown"
    file.close()
    raise InUse(f"{path} is in use by another process ({holder}): wait for it, stop it, or {otherwise}") from error
  file.truncate(0)
  file.write(f"pid {os.getpid()} on {platform.node()}")
  file.flush()
  return file


def unlock(held: IO) -> None:
  """Lets another process in, and forgets who held the folder: it may be shown to others."""
  with contextlib.suppress(OSError):
    held.truncate(0)
  held.close()


@contextlib.contextmanager
def alone_in(path: pathlib.Path, *, otherwise: str) -> Iterator[None]:
  """The body is the only process in a folder, which is made where it is missing; see `lock`."""
  path.mkdir(parents=True, exist_ok=True)
  held = lock(path, otherwise=otherwise)
  try:
    yield
  finally:
    unlock(held)
