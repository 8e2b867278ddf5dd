"""The Gymnasium environments whose view is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from agentrl.envs.adapters.gymnasium import toy_text
from agentrl.envs.adapters.gymnasium.view import View


def _babyai() -> View:
  from agentrl.envs.adapters.gymnasium import minigrid_view

  return minigrid_view.BABYAI


def _minigrid() -> View:
  from agentrl.envs.adapters.gymnasium import minigrid_view

  return minigrid_view.VIEW


# By the beginning of an id.
_VIEWS: Mapping[str, Callable[[], View]] = {
  "FrozenLake": toy_text.frozen_lake,
  "CliffWalking": toy_text.cliff_walking,
  "Taxi": toy_text.taxi,
  "BabyAI": _babyai,
  "MiniGrid": _minigrid,
}


def known(env_id: str) -> View:
  """The view of an environment, by the beginning of its id; that of any environment where there is none."""
  for prefix, make in _VIEWS.items():
    if env_id.startswith(prefix):
      return make()
  return View()
