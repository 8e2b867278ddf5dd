"""Search over the engine's slots: the same trees whatever the slots and the timing, and what each failure costs."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.models import heads
from agentrl.rollout.driver import Driver
from agentrl.rollout.episode import RequestQueue
from agentrl.rollout.search.planner import SearchConfig
from agentrl.rollout.search.record import describe
from agentrl.rollout.search.steps import StepEnd
from agentrl.rollout.search.tree import Puct
from agentrl.rollout.strategies.tree_search import TreeSearch
from agentrl.rollout.workers import WorkerPool
from tests.rollout.conftest import ENGINE, Counting, one_device

SLOTS = dataclasses.replace(ENGINE, slots=12, positions=96)
SEARCH = SearchConfig(simulations=12, width=3, depth=5, step_tokens=6, step_end="q", parallel=3, puct=Puct(c=1.0))
BASE_KEY = jax.random.key(7)


def grade(trajectory):
  """Something that differs from path to path."""
  if trajectory.failed:
    return dataclasses.replace(trajectory, reward=None)
  return dataclasses.replace(trajectory, reward=float(np.sum(trajectory.tokens) % 97) / 97)


@dataclasses.dataclass
class Searches:
  """Runs tree searches with a random policy and a random value head; drivers are compiled once."""

  lab: object
  params: dict
  drivers: dict = dataclasses.field(default_factory=dict)

  def driver(self, engine, compiled, step_end):
    key = (engine, compiled, step_end)
    if key not in self.drivers:
      pauses = StepEnd(self.lab.chat, step_end).pause_table(self.lab.model.vocab_size)
      value = lambda params, hidden: heads.apply_value_head(params["value"], hidden)
      self.drivers[key] = Driver(self.lab.model, engine, pauses, mesh=one_device(), compiled=compiled, value_of=value)
    return self.drivers[key]

  def run(self, requests, search=SEARCH, *, engine=SLOTS, compiled=False, behave=lambda calls: None, seconds=20.0):
    pool = WorkerPool(4)
    strategy = TreeSearch(
      RequestQueue(requests), search, engine=engine, chat=self.lab.chat, make_environment=lambda: Counting(behave),
      pool=pool, environment_seconds=seconds, grade=grade,
    )  # fmt: skip
    stats = self.driver(engine, compiled, search.step_end).run(self.params, BASE_KEY, [strategy])
    pool.close()
    return strategy, stats


@pytest.fixture(scope="module")
def searches(lab):
  value = {"weight": jax.random.normal(jax.random.key(5), (lab.model.width,)) * 0.1, "bias": jnp.float32(0.0)}
  return Searches(lab, {"policy": lab.params, "value": value})


def records(searches, strategy):
  planners = sorted(strategy.finished, key=lambda planner: planner.request.uid)
  return [describe(planner, searches.lab.chat.tokenizer) for planner in planners]


def assert_same_trees(a, b):
  for one, other in zip(a, b, strict=True):
    assert len(one["nodes"]) == len(other["nodes"])
    for x, y in zip(one["nodes"], other["nodes"], strict=True):
      for name in ("q", "prior", "value"):
        if x[name] is not None:
          np.testing.assert_allclose(x[name], y[name], atol=1e-4)
      assert {k: v for k, v in x.items() if k not in ("q", "prior", "value")} == {
        k: v for k, v in y.items() if k not in ("q", "prior", "value")
      }


@pytest.fixture(scope="module")
def reference(searches):
  """Every tree alone, in slots that hold one expansion: each prefix is fed again whenever it is needed."""
  engine = dataclasses.replace(SLOTS, slots=3)
  return [records(searches, searches.run([r], engine=engine)[0])[0] for r in searches.lab.requests(samples=2)]


def test_trees_do_not_depend_on_slots_other_trees_or_the_driver(searches, reference):
  requests = searches.lab.requests(samples=2)
  strategy, _ = searches.run(requests)
  assert_same_trees(records(searches, strategy), reference)
  strategy, _ = searches.run(requests[::-1], compiled=True)
  assert_same_trees(records(searches, strategy), reference)
