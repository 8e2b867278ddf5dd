"""Config files: a run, or a paper's base, an arm over it, and what makes both small."""

import textwrap

import pytest

from agentrl.training import config as config_lib
from agentrl.training.config import arm_config, small_arm_config
from agentrl.training.config_values import ConfigError

BASE = {"algorithm": "ppo", "algo": {"value_coef": 0.25}, "train": {"steps": 7}}
SMOKE = {"train": {"steps": 2}, "algo": {"minibatches": 1}}

PAPER = """
  BASE = {"seed": 3}
  ARMS = {"plain": {}, "longer": {"train": {"steps": 500}}}
"""


@pytest.fixture
def file(tmp_path):
  path = tmp_path / "paper.py"
  path.write_text(textwrap.dedent(PAPER))
  return path


def test_an_arm_lies_over_the_base_and_the_small_variant_over_both():
  full = arm_config(BASE, {"train": {"steps": 9}, "algo": {"minibatches": 4}}, where="test")
  assert (full.train.steps, full.algo.value_coef, full.algo.minibatches) == (9, 0.25, 4)
  small = small_arm_config(BASE, {"train": {"steps": 9}, "algo": {"minibatches": 4}}, SMOKE, where="test")
  assert (small.train.steps, small.algo.value_coef, small.algo.minibatches) == (2, 0.25, 1)


def test_an_arm_with_another_algorithm_begins_from_its_defaults():
  small = small_arm_config(BASE, {"algorithm": "grpo"}, SMOKE, where="test")
  assert small.algorithm == "grpo" and "value_coef" not in small.algo and small.train.steps == 2


def test_what_makes_a_strategy_or_a_cold_start_small_is_for_the_base_s_too():
  base = {"rollout": {"strategy": "branching"}, "cold_start": {"steps": 9, "algorithm": "ppo"}}
  smoke = {"strategy": {"initial": 2}, "cold_start": {"steps": 2, "algo": {"value_coef": 0.125}}}
  small = small_arm_config(base, {}, smoke, where="test")
  assert (small.strategy.initial, small.cold_start.algo.value_coef, small.cold_start.steps) == (2, 0.125, 2)
  arm = {"rollout": {"strategy": "independent"}, "cold_start": {"algorithm": "sft"}}
  other = small_arm_config(base, arm, smoke, where="test")
  assert not other.strategy and "value_coef" not in other.cold_start.algo and other.cold_start.steps == 2


def test_a_wrong_key_of_an_arm_names_the_file():
  with pytest.raises(ConfigError, match=r"x\.py: unknown config key 'train.stepz'"):
    arm_config(BASE, {"train": {"stepz": 9}}, where="x.py")


def test_the_small_variant_makes_nothing_larger_or_longer():
  base = {"cold_start": {"steps": 0, "batch": 64}, "rollout": {"group_size": 1, "groups": 16}, "train": {"steps": 1}}
  small = small_arm_config(base, {}, {}, where="test")
  assert (small.cold_start.steps, small.cold_start.batch, small.train.steps) == (0, 8, 1)
  assert (small.rollout.groups, small.rollout.group_size, small.eval.tasks) == (2, 1, 4)
  own = small_arm_config(base, {}, {"rollout": {"group_size": 6}}, where="test")
  assert (own.rollout.groups, own.rollout.group_size) == (2, 6)


@pytest.mark.parametrize(("arm", "steps"), [("", 100), (":plain", 100), (":longer", 500)])
def test_an_arm_is_named_behind_the_file_and_the_first_is_the_default(file, arm, steps):
  config = config_lib.load(f"{file}{arm}")
  assert config.train.steps == steps and config.seed == 3 and config.is_locked
  assert config_lib.load(f"{file}{arm}", ["--config.seed=4"], smoke=True).train.steps == 2


def test_an_unknown_arm_names_the_nearest_and_all(file):
  with pytest.raises(ConfigError, match=r"paper\.py: no arm .* 'longr': did you mean 'longer'\? .*plain"):
    config_lib.load(f"{file}:longr")


def test_a_file_without_arms_has_none(tmp_path):
  file = tmp_path / "one.py"
  file.write_text("def get_config(smoke=False): ...")
  with pytest.raises(ConfigError, match=r"one\.py has no ARMS, so there is no arm 'x': leave :x out"):
    config_lib.load(f"{file}:x")


def test_a_wrong_override_names_the_arm(file):
  with pytest.raises(ConfigError, match=r"paper\.py:longer: unknown config key 'sed'"):
    config_lib.load(f"{file}:longer", ["--config.sed=1"])


def test_a_missing_file_names_the_nearest(file):
  with pytest.raises(ConfigError, match=r"papr\.py; did you mean .*paper\.py"):
    config_lib.load(file.with_name("papr.py"))


@pytest.mark.parametrize(
  ("body", "words"),
  [
    ("x = 1", r"neither ARMS nor a function get_config\(smoke=False\)"),
    ("BASE = {}", "has BASE and no ARMS"),
    ("ARMS = {'a': {}}\ndef get_config(smoke=False): ...", "has ARMS and get_config: .* leave get_config out"),
    ("ARMS = {'a': {}}\nBASE = ['seed']", "BASE must be settings, such as"),
    ("ARMS = {'a': {}}\nBAZE = {}", "has ARMS and no BASE, .* write BASE = {}"),
    ("ARMS = {'a': {}}\nBASE = {}\nSMOKE = 2", "SMOKE must be settings, such as"),
    ("def get_config(smoke=False): return {}", "returned dict"),
    (
      "from ml_collections import ConfigDict\ndef get_config(smoke=False): return ConfigDict({'a': {'f': print}})",
      "a.f is",
    ),
  ],
)
def test_a_wrong_file_is_named(tmp_path, body, words):
  file = tmp_path / "wrong.py"
  file.write_text(body)
  with pytest.raises(ConfigError, match=words) as error:
    config_lib.load(file)
  assert "wrong.py" in str(error.value)
