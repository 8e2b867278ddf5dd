"""A folder that one process holds is closed to others, which are told who has it."""

import os

import pytest

from agentrl.training.lock import InUse, alone_in


def test_a_folder_is_held_by_one_at_a_time(tmp_path):
  with alone_in(tmp_path / "made", otherwise="give another --out"):
    with pytest.raises(InUse, match=rf"made is in use .* \(pid {os.getpid()} on .*, stop it, or give another --out"):
      with alone_in(tmp_path / "made", otherwise="give another --out"):
        pytest.fail("two hold it")
    assert (tmp_path / "made" / ".lock").read_text().startswith("pid ")
  with alone_in(tmp_path / "made", otherwise=""):
    pass
  assert (tmp_path / "made" / ".lock").read_text() == ""
