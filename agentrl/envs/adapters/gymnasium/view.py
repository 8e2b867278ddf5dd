"""What it takes to tell a Gymnasium environment in words."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np

_ESCAPE_CODES = re.compile(r"\x1b\[[0-9;]*m")


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
