"""Caps on memory and processes of a guest's whole tree, and its share of the cores, where groups can be made.

Resource limits count per process; a control group counts the tree, scratch folder included. What a tree does between
cells gets the least weight that there is. Niceness alone would not do: it can be raised but not taken back, and kernels
that share out the cores by session (autogroup) do not compare it, so that without groups it may count for nothing.

Groups are made under the trainer's own, so that its limits go on to hold, or with version 2 beside it, since there a
group that has processes cannot have groups with controllers. Groups are used again: the kernel keeps a removed one in
memory for as long as any page that it was charged for. Entering one may wait some milliseconds for the kernel; it is no
work. A guest enters by itself (`enter_group.py`); its isolator stays outside.

Sources: Documentation/admin-guide/cgroup-v1/memory.rst and cgroup-v2.rst of the kernel.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import functools
import itertools
import os
import pathlib
import subprocess
import threading
import time
from collections import deque
from typing import NamedTuple

from agentrl.envs.sandbox import enter_group, isolators
from agentrl.envs.sandbox.limits import Limits

_PREFIX = "agentrl"
_WEIGHTS = {"cpu.weight": (1, 100), "cpu.shares": (2, 1024)}  # the least and the usual one, of version 2 and 1
_REMOVE_SECONDS = 1.0
_OVERHEAD_BYTES = 16 << 20  # what the kernel keeps for the tree


class Folders(NamedTuple):
  """One per controller; the same one three times with version 2. `cpu` is None where it cannot be had."""

  memory: pathlib.Path
  pids: pathlib.Path
  cpu: pathlib.Path | None

  def each(self) -> list[pathlib.Path]:
    """Once each, in order."""
    return list(dict.fromkeys(folder for folder in self if folder is not None))

  def named(self, name: str) -> Folders:
    """Those of that name inside these."""
    return Folders(*(None if folder is None else folder / name for folder in self))


@dataclasses.dataclass(frozen=True)
class Group:
  """A group in each of its folders."""

  folders: Folders

  @property
  def procs_files(self) -> list[str]:
    """The files that a process writes "0" to, to enter the group; one to three."""
    return [str(folder / "cgroup.procs") for folder in self.folders.each()]

  def is_empty(self) -> bool:
    """Whether its last process has been reaped: until then it counts, though it is listed no more."""
    return (self.folders.pids / "pids.current").read_text().strip() == "0"

  def weigh(self, is_in_a_cell: bool) -> None:
    """Sets what its processes weigh when cores are scarce; nothing where groups have no weight."""
    cpu = self.folders.cpu
    for name, weights in _WEIGHTS.items():
      if cpu is not None and (cpu / name).exists():
        (cpu / name).write_text(str(weights[is_in_a_cell]))

  def remove(self) -> None:
    for folder in self.folders.each():
      with contextlib.suppress(OSError):
        folder.rmdir()


class Groups:
  """Groups with the same limits, made when needed and lent to one guest at a time.

  Args:
    parents: folders in which to make them.
    limits: of each guest.
  """

  def __init__(self, parents: Folders, limits: Limits):
    self._parents = parents
    self._pid = os.getpid()
    self._memory = limits.memory_bytes + limits.file_bytes + _OVERHEAD_BYTES
    self._processes = limits.processes
    self._lock = threading.Lock()
    self._free: deque[Group] = deque()
    self._made: list[Group] = []
    atexit.register(self.close)

  def acquire(self) -> Group:
    """An empty group: a guest's last processes may outlive its end by a moment.

    Raises:
      OSError: none can be made.
    """
    with self._lock:
      for _ in range(len(self._free)):
        group = self._free.popleft()
        with contextlib.suppress(FileNotFoundError):  # somebody removed it
          if group.is_empty():
            return group
          self._free.append(group)
    group = self._make()
    with self._lock:
      self._made.append(group)
    return group

  def release(self, group: Group) -> None:
    """Takes a group back when its guest was killed."""
    with self._lock:
      self._free.append(group)

  def close(self) -> None:
    """Removes every group; one that does not become empty within a second is left to the next process's sweep."""
    if os.getpid() != self._pid:  # a forked child runs its parent's exit handlers
      return
    deadline = time.monotonic() + _REMOVE_SECONDS
    with self._lock:
      for group in self._made:
        with contextlib.suppress(FileNotFoundError):
          while not group.is_empty() and time.monotonic() < deadline:
            time.sleep(0.01)
        group.remove()
      self._made.clear()
      self._free.clear()

  def _make(self) -> Group:
    name = f"{_PREFIX}-{os.getpid()}-{next(_numbers)}"
    group = Group(self._parents.named(name))
    try:
      for folder in group.folders.each():
        folder.mkdir()
      self._cap(group.folders)
    except OSError:
      group.remove()
      raise
    return group

  def _cap(self, folders: Folders) -> None:
    memory, pids, _ = folders
    (pids / "pids.max").write_text(str(self._processes))
    if (memory / "memory.max").exists():
      (memory / "memory.max").write_text(str(self._memory))
      extra = {"memory.swap.max": 0, "memory.oom.group": 1}
    else:
      (memory / "memory.limit_in_bytes").write_text(str(self._memory))
      extra = {"memory.memsw.limit_in_bytes": self._memory}
    for name, value in extra.items():  # swap is counted only where the kernel was told to
      if (memory / name).exists():
        (memory / name).write_text(str(value))


