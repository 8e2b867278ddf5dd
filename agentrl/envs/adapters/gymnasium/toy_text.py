"""Gymnasium's toy-text environments in words, and their best plays, by value iteration over their tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np

from agentrl.envs.adapters.gymnasium.view import View

_DISCOUNT = 0.99  # of planning: below 1, so that shorter ways are better
_TOLERANCE = 1e-9


def plan(world: gymnasium.Env) -> Callable[[Any], int]:
  """Best actions by value iteration on the table `P[state][action] = [(probability, next, reward, over), ...]`."""
  table = world.unwrapped.P
  values = np.zeros(len(table))
  while True:
    q = np.array([[_expected(outcomes, values) for outcomes in table[state].values()] for state in range(len(table))])
    change, values = np.max(np.abs(q.max(axis=1) - values)), q.max(axis=1)
    if change < _TOLERANCE:
      return lambda observation: int(np.argmax(q[observation]))


def _expected(outcomes: Any, values: np.ndarray) -> float:
  return sum(p * (reward + (0.0 if over else _DISCOUNT * values[state])) for p, state, reward, over in outcomes)


def frozen_lake() -> View:
  """FrozenLake that is not slippery, on a map that grows with the difficulty."""
  from gymnasium.envs.toy_text.frozen_lake import generate_random_map

  def arguments(difficulty: int, seed: int) -> Mapping[str, Any]:
    return {"desc": generate_random_map(3 + difficulty, seed=seed % 2**31), "is_slippery": False}

  def describe(world: gymnasium.Env, observation: Any) -> str:
    return _grid(world.unwrapped.desc.astype(str), int(observation))

  rules = (
    "Cross the frozen lake from the upper left (S) to the goal (G) without stepping into a hole (H). "
    "You are the P on the map; F is frozen."
  )
  return View(("left", "down", "right", "up"), rules, describe, describe, arguments, plan, difficulties=9)


def cliff_walking() -> View:
  """CliffWalking, whose map is drawn."""

  def describe(world: gymnasium.Env, observation: Any) -> str:
    cells = np.full(world.unwrapped.shape, ".")
    cells[world.unwrapped._cliff] = "C"
    cells[-1, 0], cells[-1, -1] = "S", "G"
    return _grid(cells, int(observation))

  rules = "Walk to the goal (G). The cliff (C) costs 100 and takes you back to the start (S). You are the P on the map."
  return View(
    ("up", "right", "down", "left"), rules, describe, _seeded, solve=plan, success_reward=-2.0, idle_reward=-1.0
  )


def taxi() -> View:
  """Taxi, in sentences."""
  places = ("at the red stand", "at the green stand", "at the yellow stand", "at the blue stand", "in the taxi")

  def describe(world: gymnasium.Env, observation: Any) -> str:
    row, column, passenger, goal = world.unwrapped.decode(int(observation))
    return (
      f"The taxi is in row {row}, column {column}. The passenger is {places[passenger]} and wants to be {places[goal]}."
    )

  rules = (
    "Drive the taxi to the passenger, pick the passenger up, drive to where the passenger wants to be, and drop the "
    "passenger off. Rows and columns count from 0 at the upper left (north west). A bar on the map is a wall, a colon "
    "is none; R, G, Y and B are the red, green, yellow and blue stand.\n"
    "+---------+\n|R: | : :G|\n| : | : : |\n| : : : : |\n| | : | : |\n|Y| : |B: |\n+---------+"
  )
  actions = ("south", "north", "east", "west", "pick up", "drop off")
  return View(actions, rules, describe, describe, solve=plan, idle_reward=-1.0)


def _seeded(world: gymnasium.Env, observation: Any) -> str:
  """Starts that all look alike differ in their seed alone."""
  return str(world.unwrapped.np_random_seed)


def _grid(cells: np.ndarray, position: int) -> str:
  shown = cells.copy()
  shown[np.unravel_index(position, cells.shape)] = "P"
  return "\n".join("".join(row) for row in shown)
