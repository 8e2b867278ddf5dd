"""Value-guided sparse rollouts without a device: the best leaf is taken, whatever comes first and whatever fails."""

import dataclasses
import itertools
import random

import numpy as np
import pytest

from agentrl.rollout.search.record import describe
from agentrl.rollout.search.value_guided import ValueGuided
from agentrl.types import EnvironmentFailed, StopReason
from tests.rollout.search.test_planner import SEARCH, TOKENIZER, Answers, grow, shape

LEAVES = dataclasses.replace(SEARCH, width=5)


def guided(**settings):
  return grow(LEAVES, planner=ValueGuided, **settings)


@pytest.mark.parametrize("uid", range(4))
def test_every_step_taken_is_the_best_of_its_siblings(uid):
  planner = guided(uid=uid)
  assert planner.chosen and planner.chosen[-1].terminal
  for node in planner.chosen:
    siblings = node.parent.children
    assert node.value == max(sibling.value for sibling in siblings) and 1 < len(siblings) <= 5
    assert all(sibling.visits >= 1 for sibling in siblings)
  below = {id(child) for node in [planner.prompt_node, *planner.chosen] for child in node.children}
  assert below == {id(n) for n in planner.prompt_node.walk()} - {id(planner.prompt_node)}  # nothing else was sampled


def test_the_path_is_what_was_sampled_and_has_its_reward():
  stops = set()
  for uid in range(8):
    planner = guided(uid=uid)
    t = planner.trajectory
    assert t.tokens[t.action_mask].tolist() == [token for node in planner.chosen for token in node.step.tokens]
    answered = t.stop is StopReason.ANSWERED
    assert t.reward == (float("c" in TOKENIZER.decode(t.tokens[t.action_mask])) if answered else -1.0)
    stops.add(t.stop)
  assert stops == {StopReason.ANSWERED, StopReason.LENGTH_LIMIT}  # the other one is cut at search.depth
  nodes = describe(planner, TOKENIZER)["nodes"]
  assert sum(node["chosen"] for node in nodes) == len(planner.chosen)


def test_what_ends_first_changes_nothing():
  wanted = guided()
  for seed in range(5):
    other = guided(order=random.Random(seed))
    assert shape(other.prompt_node) == shape(wanted.prompt_node)
    np.testing.assert_array_equal(other.trajectory.tokens, wanted.trajectory.tokens)


def test_rewards_are_not_looked_at():
  class Generous(Answers):
    def step(self, action):
      return dataclasses.replace(super().step(action), parts={"correct": float("a" in action.text)})

  np.testing.assert_array_equal(guided(environment=Generous).trajectory.tokens, guided().trajectory.tokens)


def test_where_an_environment_fails_the_next_best_is_taken():
  uid, best = next((u, t) for u in range(8) if (t := guided(uid=u).trajectory).stop is StopReason.ANSWERED)
  text = TOKENIZER.decode(best.tokens[best.action_mask]).removesuffix("<|im_end|>")

  class Fails(Answers):
    def step(self, action):
      if action.text == text:
        raise EnvironmentFailed("at the best one")
      return super().step(action)

  planner = guided(environment=Fails, uid=uid)
  assert any(node.barred for node in planner.prompt_node.walk())
  assert not planner.trajectory.failed and planner.trajectory.tokens.tolist() != best.tokens.tolist()
  for node in planner.chosen:
    assert node.value == max(sibling.value for sibling in node.parent.choices())


def test_where_it_always_fails_there_is_no_reward():
  opened = itertools.count()

  class Broken(Answers):
    def reset(self, task, seed):
      if next(opened):  # the first is asked for the prompt
        raise EnvironmentFailed("always")
      return super().reset(task, seed)

  planner = guided(environment=Broken)
  assert planner.trajectory.failed and planner.trajectory.reward is None and planner.prompt_node.barred
