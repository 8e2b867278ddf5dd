"""Every number of a config has a range, and leaving it is an error that names the key before anything is built."""

import inspect
import math
import pathlib

import pytest
from ml_collections import ConfigDict

from agentrl import algorithms
from agentrl.ops import losses
from agentrl.training import assembly, ranges
from agentrl.training import config as config_lib
from agentrl.training.defaults import base_config, run_config

RECORDED = sorted((pathlib.Path(__file__).parents[2] / "results").rglob("config.json"))


def numbers(settings):
  """Dotted keys of all numbers, those without a default among them."""
  keys = []
  for name in settings:
    if isinstance(settings[name], ConfigDict):
      keys += [f"{name}.{key}" for key in numbers(settings[name])]
    elif settings.get_type(name) in (int, float):
      keys.append(name)
  return keys


def test_every_number_of_the_base_config_has_a_range():
  assert sorted(ranges.RANGES) == sorted(numbers(base_config()))


@pytest.mark.parametrize("name", algorithms.names())
def test_every_number_of_an_algorithm_has_a_range(name):
  module = algorithms.load(name)
  own = {key for key in module.RANGES if not key.startswith("loss.")}
  assert own == set(numbers(module.default_config()))


def test_every_number_of_a_policy_loss_has_a_range():
  settings = {
    parameter.name
    for loss in losses.POLICY_LOSSES.values()
    for parameter in inspect.signature(loss).parameters.values()
    if parameter.kind is parameter.KEYWORD_ONLY
  }
  assert settings == set(losses.RANGES)


def changed(key, value, algorithm="grpo"):
  """The default config of an algorithm with one number put in its place, whatever its type."""
  config = config_lib.from_json(config_lib.to_json(run_config({"algorithm": algorithm}, where="test"))).unlock()
  *sections, name = key.split(".")
  section = config
  for part in sections:
    section = section[part]
  with section.ignore_type():
    section[name] = value
  return config


def outside(allowed):
  """Numbers just beyond the ends of a range, and those that are in none."""
  low = [] if math.isinf(allowed.low) else [allowed.low if allowed.above_low else allowed.low - 1]
  high = [] if math.isinf(allowed.high) else [allowed.high if allowed.below_high else allowed.high + 1]
  return [*low, *high, math.nan, math.inf]


OF_ALGORITHMS = [
  (name, f"algo.{key}", allowed) for name in algorithms.names() for key, allowed in algorithms.load(name).RANGES.items()
]


@pytest.mark.parametrize(
  ("algorithm", "key", "allowed"), [("grpo", key, allowed) for key, allowed in ranges.RANGES.items()] + OF_ALGORITHMS
)
def test_a_number_outside_its_range_is_refused_by_name(algorithm, key, allowed):
  ranges.check_numbers(run_config({"algorithm": algorithm}, where="test"))
  for value in outside(allowed):
    with pytest.raises(ValueError) as refused:
      ranges.check_numbers(changed(key, value, algorithm))
    assert str(refused.value).startswith(f"{key}=") and f" must be {allowed}" in str(refused.value)


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"rollout": {"temperature": 0.0}}, "rollout.temperature=0.0 must be above 0: .*only eval.temperature may be 0"),
    ({"optimizer": {"max_grad_norm": 0.0}}, "optimizer.max_grad_norm=0.0 must be above 0: .*a large number"),
    ({"algo": {"loss": {"clip_low": -0.1}}}, "algo.loss.clip_low=-0.1 must be at least 0: it is a distance"),
    ({"algo": {"minibatches": 0}}, "algo.minibatches=0 must be at least 1"),
  ],
)
def test_a_run_refuses_them_before_it_builds_anything(tiny_config, monkeypatch, settings, message):
  monkeypatch.setattr(assembly.envs, "make", None)
  with pytest.raises(ValueError, match=message):
    assembly.assemble(config_lib.resolve(tiny_config, settings, where="test"))


@pytest.mark.parametrize(
  ("turns", "turn_tokens", "actions"),
  [(3, 0, 63), (3, 12, 36), (5, 12, 60), (6, 12, 63)],  # 6 turns of 12 would be 72: more than fits behind a prompt
)
def test_the_most_actions_of_a_trajectory(turns, turn_tokens, actions):
  rollout = {"max_tokens": 64, "max_turns": turns, "turn_tokens": turn_tokens}

  def sized(row_actions):
    return run_config({"rollout": rollout, "pack": {"row_actions": row_actions}}, where="test")

  assembly.check_sizes(sized(actions))
  with pytest.raises(ValueError, match=f"pack.row_actions={actions - 1} .*to {actions}, or bound"):
    assembly.check_sizes(sized(actions - 1))


def test_recorded_runs_lie_inside():
  assert RECORDED
  for file in RECORDED:
    ranges.check_numbers(config_lib.from_json(file.read_text()))