_numbers = itertools.count()


def groups(limits: Limits) -> Groups | None:
  """The process's groups with these limits; None where it may make none."""
  return _groups(limits, os.getpid())


@functools.lru_cache(maxsize=64)
def _groups(limits: Limits, pid: int) -> Groups | None:
  """A forked child must not share its parent's: hence `pid`."""
  parents = _parents(pid)
  return None if parents is None else Groups(parents, limits)


@functools.lru_cache(maxsize=1)
def _parents(pid: int) -> Folders | None:
  """The folders in which groups for memory and for processes can be made and entered, found by doing so."""
  for parents in _candidates():
    trial = Groups(parents, Limits())
    try:
      for parent in parents.each():
        _sweep(parent)
      can_enter = _can_enter(trial.acquire())
    except OSError:
      continue
    trial.close()
    if can_enter:
      return parents
  return None


def _can_enter(group: Group) -> bool:
  """Whether a process without privileges gets in through files that this one opened."""
  line = [*enter_group.outside(1, group.procs_files), *isolators.demoted(), *enter_group.inside(["/usr/bin/true"])]
  return subprocess.run(line, capture_output=True, cwd="/").returncode == 0


def _candidates() -> list[Folders]:
  """Version 1: this process's own groups. Version 2: its own and the one above."""
  own: dict[str, pathlib.Path] = {}
  for line in _lines("/proc/self/cgroup"):
    number, names, path = line.split(":", 2)
    for name in names.split(","):
      if (folder := _folder("cgroup2" if number == "0" else "cgroup", name, path)) is not None:
        own[name] = folder
  found = []
  if "memory" in own and "pids" in own:
    found += [Folders(own["memory"], own["pids"], cpu) for cpu in dict.fromkeys((own.get("cpu"), None))]
  if "" in own:
    for folder in (own[""], own[""].parent):
      control = folder / "cgroup.subtree_control"
      if control.exists() and {"memory", "pids"} <= set(control.read_text().split()):
        found.append(Folders(folder, folder, folder))
  return found


def _folder(kind: str, controller: str, path: str) -> pathlib.Path | None:
  """Where the group `path` of a hierarchy is mounted."""
  for line in _lines("/proc/self/mountinfo"):
    before, after = line.split(" - ")
    root, mountpoint = before.split()[3:5]
    if after.split()[0] == kind and (not controller or controller in after.split()[2].split(",")):
      inside = os.path.relpath(path, root)
      return None if inside.startswith("..") else pathlib.Path(mountpoint, inside)
  return None


def _lines(path: str) -> list[str]:
  try:
    return pathlib.Path(path).read_text().splitlines()
  except OSError:  # a system without /proc has no groups either
    return []


def _sweep(parent: pathlib.Path) -> None:
  """Removes empty groups of processes that are gone."""
  for folder in parent.glob(f"{_PREFIX}-*-*"):
    if not pathlib.Path("/proc", folder.name.split("-")[1]).exists():
      with contextlib.suppress(OSError):
        folder.rmdir()
