"""A folder of TextWorld's games for the tests of a file, and one of them."""

import pytest


@pytest.fixture(scope="module")
def games(tmp_path_factory):
  from agentrl.envs.adapters.textworld import games as files

  folder = tmp_path_factory.mktemp("games")
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv(files.FOLDER_VARIABLE, str(folder))
    yield folder


@pytest.fixture
def task(games):
  """A coin that is three steps away."""
  from agentrl.envs.adapters import textworld

  return textworld.generate(0, split="train", game="coin", show_commands=True, steps=20)
