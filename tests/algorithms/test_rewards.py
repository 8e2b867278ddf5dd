"""Every algorithm reads one carrier of reward: what the turns earned, and their sum, say the same to all of them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from agentrl import algorithms
from agentrl.rewards.combine import assign, make_reward
from agentrl.training import config_values
from agentrl.types import Task, Turn, TurnKind

TASK = Task("t", "tests", "?")
# What the environment gave for the turns of two games. A game's part "return" is their sum: -2 and -4.
COSTS = ((-0.5, -1.5), (-3.0, -1.0))
# Weights of a reward, and what the two games are worth then.
REWARDS = {
  "none of it": ({"return": 0.0}, (0.0, 0.0)),
  "at the end": ({"return": 1.0}, (-2.0, -4.0)),
  "turn by turn": ({"turn_rewards": 1.0, "return": 0.0}, (-2.0, -4.0)),
  "and more at the end": ({"turn_rewards": 1.0, "correct": 3.0}, (1.0, -4.0)),
}


def at_first(name):
  """Reads a column at the first sampled token of each game."""

  def read(batch, metrics):
    owner, offset = np.asarray(batch.action_sequence), np.asarray(batch.action_offset)
    firsts = [np.min(offset[owner == n]) for n in (0, 1)]
    return [float(np.asarray(batch.columns[name])[(owner == n) & (offset == firsts[n])][0]) for n in (0, 1)]

  return read


# By algorithm: settings under which its batch shows the whole reward, where, and what stands there for two rewards.
READS = {
  "grpo": ({"credit": "dr_grpo"}, at_first("advantages"), lambda a, b: [(a - b) / 2, (b - a) / 2]),
  "ppo": ({"credit_options": {"gae_lambda": 1.0, "whiten": False}}, at_first("advantages"), lambda a, b: [a, b]),
  "tree_distill": ({"credit": "reward"}, at_first("returns"), lambda a, b: [a, b]),
  "sft": ({"min_reward": -3.0}, lambda batch, metrics: float(metrics["sft/kept"]), lambda a, b: (1 + (b >= -3)) / 2),
  "archer": (
    {"discount": 1.0},
    lambda batch, metrics: batch.observed_return[:, 0].tolist(),
    lambda a, b: [a, b],
  ),
}


def games(trajectories, weights):
  """Two of the recorded dialogues, with the rewards that the weights make of `COSTS`; the first one was won."""
  played = []
  for t, costs, won in zip(trajectories, COSTS, (1.0, 0.0), strict=False):
    turns = [Turn(TurnKind.ANSWER, u.start, u.end, "", reward=r) for u, r in zip(t.turns, costs, strict=True)]
    played.append(dataclasses.replace(t, turns=turns, reward=None, reward_parts={"return": sum(costs), "correct": won}))
  return assign(make_reward(weights, {}), played, TASK, {})[0]


@pytest.mark.parametrize("weights", REWARDS)
@pytest.mark.parametrize("name", algorithms.ALGORITHMS)
def test_the_reward_of_a_game_is_what_its_turns_earned_to_every_algorithm(name, weights, policy, params, trajectories):
  overrides, read, wanted = READS[name]
  module = algorithms.load(name)
  settings = config_values.resolve(module.default_config(), overrides, where="test")
  asks = policy._replace(max_turns=2, sampler=lambda *_: pytest.fail("nothing is to be sampled"))
  algorithm = module.make(asks, optax.sgd(1.0), settings)
  state = algorithm.init(jax.random.key(0), jax.tree.map(jnp.copy, params))
  given, (first, second) = REWARDS[weights]
  np.testing.assert_allclose(read(*algorithm.prepare(state, games(trajectories, given))), wanted(first, second))
