"""What every strategy is: found by its name, with settings that have ranges, and made of what surrounds it."""

import dataclasses
import pathlib

import jax
import pytest
from ml_collections import ConfigDict

from agentrl.rollout import strategies
from agentrl.rollout.driver import Drivers
from agentrl.rollout.search.planner import SearchConfig
from agentrl.rollout.strategies.contract import Collection, Needs, Surroundings
from agentrl.rollout.strategies.utterances import UtteranceSampler
from agentrl.rollout.workers import WorkerPool
from tests.rollout.conftest import ENGINE, Counting, one_device
from tests.rollout.test_driver import assert_same

NAMES = strategies.STRATEGIES


@pytest.fixture(scope="module")
def surroundings(lab):
  driver = lab.driver()
  utterances = UtteranceSampler(
    driver, ENGINE, lab.chat, temperature=1.0, max_tokens=90, turn_tokens=0, place=lambda policy: {"policy": policy}
  )
  return Surroundings(
    engine=ENGINE,
    chat=lab.chat,
    vocab_size=lab.model.vocab_size,
    driver=driver,
    drivers=Drivers(lab.model, ENGINE, mesh=one_device()),
    utterances=utterances,
    group_size=6,
    entropy_window=3,
    search=SearchConfig(width=3, depth=2, step_end="q"),
  )


def made(name, surroundings, **settings):
  module = strategies.load(name)
  return module.make(surroundings, ConfigDict({**module.default_config(), **settings}))


def collection(lab, groups, **changes):
  settings = {"make_environment": Counting, "environment_seconds": 20.0, "pool": WorkerPool(4), "policy_version": 0}
  params = {"policy": lab.params}
  return Collection(params, jax.random.key(7), groups, grade=list, **settings, **changes)


@pytest.mark.parametrize("name", NAMES)
def test_every_number_of_a_strategy_has_a_range(name):
  module = strategies.load(name)
  config = module.default_config()
  assert set(module.RANGES) == {key for key, value in config.items() if type(value) in (int, float)}


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_setting_is_refused(name, surroundings):
  with pytest.raises(ValueError, match=r"strategy\.nonsense: .* takes "):
    made(name, surroundings, nonsense=3)


def test_what_others_need_to_know_is_declared(surroundings):
  samplers = {name: made(name, surroundings) for name in NAMES}
  assert {name: s.per_sample for name, s in samplers.items() if s.per_sample > 1} == {"tree_search": 1 + 2 * (3 - 1)}
  assert {name: s.needs.params for name, s in samplers.items() if s.needs != Needs()} == {
    "reranked": ("critic",), "tree_search": ("value",),
  }  # fmt: skip
  assert [name for name, s in samplers.items() if s.needs.judge] == ["reranked"]
  assert [name for name, s in samplers.items() if s.siblings or s.graded] == ["tree_search"]
  assert [name for name, s in samplers.items() if s.branches] == ["branching"]
  assert [name for name, s in samplers.items() if s.evaluate_with] == ["branching", "tree_search"]


def test_a_search_by_rollouts_needs_no_head(surroundings):
  rolled = dataclasses.replace(surroundings, search=dataclasses.replace(surroundings.search, evaluate="rollout"))
  assert made("tree_search", rolled).needs == Needs()


def test_every_strategy_of_the_folder_is_in_the_table():
  folder = pathlib.Path(strategies.__file__).parent
  files = {file.stem for file in folder.glob("*.py") if "\ndef make(" in file.read_text()}
  assert files == set(NAMES)


def test_names_are_told_from_import_paths():
  with pytest.raises(ValueError, match=r"no rollout.strategy is called 'branchin': did you mean 'branching'"):
    strategies.load("branchin")
  with pytest.raises(
    ValueError, match=r"'agentrl.named' is no rollout.strategy: it lacks default_config, RANGES, make"
  ):
    strategies.load("agentrl.named")
  assert strategies.load("my_method.best_of").default_config().to_dict() == {"tries": 2}


def test_samples_on_slots_are_those_of_the_driver(lab, surroundings):
  requests = lab.requests(samples=2)
  groups = [requests[n : n + 2] for n in range(0, len(requests), 2)]
  seen = []
  got = made("independent", surroundings).sample(collection(lab, groups, on_finish=seen.append))
  assert_same(got.trajectories, lab.run(requests)[0])
  assert sorted(t.uid for t in seen) == [t.uid for t in got.trajectories] and not got.failures and not got.trees


def test_a_collection_s_seed_is_its_key_s(lab):
  one, other = (dataclasses.replace(collection(lab, []), key=jax.random.key(k)).seed for k in (7, 8))
  assert one == 7 << 32 and other == 8 << 32  # two words of 32 bits, the low one first
