import os

import pytest

from agentrl.envs.sandbox import Limits, cgroup
from agentrl.envs.sandbox.cgroup import Folders, Group, Groups

LIMITS = Limits(memory_bytes=100 << 20, file_bytes=1 << 20, processes=5)


@pytest.fixture
def lines(monkeypatch):
  """Sets what the two files of /proc say."""
  files = {}
  monkeypatch.setattr(cgroup, "_lines", lambda path: files[path].strip().splitlines())

  def set_lines(own, mounts):
    files.update({"/proc/self/cgroup": own, "/proc/self/mountinfo": mounts})

  return set_lines


def fake_kernel(folder, *files):
  """What the kernel puts into a folder that is made."""
  for name in (*files, "pids.max"):
    (folder / name).write_text("max")
  (folder / "pids.current").write_text("0")


def make_folder(monkeypatch, *files):
  mkdir = cgroup.pathlib.Path.mkdir

  def mkdir_and_fill(folder, *arguments):
    mkdir(folder, *arguments)
    fake_kernel(folder, *files)

  monkeypatch.setattr(cgroup.pathlib.Path, "mkdir", mkdir_and_fill)


def test_version_2_sets_memory_swap_and_processes(tmp_path, monkeypatch):
  make_folder(monkeypatch, "memory.max", "memory.swap.max", "memory.oom.group", "cpu.weight")
  group = Groups(Folders(*[tmp_path] * 3), LIMITS).acquire()
  (folder,) = group.folders.each()
  assert group.procs_files == [f"{folder}/cgroup.procs"]
  found = {path.name: path.read_text() for path in folder.iterdir()}
  assert found == {
    "memory.max": str((100 + 1 + 16) << 20),
    "memory.swap.max": "0",
    "memory.oom.group": "1",
    "cpu.weight": "max",
    "pids.max": "5",
    "pids.current": "0",
  }


def test_version_1_has_a_folder_for_each(tmp_path, monkeypatch):
  (tmp_path / "m").mkdir()
  (tmp_path / "p").mkdir()
  (tmp_path / "c").mkdir()
  make_folder(monkeypatch, "memory.limit_in_bytes", "cpu.shares")
  group = Groups(Folders(*(tmp_path / name for name in "mpc")), LIMITS).acquire()
  memory, processes, cpu = group.folders
  assert group.procs_files == [f"{folder}/cgroup.procs" for folder in (memory, processes, cpu)]
  assert (memory / "memory.limit_in_bytes").read_text() == str(117 << 20)
  assert (processes / "pids.max").read_text() == "5"
  assert not (memory / "memory.memsw.limit_in_bytes").exists()  # a kernel that does not count swap


@pytest.mark.parametrize(("name", "light", "usual"), [("cpu.weight", "1", "100"), ("cpu.shares", "2", "1024")])
def test_a_group_is_light_between_cells(tmp_path, name, light, usual):
  group = Group(Folders(tmp_path, tmp_path, tmp_path))
  group.weigh(False)  # a group without the controller
  assert not list(tmp_path.iterdir())
  (tmp_path / name).touch()
  for is_in_a_cell, expected in ((False, light), (True, usual)):
    group.weigh(is_in_a_cell)
    assert (tmp_path / name).read_text() == expected
  Group(Folders(tmp_path, tmp_path, None)).weigh(False)
  assert (tmp_path / name).read_text() == usual


def test_a_group_is_lent_again_once_it_is_empty(tmp_path, monkeypatch):
  make_folder(monkeypatch, "memory.max")
  groups = Groups(Folders(*[tmp_path] * 3), LIMITS)
  first = groups.acquire()
  groups.release(first)
  (first.folders[1] / "pids.current").write_text("1\n")  # of its guest something is still dying
  second = groups.acquire()
  assert second.folders != first.folders
  (first.folders[1] / "pids.current").write_text("0\n")
  assert groups.acquire() is first


def test_a_group_that_somebody_removed_is_not_lent(tmp_path, monkeypatch):
  make_folder(monkeypatch, "memory.max")
  groups = Groups(Folders(*[tmp_path] * 3), LIMITS)
  first = groups.acquire()
  groups.release(first)
  (first.folders[1] / "pids.current").unlink()
  assert groups.acquire().folders != first.folders
  assert not groups._free


def test_a_forked_child_leaves_its_parents_groups(tmp_path, monkeypatch):
  make_folder(monkeypatch, "memory.max")
  groups = Groups(Folders(*[tmp_path] * 3), LIMITS)
  groups.acquire()
  monkeypatch.setattr(os, "getpid", lambda: -1)
  groups.close()
  assert groups._made


def test_candidates_of_version_1(lines):
  lines(
    "8:pids:/job\n4:cpu,memory:/job\n0::/",
    "1 2 0:1 / /cg/memory rw - cgroup cgroup rw,cpu,memory\n1 2 0:2 /job /cg/pids rw - cgroup cgroup rw,pids",
  )
  memory, pids = cgroup.pathlib.Path("/cg/memory/job"), cgroup.pathlib.Path("/cg/pids")
  assert cgroup._candidates() == [(memory, pids, memory), (memory, pids, None)]


@pytest.mark.parametrize("delegated", ["own", "above", "none"])
def test_candidates_of_version_2(lines, tmp_path, delegated):
  own = tmp_path / "a" / "b"
  own.mkdir(parents=True)
  for name, folder in (("own", own), ("above", own.parent)):
    (folder / "cgroup.subtree_control").write_text("cpu memory pids" if name == delegated else "cpu")
  lines("0::/a/b", f"1 2 0:1 / {tmp_path} rw - cgroup2 cgroup2 rw")
  expected = {"own": [(own,) * 3], "above": [(own.parent,) * 3], "none": []}
  assert cgroup._candidates() == expected[delegated]


def test_a_hierarchy_that_is_mounted_elsewhere_is_no_candidate(lines):
  lines("4:memory:/other\n8:pids:/other", "1 2 0:1 /job /cg rw - cgroup cgroup rw,memory,pids")
  assert cgroup._candidates() == []


def test_without_a_writable_group_there_are_none(monkeypatch, tmp_path):
  monkeypatch.setattr(cgroup, "_candidates", lambda: [Folders(*[tmp_path / "missing"] * 3)])
  assert cgroup._parents.__wrapped__(os.getpid()) is None


def test_where_nobody_can_enter_there_are_none(monkeypatch, tmp_path):
  """As on version 2, for a process that may make groups but not leave its own."""
  make_folder(monkeypatch, "memory.max")
  monkeypatch.setattr(cgroup, "_candidates", lambda: [Folders(*[tmp_path] * 3)])
  assert cgroup._parents.__wrapped__(os.getpid()) == (tmp_path,) * 3
  monkeypatch.setattr(Group, "procs_files", ["/dev/full"])
  assert cgroup._parents.__wrapped__(os.getpid()) is None


def test_empty_groups_of_processes_that_are_gone_are_swept(tmp_path):
  for name in ("agentrl-999999999-0", f"agentrl-{os.getpid()}-0", "other-999999999-0"):
    (tmp_path / name).mkdir()
  cgroup._sweep(tmp_path)
  assert {path.name for path in tmp_path.iterdir()} == {f"agentrl-{os.getpid()}-0", "other-999999999-0"}
