"""What learns in a stage; what it cannot learn from is named."""

import dataclasses
from types import SimpleNamespace

import optax
import pytest
from ml_collections import ConfigDict

from agentrl import algorithms
from agentrl.algorithms.contract import Algorithm, Policy
from agentrl.algorithms.terms import value_head
from agentrl.batching.pack import PackConfig
from agentrl.rollout.strategies.contract import Needs, Sampler
from agentrl.training import config_values
from agentrl.training.build import algorithm
from agentrl.training.build.optimizer import OptimizerSettings
from agentrl.training.defaults import run_config
from agentrl.training.stages import stages_of

NOTHING = Algorithm(None, None, None)


@pytest.fixture
def made(monkeypatch):
  """What `make` of an algorithm and `make_optimizer` were given."""
  seen = {}

  def make(policy, optimizer, cfg):
    seen.update(policy=policy, cfg=cfg)
    return NOTHING

  module = SimpleNamespace(
    default_config=lambda: ConfigDict({"rate": 1, "kept": 2}),
    heads=lambda cfg: {"heads of": cfg.rate},
    optimizer_steps=lambda cfg, updates: cfg.rate * updates,
    make=make,
  )

  def make_optimizer(settings, steps, heads, *, section):
    seen.update(settings=settings, steps=steps, heads=heads, section=section)
    return optax.identity()

  monkeypatch.setattr(algorithm.algorithms, "load", lambda name: seen.update(name=name) or module)
  monkeypatch.setattr(algorithm, "make_optimizer", make_optimizer)
  return seen


POLICY = Policy(None, PackConfig(sequences=1))


def test_it_is_made_with_its_settings_steps_heads_and_batch(made):
  (stage,) = stages_of(run_config({"train": {"steps": 7}}, where="test"))
  optimizer = OptimizerSettings(learning_rate=0.5)
  assert algorithm.make_algorithm(stage, POLICY, optimizer, {"rate": 3}, sequences=12) is NOTHING
  assert (made["name"], made["settings"], made["steps"], made["section"]) == ("grpo", optimizer, 21, "optimizer")
  assert made["heads"] == {"heads of": 3} and made["cfg"].to_dict() == {"rate": 3, "kept": 2}
  assert made["policy"].pack.sequences == 12


def test_an_earlier_stage_has_a_rate_of_its_own(made):
  settings = {"cold_start": {"steps": 5, "learning_rate": 0.25, "schedule": "linear"}}
  config = run_config({**settings, "optimizer": {"value_warmup": 3, "b1": 0.5}}, where="test")
  stage, _ = stages_of(config)
  optimizer = OptimizerSettings(**config.optimizer)
  section = config.cold_start.copy_and_resolve_references()
  section.algo = ConfigDict({"rate": 4})
  algorithm.make_earlier(stage, POLICY, optimizer, section, sequences=4)
  assert made["cfg"].to_dict() == {"rate": 4, "kept": 2}
  assert (made["name"], made["steps"], made["section"]) == ("sft", 4 * 5, "cold_start")
  assert made["settings"] == OptimizerSettings(learning_rate=0.25, schedule="linear", value_warmup=0, b1=0.5)


def test_an_unknown_algorithm_names_its_key():
  with pytest.raises(ValueError, match=r"^test: cold_start.algorithm: no .* is called 'sfd': did you mean 'sft'"):
    run_config({"cold_start": {"steps": 1, "algorithm": "sfd"}}, where="test")
  stage, _ = stages_of(run_config({"cold_start": {"steps": 1}}, where="test"))
  stage = dataclasses.replace(stage, algorithm="sfd")
  section = ConfigDict({"learning_rate": 1.0, "algo": {}})
  with pytest.raises(ValueError, match=r"^cold_start.algorithm: no algorithm is called 'sfd': did you mean 'sft'"):
    algorithm.make_earlier(stage, POLICY, OptimizerSettings(), section, sequences=1)


@pytest.mark.parametrize(
  ("algo", "told"),
  [
    ({"reduction": "token_man"}, "^cold_start: .*'token_man': did you mean 'token_mean'"),
    ({"epocs": 2}, r"^cold_start.algo \(of algorithm 'sft'\): unknown config key 'epocs'"),
  ],
)
def test_a_wrong_setting_of_an_earlier_stage_names_its_section(algo, told):
  stage, _ = stages_of(run_config({"cold_start": {"steps": 1}}, where="test"))
  section = ConfigDict({"learning_rate": 1.0, "algo": algo})
  with pytest.raises(ValueError, match=told):
    algorithm.make_earlier(stage, POLICY, OptimizerSettings(), section, sequences=1)


