"""Gymnasium's toy-text environments."""

import contextlib

import pytest

pytest.importorskip("gymnasium", reason="needs agentrl[gymnasium]")
pytest.importorskip("minigrid", reason="needs agentrl[gymnasium]")
from agentrl import envs
from agentrl.envs.adapters.gymnasium import generate
from agentrl.types import Action, TurnKind


def say(text):
  return Action(TurnKind.ANSWER, text, answer=text)


def play(source, task, actions):
  with contextlib.closing(source.environment()) as environment:
    environment.reset(task, 0)
    return [environment.step(action) for action in actions]


def test_a_slippery_lake_is_the_same_for_oracle_and_policy():
  options = {"arguments": {"is_slippery": True}, "turns": 200}
  source = envs.make("gymnasium", "", options=options)
  ends = [play(source, task, source.oracle(task))[-1] for task in map(source.task, range(20), ["train"] * 20)]
  assert all(end.done for end in ends)
  assert sum(end.parts["correct"] for end in ends) > 10


def test_a_hole_ends_the_episode_unsolved():
  source = envs.make("gymnasium", "")
  task = generate(0, split="train", arguments={"desc": None, "map_name": "4x4"})
  seen = play(source, task, [say("right"), say("down")])
  assert (seen[-1].done, seen[-1].parts["correct"]) == (True, 0.0)
