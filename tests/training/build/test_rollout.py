"""From the sections about sampling to what samples, and gives rewards."""

import math
import types

import pytest

from agentrl.rewards.combine import Reward
from agentrl.rollout.strategies.contract import Sampler
from agentrl.training.build.rollout import RolloutSettings, make_collector
from agentrl.training.collect import of_the_group, of_the_sample
from agentrl.types import TurnKind

REWARD, SAMPLER = Reward({"correct": 1.0}, {}), Sampler(sample=lambda collection: None)


def made(pools=(), **settings):
  return make_collector(RolloutSettings(**settings), REWARD, SAMPLER, types.SimpleNamespace(pools=pools))


def test_limits_reach_the_collector():
  limits = {"max_tokens": 40, "max_turns": 5, "turn_tokens": 7, "workers": 3}
  collector = made(**limits)
  assert {name: getattr(collector, name) for name in limits} == limits
  assert (collector.sampler, collector.reward) == (SAMPLER, REWARD)


def test_names_become_kinds_of_turns_and_functions():
  assert made().end_on == frozenset() and made().seed_of is of_the_group
  assert made(end_on=("void", "malformed")).end_on == {TurnKind.VOID, TurnKind.MALFORMED}
  assert made(seeds="sample").seed_of is of_the_sample
  assert made(seeds="agentrl.training.collect:of_the_sample").seed_of is of_the_sample


@pytest.mark.parametrize(
  ("settings", "told"),
  [
    (
      {"end_on": ("viod",)},
      "^rollout.end_on: no kind of turn that ends an episode is called 'viod': did you",
    ),
    ({"seeds": "samples"}, "^rollout.seeds: no way to seed environments is called 'samples': did you mean 'sample'"),
    ({"seeds": "agentrl.training.collect:Collected"}, r"^rollout.seeds: .* and is called with \(group, uid\)"),
  ],
)
def test_wrong_names_are_told(settings, told):
  with pytest.raises(ValueError, match=told):
    made(**settings)


def test_calls_that_wait_for_a_worker_process_are_not_late():
  assert made(environment_seconds=3.0).environment_seconds == 3.0
  assert made(pools=("a pool",), environment_seconds=3.0).environment_seconds == math.inf


def test_surroundings_are_those_of_the_sections(tiny_experiment, tiny_config):
  surroundings = tiny_experiment().surroundings
  assert surroundings.engine.slots == tiny_config.engine.slots
  assert surroundings.group_size == tiny_config.rollout.group_size
  assert surroundings.search.simulations == tiny_config.search.simulations
  pauses = surroundings.chat.pause_table(surroundings.vocab_size)
  assert surroundings.drivers(pauses) is surroundings.driver  # compiled once
