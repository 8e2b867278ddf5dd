"""The package alfworld is read as files."""

import sys

import pytest

pytest.importorskip("fast_downward", reason="needs agentrl[alfworld]")
pytest.importorskip("textworld", reason="needs agentrl[alfworld]")
from agentrl.envs.adapters import alfworld as world
from agentrl.envs.adapters.alfworld import package_files


def test_the_package_is_read_and_not_imported():
  """Importing it makes a folder in the user's home."""
  world.generate(0, split="train")
  assert "alfworld" not in sys.modules
  assert package_files.folder().name == "alfworld"
