"""What every function of the table owes: a word on itself, settings that a config can hold, a part for each episode."""

import json

import pytest

from agentrl.named import settings_of
from agentrl.rewards import REWARDS
from agentrl.types import EnvironmentFailed, Task, TurnKind
from tests.rewards.test_parts import trajectory

TASK = Task(id="t-0", family="tests", question="?")
REQUIRED = {
  "fewest_tool_calls": {"smoothing": 1.0},
  "soft_overlong": {"max_tokens": 8, "buffer": 4},
  "thought_length": {"target": 4.0},
}


@pytest.mark.parametrize("name", REWARDS)
def test_its_settings_fit_into_a_config(name):
  assert REWARDS[name].__doc__.strip()
  settings = settings_of(REWARDS[name])
  assert json.loads(json.dumps(settings)) == settings


@pytest.mark.parametrize("name", REWARDS)
def test_each_episode_gets_a_part(name):
  episodes = [trajectory(TurnKind.ANSWER, given={"correct": 1.0}), trajectory(TurnKind.VOID, given={"correct": 0.0})]
  worth = REWARDS[name](episodes, TASK, {}, **REQUIRED.get(name, {}))
  assert len(worth) == 2
  for part, episode in zip(worth, episodes, strict=True):
    one = isinstance(part, EnvironmentFailed | float | int)
    assert one or len(part) == len(episode.turns)
