"""Writing files that survive being killed, a full disk that says so, and JSON files that are damaged."""

import contextlib
import errno
import json
import os
import pathlib
import secrets
import shutil
from collections.abc import Iterator
from typing import Any

FULL = (errno.ENOSPC, errno.EDQUOT)


class DiskFullError(OSError):
  """A write into a run folder failed for want of space; the message names the folder and the free space."""


def write_atomically(path: pathlib.Path, data: bytes) -> None:
  """Writes `path` so that a reader, or a restart after a kill, sees the old content or all of the new one.

  Of several who write it at once each has a temporary file of its own, and the last one's content stays.
  """
  temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
  with explain_full_disk(path):
    try:
      with open(temporary, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
      os.replace(temporary, path)
    finally:
      temporary.unlink(missing_ok=True)


def read_json(path: pathlib.Path, advice: str) -> Any:
  """What a JSON file holds.

  Args:
    advice: what to do about a damaged one, for the error.

  Raises:
    ValueError: it holds no JSON.
  """
  try:
    return json.loads(path.read_bytes())
  except ValueError as error:
    raise ValueError(f"{path} is damaged, it holds no JSON ({error}): {advice}") from error


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
    folder = next(place for place in (path, *path.absolute().parents) if place.is_dir())
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
