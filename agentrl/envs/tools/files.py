"""A folder of files as tools: a scratch folder for each trajectory, which no path leaves."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from agentrl.envs.schema import ToolArgumentError
from agentrl.envs.tool import Toolset, check_positive
from agentrl.envs.tools.paging import page
from agentrl.types import EnvironmentFailed, Task

_NAME_BYTES = 255
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


@dataclasses.dataclass(frozen=True)
class FileLimits:
  """Of one workspace.

  Attributes:
    file_bytes: of one file.
    total_bytes: of all files.
    entries: files and folders together.
    depth: folders within folders.
    page_chars: of a file that one call shows, and of a listing.
  """

  file_bytes: int = 1 << 18
  total_bytes: int = 1 << 22
  entries: int = 200
  depth: int = 8
  page_chars: int = 1600

  def __post_init__(self):
    check_positive(self)


class FileTool(Toolset):
  """Tools over the files of one trajectory. It starts with those of the task's `data["files"]`, path to text.

  A path is walked folder by folder from the scratch folder on, and a link is never followed, so nothing outside can be
  reached, whoever else writes into it.

  Args:
    limits: of the workspace.
  """

  def __init__(self, limits: FileLimits | None = None):
    self._limits = FileLimits() if limits is None else limits
    self._root: Path | None = None

  def reset(self, task: Task, seed: int) -> None:
    """Makes the folder; not a tool.

    Raises:
      ValueError: a file of the task does not fit.
    """
    del seed
    self.close()
    self._root = Path(tempfile.mkdtemp(prefix="agentrl-files-"))
    for path, text in task.data["files"].items() if "files" in task.data else ():
      try:
        self._make_folders(_parts(path)[:-1])
        self.write_file(path, text)
      except ToolArgumentError as error:
        self.close()
        raise ValueError(f"task {task.id}: its file {path!r} cannot be written: {error}") from error

  def close(self) -> None:
    """Removes the folder and all that is in it; not a tool."""
    root, self._root = self._root, None
    if root is not None:
      shutil.rmtree(root, ignore_errors=False)

  def list_files(self, folder: str = "") -> str:
    """Lists the files and folders in a folder, with the size of each file.

    Args:
      folder: path of the folder; empty for the top one.
    """
    with self._folder(self._walk(folder, empty=True)) as at:
      lines = [_entry_line(at, name) for name in sorted(os.listdir(at))]
    shown, room = [], self._limits.page_chars
    for line in lines:
      room -= len(line) + 1
      if room < 0:
        break
      shown.append(line)
    left = len(lines) - len(shown)
    return "\n".join(shown + ([f"[{left} more left out]"] if left else [])) or "[the folder is empty]"

  def read_file(self, path: str, start: int = 0) -> str:
    """Reads a file, a page at a time.

    Args:
      path: of the file.
      start: number of characters to skip.
    """
    text = self._text(path)
    return page(text, start, self._limits.page_chars) if text or start else "[the file is empty]"

  def write_file(self, path: str, text: str) -> str:
    """Writes a file; what was in it before is lost.

    Args:
      path: of the file; its folder must be there.
      text: all that it holds from now on.
    """
    self._store(path, text)
    return f"wrote {len(text)} characters to {path}"

  def append_file(self, path: str, text: str) -> str:
    """Adds text at the end of a file.

    Args:
      path: of the file.
      text: comes after what is in it.
    """
    before = self._text(path)
    self._store(path, before + text)
    return f"{path} has {len(before) + len(text)} characters now"

  def replace_text(self, path: str, old: str, new: str) -> str:
    """Replaces a text that stands in a file once.

    Args:
      path: of the file.
      old: the text as it stands there, long enough to stand there only once.
      new: what comes in its place.
    """
    before = self._text(path)
    count = before.count(old) if old else 0
    if count != 1:
      raise ToolArgumentError(f"the old text stands {count} times in {path}, and must stand there once")
    self._store(path, before.replace(old, new))
    return f"replaced in {path}"

  def delete_file(self, path: str) -> str:
    """Deletes a file, or a folder that is empty.

    Args:
      path: of the file or folder.
    """
    *folders, name = self._walk(path)
    with self._folder(folders) as at:
      try:
        if stat.S_ISDIR(os.lstat(name, dir_fd=at).st_mode):
          os.rmdir(name, dir_fd=at)
        else:
          os.unlink(name, dir_fd=at)
      except OSError as error:
        raise _in_words(error, path) from error
    return f"deleted {path}"

  def make_folder(self, path: str) -> str:
    """Makes a folder, and those that it is in.

    Args:
      path: of the folder.
    """
    self._make_folders(self._walk(path))
    return f"made {path}"

  def _walk(self, path: str, *, empty: bool = False) -> list[str]:
    """The names along a path, checked.

    Raises:
      ToolArgumentError: it would leave the workspace, or no file can be called so.
    """
    parts = _parts(path)
    if not parts and not empty:
      raise ToolArgumentError("the path is empty; name a file or folder")
    if len(parts) > self._limits.depth:
      raise ToolArgumentError(f"the path is {len(parts)} folders deep; at most {self._limits.depth} are allowed")
    return parts

  @contextlib.contextmanager
  def _folder(self, parts: list[str]) -> Iterator[int]:
    """A descriptor of a folder, each step of the way taken without following a link."""
    if self._root is None:
      raise RuntimeError("no workspace is open: call reset(task, seed) first")
    try:
      at = os.open(self._root, _FOLDER)
    except OSError as error:  # its text has the path of the folder, which is not the policy's business
      raise EnvironmentFailed("the scratch folder of the workspace is gone") from error
    try:
      for part in parts:
        try:
          inner = os.open(part, _FOLDER, dir_fd=at)
        except OSError as error:
          raise _in_words(error, "/".join(parts)) from error
        os.close(at)
        at = inner
      yield at
    finally:
      os.close(at)

  def _text(self, path: str) -> str:
    *folders, name = self._walk(path)
    with self._folder(folders) as at:
      try:
        # Without waiting: a pipe in place of a file would never answer.
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=at)
        with os.fdopen(descriptor, "rb") as file:
          if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ToolArgumentError(f"{path} is not a file")
          return file.read(self._limits.file_bytes + 1).decode(errors="replace")
      except OSError as error:
        raise _in_words(error, path) from error

  def _store(self, path: str, text: str) -> None:
    *folders, name = self._walk(path)
    content = text.encode(errors="replace")
    if len(content) > self._limits.file_bytes:
      raise ToolArgumentError(f"a file holds at most {self._limits.file_bytes} bytes; this text has {len(content)}")
    with self._folder(folders) as at:
      try:
        found = os.lstat(name, dir_fd=at)
        if not stat.S_ISREG(found.st_mode):
          raise ToolArgumentError(f"{path} is not a file")
        self._check_room(len(content) - found.st_size, 0)
      except FileNotFoundError:
        self._check_room(len(content), 1)
      try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK
        with os.fdopen(os.open(name, flags, 0o600, dir_fd=at), "wb") as file:
          file.write(content)
      except OSError as error:
        raise _in_words(error, path) from error

  def _make_folders(self, parts: list[str]) -> None:
    for depth in range(len(parts)):
      with self._folder(parts[:depth]) as at:
        if parts[depth] not in os.listdir(at):
          self._check_room(0, 1)
          os.mkdir(parts[depth], 0o700, dir_fd=at)
    with self._folder(parts):  # a file of that name is told
      pass

  def _check_room(self, more_bytes: int, more_entries: int) -> None:
    entries, total = 0, 0
    for folder, folders, files in os.walk(self._root):
      entries += len(folders) + len(files)
      total += sum(os.lstat(os.path.join(folder, name)).st_size for name in files)
    if more_entries and entries + more_entries > self._limits.entries:
      raise ToolArgumentError(f"there are {entries} files and folders; at most {self._limits.entries} are allowed")
    if total + more_bytes > self._limits.total_bytes:
      raise ToolArgumentError(f"all files together hold at most {self._limits.total_bytes} bytes; they have {total}")


def _parts(path: str) -> list[str]:
  if path.startswith(("/", "~")) or "\\" in path:
    raise ToolArgumentError(f"paths start in the workspace and use /: 'notes/a.txt', not {path[:60]!r}")
  parts = [part for part in path.strip().split("/") if part not in ("", ".")]
  for part in parts:
    if part == "..":
      raise ToolArgumentError("a path may not contain '..'")
    if any(ord(letter) < 32 or 0xD800 <= ord(letter) < 0xE000 for letter in part):
      raise ToolArgumentError("a path may not contain control characters")
    if len(part.encode()) > _NAME_BYTES:
      raise ToolArgumentError(f"a name has at most {_NAME_BYTES} bytes; one here has {len(part.encode())}")
  return parts


def _entry_line(at: int, name: str) -> str:
  found = os.lstat(name, dir_fd=at)
  return f"{name}/" if stat.S_ISDIR(found.st_mode) else f"{name} ({found.st_size} bytes)"


def _in_words(error: OSError, path: str) -> Exception:
  """What the policy is told; a full disk is nobody's fault here and comes through."""
  words = {
    FileNotFoundError: f"there is no {path}",
    NotADirectoryError: f"a part of {path} is not a folder",
    IsADirectoryError: f"{path} is a folder",
    FileExistsError: f"{path} is there already",
  }
  if type(error) in words:
    return ToolArgumentError(words[type(error)])
  if error.errno == errno.ENOTEMPTY:
    return ToolArgumentError(f"{path} is a folder that is not empty; delete what is in it first")
  if error.errno == errno.ELOOP:
    return ToolArgumentError(f"{path} leads through a link, and links are not followed")
  return error
