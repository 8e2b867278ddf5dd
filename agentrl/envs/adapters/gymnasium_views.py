"""How Gymnasium environments are told in words, and how the known ones are solved."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np

_ESCAPE_CODES = re.compile(r"\x1b\[[0-9;]*m")
_DISCOUNT = 0.99  # of planning: below 1, so that shorter ways are better
_TOLERANCE = 1e-9


def tell(world: gymnasium.Env, observation: Any) -> str:
  """Text as it is; else what the environment renders as text, without escape codes; else the values as JSON."""
  if isinstance(observation, str):
    return observation
  if world.render_mode == "ansi":
    return _ESCAPE_CODES.sub("", world.render()).strip("\n")
  return json.dumps(observation, default=lambda value: np.asarray(value).tolist())


def _no_arguments(difficulty: int, seed: int) -> Mapping[str, Any]:
  del difficulty, seed
  return {}


@dataclasses.dataclass(frozen=True)
class View:
  """An environment in words.

  Attributes:
    actions: their names, in order; empty for numbers.
    rules: what the policy is told first.
    describe: the text of an observation.
    content: what makes a start the same as another, from the environment and its first observation.
    arguments: of `gymnasium.make`, from difficulty and seed; JSON values.
    solve: from an environment that was reset to a function that chooses an action for each observation; None: nobody
      knows how.
    difficulties: how many there are.
    success_reward: an episode is solved where the environment ends it with a reward above this.
    idle_reward: of a step that achieves nothing.
  """

  actions: tuple[str, ...] = ()
  rules: str = ""
  describe: Callable[[gymnasium.Env, Any], str] = tell
  content: Callable[[gymnasium.Env, Any], str] = tell
  arguments: Callable[[int, int], Mapping[str, Any]] = _no_arguments
  solve: Callable[[gymnasium.Env], Callable[[Any], int]] | None = None
  difficulties: int = 1
  success_reward: float = 0.0
  idle_reward: float = 0.0


def known(env_id: str) -> View:
  """The view of an environment, by the beginning of its id; that of any environment where there is none."""
  for prefix, make in _VIEWS.items():
    if env_id.startswith(prefix):
      return make()
  return View()


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


def _frozen_lake() -> View:
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


def _cliff_walking() -> View:
  def describe(world: gymnasium.Env, observation: Any) -> str:
    cells = np.full(world.unwrapped.shape, ".")
    cells[world.unwrapped._cliff] = "C"
    cells[-1, 0], cells[-1, -1] = "S", "G"
    return _grid(cells, int(observation))

  rules = "Walk to the goal (G). The cliff (C) costs 100 and takes you back to the start (S). You are the P on the map."
  return View(
    ("up", "right", "down", "left"), rules, describe, _seeded, solve=plan, success_reward=-2.0, idle_reward=-1.0
  )


def _taxi() -> View:
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


def _babyai() -> View:
  from agentrl.envs.adapters import minigrid_view

  return minigrid_view.BABYAI


def _minigrid() -> View:
  from agentrl.envs.adapters import minigrid_view

  return minigrid_view.VIEW


def _seeded(world: gymnasium.Env, observation: Any) -> str:
  """Starts that all look alike differ in their seed alone."""
  return str(world.unwrapped.np_random_seed)


def _grid(cells: np.ndarray, position: int) -> str:
  shown = cells.copy()
  shown[np.unravel_index(position, cells.shape)] = "P"
  return "\n".join("".join(row) for row in shown)


# By the beginning of an id.
_VIEWS: Mapping[str, Callable[[], View]] = {
  "FrozenLake": _frozen_lake,
  "CliffWalking": _cliff_walking,
  "Taxi": _taxi,
  "BabyAI": _babyai,
  "MiniGrid": _minigrid,
}
