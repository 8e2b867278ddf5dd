"""MiniGrid and BabyAI levels in words: what stands where in the field of view, as seen from the agent.

The package minigrid (MIT licence) renders pixels; these sentences are our own. BabyAI's expert bot plays the
demonstrations of its levels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import minigrid  # noqa: F401, registers the levels
import numpy as np
from minigrid.core.constants import IDX_TO_COLOR, IDX_TO_OBJECT, OBJECT_TO_IDX, STATE_TO_IDX
from minigrid.envs.babyai.core import roomgrid_level
from minigrid.utils.baby_ai_bot import BabyAIBot

from agentrl.envs.adapters.gymnasium.view import View

# It prints a line for every draft of a level that it rejects, between the lines of a progress bar.
vars(roomgrid_level)["print"] = lambda *words: None

_RULES = (
  "You are in a world of rooms and see what is in front of you. Carry out the mission. "
  "You pick up, and open, what is one step forward."
)
_NOT_TOLD = [OBJECT_TO_IDX[name] for name in ("unseen", "empty", "floor", "wall")]
_STATES = {number: name for name, number in STATE_TO_IDX.items()}


def describe(world: gymnasium.Env, observation: Any) -> str:
  """Mission, what is carried, things nearest first, and how far the walls are."""
  image = observation["image"]
  agent = np.array([image.shape[0] // 2, image.shape[1] - 1])
  cells = [(x, y) for x, y in np.ndindex(image.shape[:2]) if image[x, y, 0] not in _NOT_TOLD and (x, y) != tuple(agent)]
  cells.sort(key=lambda cell: (int(np.abs(agent - cell).sum()), cell))
  things = [f"{_named(image[cell])} {_where(cell[0] - agent[0], agent[1] - cell[1])}" for cell in cells]
  carried = world.unwrapped.carrying
  lines = [
    f"Mission: {observation['mission']}.",
    *([f"You carry a {carried.color} {carried.type}."] if carried else []),
    f"You see: {', '.join(things) or 'nothing'}.",
    *_walls(image, agent),
  ]
  return "\n".join(lines)


def _content(world: gymnasium.Env, observation: Any) -> str:
  """The whole level: what is seen first may be the same in many."""
  return f"{observation['mission']} {world.unwrapped.pprint_grid()}"


def _named(cell: np.ndarray) -> str:
  kind, color, state = IDX_TO_OBJECT[int(cell[0])], IDX_TO_COLOR[int(cell[1])], int(cell[2])
  words = f"{_STATES[state]} {color} {kind}" if kind == "door" else f"{color} {kind}"
  return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _where(right: int, forward: int) -> str:
  """Such as "2 steps forward and 1 step right"."""
  parts = [(forward, "forward"), (right, "right"), (-right, "left")]
  return " and ".join(f"{_steps(count)} {way}" for count, way in parts if count > 0)


def _steps(count: int) -> str:
  return f"{count} step{'' if count == 1 else 's'}"


def _walls(image: np.ndarray, agent: np.ndarray) -> list[str]:
  """The first wall ahead, to the left and to the right, where one is seen."""
  seen = []
  for way, step in (("forward", (0, -1)), ("left", (-1, 0)), ("right", (1, 0))):
    for count in range(1, max(image.shape)):
      cell = agent + count * np.array(step)
      if not ((cell >= 0).all() and (cell < image.shape[:2]).all()):
        break
      if image[cell[0], cell[1], 0] == OBJECT_TO_IDX["wall"]:
        seen.append(f"{_steps(count)} {way}")
        break
  return [f"Walls: {', '.join(seen)}."] if seen else []


def _bot(world: gymnasium.Env) -> Callable[[Any], int]:
  """BabyAI's expert, which knows the whole level and is told what it did last."""
  bot, last = BabyAIBot(world.unwrapped), []

  def choose(observation: Any) -> int:
    del observation
    last.append(int(bot.replan(last[-1] if last else None)))
    return last[-1]

  return choose


_ACTIONS = ("turn left", "turn right", "go forward", "pick up", "drop", "toggle", "done")
VIEW = View(_ACTIONS, _RULES, describe, _content)  # of MiniGrid's own levels, whose missions the bot does not read
BABYAI = View(_ACTIONS, _RULES, describe, _content, solve=_bot)
