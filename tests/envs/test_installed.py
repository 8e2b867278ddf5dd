import os
import sys

import pytest

from agentrl.envs import installed


def test_a_process_in_another_folder_finds_the_modules_of_this_one(monkeypatch, tmp_path):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(sys, "path", ["", "/lib/a"])
  assert installed.search_path() == os.pathsep.join([str(tmp_path), "/lib/a"])


def test_a_package_is_found_without_importing_it():
  assert (installed.folder_of("agentrl") / "types.py").is_file()
  with pytest.raises(ModuleNotFoundError, match="No module named 'no_such_package'"):
    installed.folder_of("no_such_package")
