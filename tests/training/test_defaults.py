"""Defaults: every key is there, changes land where they should, and every number keeps to its range."""

import math
import pathlib

import pytest
from ml_collections import ConfigDict

from agentrl import algorithms, credit
from agentrl.named import settings_of
from agentrl.ops import corrections, losses, reduce
from agentrl.rollout import strategies
from agentrl.settings import ranges_of, settings_in
from agentrl.training import config_values
from agentrl.training.build.sections import RunSettings, check_numbers
from agentrl.training.defaults import base_config, run_config

RECORDED = sorted((pathlib.Path(__file__).parents[2] / "results").rglob("config.json"))
RANGES = ranges_of(settings_in(RunSettings))


def test_no_settings_give_the_defaults_and_the_algorithm_s_own():
  config = run_config({}, where="test")
  expected = base_config()
  expected.algo = algorithms.load("grpo").default_config()
  expected.strategy = {}  # of independent samples
  assert config_values.to_json(config) == config_values.to_json(expected)
  assert config.is_locked


def test_settings_lie_over_both():
  config = run_config({"algorithm": "ppo", "algo": {"value_coef": 0.9}, "seed": 3}, where="test")
  assert (config.algorithm, config.algo.value_coef, config.seed) == ("ppo", 0.9, 3)
  assert config.algo.value_clip == algorithms.load("ppo").default_config().value_clip


def test_a_base_keeps_its_algo_unless_the_algorithm_changes():
  base = run_config({"seed": 5, "algo": {"kl_coef": 0.5}}, where="test")
  same = run_config({"algo": {"epochs": 2}}, where="test", base=base)
  assert (same.seed, same.algo.kl_coef, same.algo.epochs) == (5, 0.5, 2)
  other = run_config({"algorithm": "ppo"}, where="test", base=base)
  assert other.seed == 5 and other.algo.kl_coef == 0.0 and "value_coef" in other.algo
  assert base.algo.kl_coef == 0.5 and base.algorithm == "grpo"


def test_the_settings_of_a_strategy_come_with_its_name():
  base = run_config({"rollout": {"strategy": "branching"}, "strategy": {"initial": 2}}, where="test")
  assert base.strategy.to_dict() == {**strategies.load("branching").default_config().to_dict(), "initial": 2}
  same = run_config({"strategy": {"rule": "code"}}, where="test", base=base)
  assert (same.strategy.initial, same.strategy.rule) == (2, "code")
  other = run_config({"rollout.strategy": "reranked"}, where="test", base=same)
  assert other.strategy.to_dict() == {"candidates": 5}


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"rolout": {}}, "here.py: unknown config key 'rolout'.*'rollout'"),
    ({"algo": {"kl_coeff": 1.0}}, "here.py: unknown config key 'algo.kl_coeff'.*'algo.kl_coef'"),
    ({"train": {"steps": "many"}}, "train.steps must be of type int"),
    ({"algorithm": "gpro"}, "grpo"),
    ({"rollout": {"strategy": "reranke"}}, "rollout.strategy is called 'reranke': did you mean 'reranked'"),
    ({"rollout": {"strategy": "reranked"}, "strategy": {"initial": 2}}, "unknown config key 'strategy.initial'"),
  ],
)
def test_errors_name_the_key(settings, message):
  with pytest.raises(ValueError, match=message):
    run_config(settings, where="here.py")


# ---- numbers --------------------------------------------------------------------------------------------------------


def numbers(settings):
  """Dotted keys of all numbers, those without a default among them."""
  keys = []
  for name in settings:
    if isinstance(settings[name], ConfigDict):
      keys += [f"{name}.{key}" for key in numbers(settings[name])]
    elif settings.get_type(name) in (int, float):
      keys.append(name)
  return keys


@pytest.mark.parametrize("name", algorithms.ALGORITHMS)
def test_every_number_of_an_algorithm_has_a_range(name):
  module = algorithms.load(name)
  options = ("loss.", "correction_options.", "credit_options.", "reduction_options.")  # of the functions that are named
  own = {key for key in module.RANGES if not key.startswith(options)}
  assert own == set(numbers(module.default_config()))


@pytest.mark.parametrize(
  ("table", "known"),
  [
    (losses.POLICY_LOSSES, losses.RANGES),
    (corrections.CORRECTIONS, corrections.RANGES),
    (reduce.REDUCTIONS, reduce.RANGES),
    (credit.CREDIT, credit.RANGES),
  ],
  ids=["policy losses", "corrections", "reductions", "credit"],
)
def test_every_number_of_a_function_that_an_algorithm_chooses_has_a_range(table, known):
  settings = [setting for function in table.values() for setting in settings_of(function).items()]
  assert {name for name, default in settings if not isinstance(default, bool)} == set(known)


def changed(key, value, settings):
  """The default config with some settings, and one number put in its place, whatever its type."""
  config = config_values.from_json(config_values.to_json(run_config(settings, where="test"))).unlock()
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


EVERY = [({}, key, allowed) for key, allowed in RANGES.items()]
EVERY += [
  ({"algorithm": name}, f"algo.{key}", allowed)
  for name in algorithms.ALGORITHMS
  for key, allowed in algorithms.load(name).RANGES.items()
]
EVERY += [
  ({"rollout": {"strategy": name}}, f"strategy.{key}", allowed)
  for name in strategies.STRATEGIES
  for key, allowed in strategies.load(name).RANGES.items()
]


@pytest.mark.parametrize(("settings", "key", "allowed"), EVERY)
def test_a_number_outside_its_range_is_refused_by_name(settings, key, allowed):
  check_numbers(run_config(settings, where="test"))
  for value in outside(allowed):
    with pytest.raises(ValueError) as refused:
      check_numbers(changed(key, value, settings))
    assert str(refused.value).startswith(f"{key}=") and f" must be {allowed}" in str(refused.value)


def test_recorded_runs_lie_inside():
  assert RECORDED
  for file in RECORDED:
    config = config_values.from_json(file.read_text()).unlock()
    config.rollout.strategy = config.rollout.get("strategy", "independent")  # which the first runs did not name
    config.cold_start.algorithm = config.cold_start.get("algorithm", "sft")
    config.tuning = config.get("tuning", ConfigDict({"algorithm": "sft"}))
    check_numbers(config)
