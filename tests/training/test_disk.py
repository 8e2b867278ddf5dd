import errno
import os

import pytest

from agentrl.training import disk


def test_an_atomic_write_leaves_the_old_file_when_it_fails(tmp_path, monkeypatch):
  path = tmp_path / "a.json"
  disk.write_atomically(path, b"old")

  def full(_):
    raise OSError(errno.ENOSPC, "No space left on device")

  monkeypatch.setattr(disk.os, "fsync", full)
  with pytest.raises(disk.DiskFullError, match=rf"could not write {path} \(\d+ MiB free\)"):
    disk.write_atomically(path, b"new")
  assert path.read_bytes() == b"old"
  assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_two_who_write_one_file_at_once_do_not_spoil_it(tmp_path, monkeypatch):
  """The second writes all of its content between the first one's writing and renaming."""
  path, sync, waiting = tmp_path / "a.json", os.fsync, [b"of the second"]

  def second_comes(descriptor):
    sync(descriptor)
    if waiting:
      disk.write_atomically(path, waiting.pop())
      assert path.read_bytes() == b"of the second"

  monkeypatch.setattr(disk.os, "fsync", second_comes)
  disk.write_atomically(path, b"first")
  assert path.read_bytes() == b"first"
  assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_a_real_full_device_is_named(tmp_path):
  with open("/dev/full", "wb", buffering=0) as file, pytest.raises(disk.DiskFullError, match="last checkpoint"):
    with disk.explain_full_disk(tmp_path):
      file.write(b"x")


def test_a_full_disk_wrapped_by_a_library_is_recognised(tmp_path):
  with pytest.raises(disk.DiskFullError), disk.explain_full_disk(tmp_path / "x"):
    raise ValueError("RESOURCE_EXHAUSTED: error writing: No space left on device [os_error_code='28']")


def test_other_errors_pass_through(tmp_path):
  with pytest.raises(PermissionError), disk.explain_full_disk(tmp_path):
    raise PermissionError(errno.EACCES, "no")


def test_a_full_disk_is_named_where_not_even_the_folder_could_be_made(tmp_path):
  with pytest.raises(disk.DiskFullError, match=r"MiB free"), disk.explain_full_disk(tmp_path / "a" / "b" / "c"):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_json_file_that_holds_none_is_named_with_what_to_do(tmp_path):
  (tmp_path / "a.json").write_text('{"b": 1}')
  assert disk.read_json(tmp_path / "a.json", "") == {"b": 1}
  for content in (b"", b"{", b"\xff\xfe\x00"):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.json is damaged, it holds no JSON \(.*\): throw it away"):
      disk.read_json(tmp_path / "a.json", "throw it away")
