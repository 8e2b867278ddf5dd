"""The tiny run of tests/training, as a config file."""

import pytest

from agentrl.training import loop
from tests.training import conftest as tiny

tiny_config, tiny_experiment, mac = tiny.tiny_config, tiny.tiny_experiment, tiny.mac

FILE = """
from agentrl.training import config, config_file
from tests.training.conftest import QUICKSTART, SETTINGS

def get_config(smoke=False):
  return config.resolve(config_file.load(QUICKSTART, smoke=True), SETTINGS, where=__file__)
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
