"""How an observation is told where no view says it."""

import pytest

pytest.importorskip("gymnasium", reason="needs agentrl[gymnasium]")
pytest.importorskip("minigrid", reason="needs agentrl[gymnasium]")
from agentrl.envs.adapters.gymnasium.view import tell


def test_an_environment_that_renders_text():
  text = tell(*generate_started("FrozenLake-v1", render_mode="ansi"))
  assert text.splitlines()[-4:] == ["SFFF", "FHFH", "FFFH", "HFFG"]


def generate_started(env, **arguments):
  import gymnasium

  world = gymnasium.make(env, **arguments)
  return world, world.reset(seed=0)[0]
