"""Arms of a paper: a base, an arm over it, and what makes both small."""

import textwrap

import pytest

from agentrl.training import config as config_lib
from agentrl.training.paper import all_claims, arm_config, arms_of, claims_of

BASE = {"algorithm": "ppo", "algo": {"value_coef": 0.25}, "train": {"steps": 7}}
SMOKE = {"train": {"steps": 2}, "algo": {"minibatches": 1}}

PAPER = """
  from agentrl.training.paper import arm_config

  BASE = {"seed": 3}
  ARMS = {"plain": {}, "longer": {"train": {"steps": 500}}}

  def get_config(arm, smoke):
    return arm_config(BASE, ARMS[arm], {"train": {"steps": 2}} if smoke else {}, where=__file__)
"""


@pytest.fixture
def file(tmp_path):
  path = tmp_path / "paper.py"
  path.write_text(textwrap.dedent(PAPER))
  return path


def test_an_arm_lies_over_the_base_and_the_small_variant_over_both():
  full = arm_config(BASE, {"train": {"steps": 9}, "algo": {"minibatches": 4}}, {}, where="test")
  assert (full.train.steps, full.algo.value_coef, full.algo.minibatches) == (9, 0.25, 4)
  small = arm_config(BASE, {"train": {"steps": 9}, "algo": {"minibatches": 4}}, SMOKE, where="test")
  assert (small.train.steps, small.algo.value_coef, small.algo.minibatches) == (2, 0.25, 1)


def test_an_arm_with_another_algorithm_begins_from_its_defaults():
  small = arm_config(BASE, {"algorithm": "grpo"}, SMOKE, where="test")
  assert small.algorithm == "grpo" and "value_coef" not in small.algo and small.train.steps == 2


def test_what_makes_a_strategy_or_a_cold_start_small_is_for_the_base_s_too():
  base = {"rollout": {"strategy": "branching"}, "cold_start": {"steps": 9, "algorithm": "ppo"}}
  smoke = {"strategy": {"initial": 2}, "cold_start": {"steps": 2, "algo": {"value_coef": 0.125}}}
  small = arm_config(base, {}, smoke, where="test")
  assert (small.strategy.initial, small.cold_start.algo.value_coef, small.cold_start.steps) == (2, 0.125, 2)
  arm = {"rollout": {"strategy": "independent"}, "cold_start": {"algorithm": "sft"}}
  other = arm_config(base, arm, smoke, where="test")
  assert not other.strategy and "value_coef" not in other.cold_start.algo and other.cold_start.steps == 2


def test_a_wrong_key_of_an_arm_names_the_file():
  with pytest.raises(config_lib.ConfigError, match=r"x\.py: unknown config key 'train.stepz'"):
    arm_config(BASE, {"train": {"stepz": 9}}, {}, where="x.py")


@pytest.mark.parametrize(("arm", "steps"), [("", 100), (":plain", 100), (":longer", 500)])
def test_an_arm_is_named_behind_the_file_and_the_first_is_the_default(file, arm, steps):
  config = config_lib.load(f"{file}{arm}")
  assert config.train.steps == steps and config.seed == 3 and config.is_locked
  assert config_lib.load(f"{file}{arm}", ["--config.seed=4"], smoke=True).train.steps == 2


def test_an_unknown_arm_names_the_nearest_and_all(file):
  with pytest.raises(config_lib.ConfigError, match=r"paper\.py: no arm .* 'longr': did you mean 'longer'\? .*plain"):
    config_lib.load(f"{file}:longr")


def test_a_file_without_arms_has_none(tmp_path):
  file = tmp_path / "one.py"
  file.write_text("def get_config(smoke=False): ...")
  with pytest.raises(config_lib.ConfigError, match=r"one\.py has no ARMS, so there is no arm 'x': leave :x out"):
    config_lib.load(f"{file}:x")


def test_a_wrong_override_names_the_arm(file):
  with pytest.raises(config_lib.ConfigError, match=r"paper\.py:longer: unknown config key 'sed'"):
    config_lib.load(f"{file}:longer", ["--config.sed=1"])


def test_a_claim_names_arms_that_there_are(file):
  claims = """
    from agentrl.report.claims import Claim
    from agentrl.report.measures import Last
    CLAIMS = (Claim("better", "longer", "plane", Last("eval/success"), "higher"),)
  """
  assert arms_of(file) == ["plain", "longer"] and claims_of(file) == ()
  file.write_text(textwrap.dedent(PAPER) + textwrap.dedent(claims))
  with pytest.raises(config_lib.ConfigError, match=r"the claim 'better' names an arm 'plane' that is not in ARMS"):
    claims_of(file)
  file.write_text(textwrap.dedent(PAPER) + textwrap.dedent(claims).replace("plane", "plain"))
  assert list(all_claims(file.parent)) == ["paper"]


@pytest.mark.parametrize(
  ("claims", "words"),
  [
    ('CLAIMS = (Claim("better", "longer", "plain", Last("eval/success"), "higher"))', "CLAIMS is a Claim; .* comma"),
    ('CLAIMS = ("better",)', "CLAIMS is a tuple; a tuple of Claim"),
    ('ARMS = ["plain", "longer"]', r'ARMS must be settings by the name of the arm, such as \{"plain": \{\}\}'),
    ('ARMS = {"plain": None}', "ARMS must be settings by the name"),
    ("ARMS = {}", "ARMS must be settings by the name"),
    ('del ARMS\nCLAIMS = [Claim("better", "a", "b", Last("eval/success"), "higher")]', "has CLAIMS and no ARMS"),
  ],
)
def test_what_are_no_arms_and_no_claims_is_told(file, claims, words):
  imports = "from agentrl.report.claims import Claim\nfrom agentrl.report.measures import Last\n"
  file.write_text(textwrap.dedent(PAPER) + imports + claims)
  with pytest.raises(config_lib.ConfigError, match=rf"paper\.py.* {words}"):
    claims_of(file)


def test_one_run_is_no_paper(tmp_path):
  (tmp_path / "one.py").write_text("def get_config(smoke=False): ...")
  with pytest.raises(config_lib.ConfigError, match=r"one\.py has no ARMS: it is one run, for experiments/train\.py"):
    arms_of(tmp_path / "one.py")
