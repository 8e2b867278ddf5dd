"""Every key of a config: which there are, and which numbers each takes, those of the chosen modules among them."""

import functools
import operator

import pytest

from agentrl.settings import defaults_of
from agentrl.training.build.sections import RunSettings, check_numbers
from agentrl.training.config_values import SECTIONS_OF_MODULES
from agentrl.training.defaults import base_config, run_config


def test_the_keys_of_a_config_are_the_settings_of_the_sections():
  config, defaults = base_config().to_dict(), defaults_of(RunSettings)
  for of_module in SECTIONS_OF_MODULES.values():  # these are what the chosen module says
    *outer, last = of_module.name.split(".")
    for sections in (config, defaults):
      del functools.reduce(operator.getitem, outer, sections)[last]
  assert config == defaults


@pytest.mark.parametrize(
  ("settings", "told"),
  [
    ({"seed": -1}, "seed=-1 must be at least 0"),
    ({"eval": {"tasks": 0}}, "eval.tasks=0 must be at least 1"),
    ({"mesh": {"fsdp": 0}}, "mesh.fsdp=0 must be at least 1"),
    ({"cold_start": {"batch": 0}}, "cold_start.batch=0 must be at least 1"),
    ({"algo": {"epochs": 0}}, "algo.epochs=0 must be at least 1"),
    ({"cold_start": {"algo": {"epochs": 0}}}, "cold_start.algo.epochs=0 must be at least 1"),
    (
      {"rollout": {"strategy": "reranked"}, "strategy": {"candidates": 0}},
      "strategy.candidates=0 must be at least 1",
    ),
  ],
)
def test_a_number_outside_its_range_is_named_by_its_key(settings, told):
  check_numbers(run_config({}, where="test"))
  with pytest.raises(ValueError, match=told):
    check_numbers(run_config(settings, where="test"))