COLD, LAST = stages_of(run_config({"algorithm": "ppo", "cold_start": {"steps": 1, "algorithm": "grpo"}}, where="test"))


@pytest.mark.parametrize(("stage", "named"), [(COLD, "cold_start.algorithm='grpo'"), (LAST, "algorithm='ppo'")])
def test_samples_that_it_cannot_learn_from_are_named(stage, named):
  independent = Sampler(lambda collection: None)
  compares = NOTHING._replace(compares=True)
  algorithm.check_samples(stage, compares, "independent", independent, 2)
  with pytest.raises(ValueError, match=f"^{named} compares the samples of a prompt"):
    algorithm.check_samples(stage, compares, "independent", independent, 1)
  branching = Sampler(lambda collection: None, branches=True)
  algorithm.check_samples(stage, NOTHING, "branching", branching, 2)
  with pytest.raises(ValueError, match=f"of {named} .* takes no branches, which rollout.strategy='branching' samples"):
    algorithm.check_samples(stage, NOTHING._replace(chains=True), "branching", branching, 2)
  with pytest.raises(ValueError, match=f"of {named} .* needs rollout.strategy='tree_search', not 'independent'"):
    algorithm.check_samples(stage, NOTHING._replace(siblings=True), "independent", independent, 2)


def test_what_learns_from_rewards_is_refused_where_there_are_none():
  learns = NOTHING._replace(rewards=True)
  algorithm.check_source(COLD, learns, rewarded=True, sampled=True, filtered=False)
  told = r"^cold_start.algorithm='grpo' learns from rewards, and .* of cold_start.source='authored' have none"
  with pytest.raises(ValueError, match=told):
    algorithm.check_source(COLD, learns, rewarded=False, sampled=False, filtered=False)


def test_what_imitates_samples_that_nothing_chooses_is_warned_of(caplog):
  def warned(**given):
    caplog.clear()
    algorithm.check_source(COLD, NOTHING._replace(imitates=True), rewarded=True, **given)
    return caplog.text

  with caplog.at_level("WARNING", logger="absl"):
    assert "imitates all that the policy itself samples" in warned(sampled=True, filtered=False)
    assert not warned(sampled=True, filtered=True) and not warned(sampled=False, filtered=False)


def test_what_the_algorithms_say_of_rewards():
  defaults = {name: algorithms.load(name).default_config() for name in ("grpo", "sft")}
  made = {name: algorithms.load(name).make(POLICY, optax.sgd(1.0), cfg) for name, cfg in defaults.items()}
  assert {name: (one.rewards, one.imitates) for name, one in made.items()} == {
    "grpo": (True, False), "sft": (False, True),
  }  # fmt: skip
  best = config_values.resolve(defaults["sft"], {"top_share": 0.5}, where="test")
  assert not algorithms.load("sft").make(POLICY, optax.sgd(1.0), best).imitates


@pytest.mark.parametrize(("stage", "named"), [(COLD, "cold_start.algorithm='grpo'"), (LAST, "algorithm='ppo'")])
def test_what_a_sampler_needs_and_it_lacks_is_named(stage, named):
  needs = Needs(params=("value",), heads=("value",), why="a search reads values", otherwise="choose another")
  sampler, head = Sampler(lambda collection: None, needs=needs), value_head()
  algorithm.check_needs(stage, NOTHING._replace(heads={"value": head}), sampler, {"policy": 0, "value": 0})
  with pytest.raises(ValueError, match=f"a search reads values, and {named} has none: choose another"):
    algorithm.check_needs(stage, NOTHING, sampler, {"policy": 0})
  kept_back = NOTHING._replace(heads={"value": head._replace(acting=False)})  # such as a baseline of advantages
  with pytest.raises(ValueError, match=f"a search reads values, and {named} keeps it from acting: choose another"):
    algorithm.check_needs(stage, kept_back, sampler, {"policy": 0, "value": 0})
  other = NOTHING._replace(heads={"progress": head})
  with pytest.raises(ValueError, match=f"a search reads values, and {named} has 'progress': choose another"):
    algorithm.check_needs(stage, other, sampler, {"policy": 0, "progress": 0})


def test_what_learns_apart_is_no_head_and_needs_none():
  needs = Needs(params=("critic",), why="a judge has critics", otherwise="choose another")
  sampler = Sampler(lambda collection: None, needs=needs)
  algorithm.check_needs(LAST, NOTHING, sampler, {"policy": 0, "critic": 0})
  with pytest.raises(ValueError, match="a judge has critics, and algorithm='ppo' has none: choose another"):
    algorithm.check_needs(LAST, NOTHING, sampler, {"policy": 0})
