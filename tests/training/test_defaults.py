"""Defaults: every key is there, and changes land where they should."""

import pytest

from agentrl import algorithms
from agentrl.training import config as config_lib
from agentrl.training.defaults import base_config, run_config


def test_no_settings_give_the_defaults_and_the_algorithm_s_own():
  config = run_config({}, where="test")
  expected = base_config()
  expected.algo = algorithms.load("grpo").default_config()
  assert config_lib.to_json(config) == config_lib.to_json(expected)
  assert config.is_locked


def test_settings_lie_over_both():
  config = run_config({"algorithm": "ppo", "algo": {"gae_lambda": 0.9}, "seed": 3}, where="test")
  assert (config.algorithm, config.algo.gae_lambda, config.seed) == ("ppo", 0.9, 3)
  assert config.algo.value_clip == algorithms.load("ppo").default_config().value_clip


def test_a_base_keeps_its_algo_unless_the_algorithm_changes():
  base = run_config({"seed": 5, "algo": {"kl_coef": 0.5}}, where="test")
  same = run_config({"algo": {"epochs": 2}}, where="test", base=base)
  assert (same.seed, same.algo.kl_coef, same.algo.epochs) == (5, 0.5, 2)
  other = run_config({"algorithm": "ppo"}, where="test", base=base)
  assert other.seed == 5 and other.algo.kl_coef == 0.0 and "gae_lambda" in other.algo
  assert base.algo.kl_coef == 0.5 and base.algorithm == "grpo"


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"rolout": {}}, "here.py: unknown config key 'rolout'.*'rollout'"),
    ({"algo": {"kl_coeff": 1.0}}, "here.py: unknown config key 'algo.kl_coeff'.*'algo.kl_coef'"),
    ({"train": {"steps": "many"}}, "train.steps must be of type int"),
    ({"algorithm": "gpro"}, "grpo"),
  ],
)
def test_errors_name_the_key(settings, message):
  with pytest.raises(ValueError, match=message):
    run_config(settings, where="here.py")
