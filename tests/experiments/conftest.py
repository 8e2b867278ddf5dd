"""The tiny run of tests/training, as a config file."""

import pytest

from agentrl.training import loop
from tests.training import conftest as tiny

mac = tiny.mac

FILE = """
from tests.training import tiny

def get_config(smoke=False):
  return tiny.make_config()
"""


@pytest.fixture
def config_file(tmp_path):
  file = tmp_path / "tiny.py"
  file.write_text(FILE)
  return file


@pytest.fixture
def compiled_once(tiny_experiment, monkeypatch):
  """Lets every run of the tiny config share its compiled functions."""
  monkeypatch.setattr(loop, "build_experiment", lambda config: tiny_experiment())
