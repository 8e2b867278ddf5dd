"""Writing files that survive being killed, and a full disk that says so."""

import contextlib
import errno
import os
import pathlib
import shutil
from collections.abc import Iterator

FULL = (errno.ENOSPC, errno.EDQUOT)


class DiskFullError(OSError):
  """A write into a run folder failed for want of space; the message names the folder and the free space."""


def write_atomically(path: pathlib.Path, data: bytes) -> None:
  """Writes `path` so that a reader, or a restart after a kill, sees the old content or all of the new one."""
  temporary = path.with_name(f".{path.name}.tmp")
  with explain_full_disk(path):
    with open(temporary, "wb") as file:
      file.write(data)
      file.flush()
      os.fsync(file.fileno())
    os.replace(temporary, path)


@contextlib.contextmanager
def explain_full_disk(path: pathlib.Path) -> Iterator[None]:
  """Turns a 'no space left' of the body, which writes to `path`, into a `DiskFullError`.

  Storage libraries wrap the system's error in exceptions of their own, so their text is read too.
  """
  try:
    yield
  except DiskFullError:
    raise
  except Exception as error:
    if not _is_full(error):
      raise
    folder = path if path.is_dir() else path.parent
    free = shutil.disk_usage(folder).free
    raise DiskFullError(
      errno.ENOSPC,
      f"the disk is full: could not write {path} ({free / 2**20:.0f} MiB free). Free some space and start the same "
      "command again: it goes on from the last checkpoint, which is intact",
    ) from error


def _is_full(error: BaseException | None) -> bool:
  while error is not None:
    if isinstance(error, OSError) and error.errno in FULL:
      return True
    if "No space left on device" in str(error) or "Disk quota exceeded" in str(error):
      return True
    error = error.__cause__ or error.__context__
  return False
