"""Search over the engine's slots: the same trees whatever the slots and the timing, and what each failure costs."""

import dataclasses
import random
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.models import heads, transformer
from agentrl.rollout.driver import Driver
from agentrl.rollout.episode import RequestQueue
from agentrl.rollout.search.planner import SearchConfig
from agentrl.rollout.search.record import branches, describe
from agentrl.rollout.search.steps import StepEnd
from agentrl.rollout.strategies.tree_search import TreeSearch
from agentrl.rollout.workers import WorkerPool
from agentrl.types import StopReason
from tests.rollout.conftest import ENGINE, Counting, one_device

SLOTS = dataclasses.replace(ENGINE, slots=12, positions=96)
SEARCH = SearchConfig(simulations=12, width=3, depth=5, step_tokens=6, step_end="q", parallel=3, c_puct=1.0)
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

  def run(
    self, requests, search=SEARCH, *, engine=SLOTS, compiled=False, behave=lambda calls: None, environment=Counting,
    seconds=20.0,
  ):  # fmt: skip
    pool = WorkerPool(4)
    strategy = TreeSearch(
      RequestQueue(requests), search, engine=engine, chat=self.lab.chat, make_environment=lambda: environment(behave),
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


SPREAD = dataclasses.replace(SEARCH, prior="uniform", c_puct=2.0)


def test_slow_environments_change_nothing(searches):
  requests = searches.lab.requests(samples=1)
  rng = random.Random(3)
  strategy, _ = searches.run(requests, SPREAD)
  late, _ = searches.run(requests, SPREAD, behave=lambda calls: time.sleep(rng.random() * 0.01))
  assert_same_trees(records(searches, strategy), records(searches, late))


def test_each_parallel_setting_counts_its_visits(searches):
  for parallel in (1, 4):
    strategy, _ = searches.run(searches.lab.requests(samples=1), dataclasses.replace(SPREAD, parallel=parallel))
    for planner in strategy.finished:
      assert planner.prompt_node.visits == SPREAD.simulations + 1
      for node in planner.prompt_node.walk():
        assert node.pending == 0
        if node.visits and not node.terminal and node.parent is not None and planner.chosen[-1] is not node:
          below = sum(child.visits for child in node.children)
          assert node.visits == 1 + below or below >= node.visits - 1  # a later search began below


def test_a_path_is_what_was_visited_most_and_its_record_is_what_was_sampled(searches):
  strategy, _ = searches.run(searches.lab.requests(samples=1), SPREAD)
  for planner, t in zip(sorted(strategy.finished, key=lambda p: p.request.uid), strategy.trajectories, strict=True):
    assert t is planner.trajectory and planner.chosen[-1].terminal
    for node in planner.chosen:
      assert node.visits == max(child.visits for child in node.parent.children)
    sampled = [token for node in planner.chosen for token in node.step.tokens]
    np.testing.assert_array_equal(t.tokens[t.action_mask], sampled)
    logp = [value for node in planner.chosen for value in node.step.logp]
    np.testing.assert_array_equal(t.sampler_logp[t.action_mask], np.asarray(logp, np.float32))
    assert t.reward == pytest.approx(grade(t).reward) == planner.chosen[-1].value


def test_values_are_those_of_the_head_at_the_end_of_the_prefix(searches):
  strategy, _ = searches.run(searches.lab.requests(samples=1)[:2], SPREAD)
  head = searches.params["value"]
  inner = [node for p in strategy.finished for node in p.prompt_node.walk() if node.expanded and not node.terminal][::4]
  assert len(inner) > 4
  for node in inner:
    tokens = node.step.prefix.read()
    row = jnp.asarray([tokens + [0] * (96 - len(tokens))], jnp.int32)
    end = jnp.full_like(row, 96)
    hidden = FORWARD(searches.lab.params, row, jnp.arange(96, dtype=jnp.int32)[None], end, config=searches.lab.model)
    wanted = heads.apply_value_head(head, hidden)[0, len(tokens) - 1]
    assert node.value == pytest.approx(float(wanted), abs=1e-4)


FORWARD = jax.jit(transformer.forward, static_argnames="config")


def test_limits_hold(searches):
  requests = [dataclasses.replace(r, max_tokens=60, max_turns=2) for r in searches.lab.requests(samples=1)]
  strategy, _ = searches.run(requests, dataclasses.replace(SPREAD, depth=3))
  stops = set()
  for planner in strategy.finished:
    stops.add(planner.trajectory.stop)
    assert len(planner.trajectory.tokens) <= 60 and len(planner.trajectory.turns) <= 2
    for node in planner.prompt_node.walk():
      assert len(node.path()) <= 3 and len(node.children) <= SPREAD.width
      assert len(node.step.tokens) <= SPREAD.step_tokens
      assert len({tuple(child.step.tokens) for child in node.children}) == len(node.children)
  assert StopReason.TURN_LIMIT in stops or StopReason.LENGTH_LIMIT in stops


def test_a_search_before_every_step_keeps_the_subtree(searches):
  requests = searches.lab.requests(samples=1)[:2]
  strategy, _ = searches.run(requests, dataclasses.replace(SPREAD, commit="step"))
  for planner in strategy.finished:
    roots = [planner.prompt_node, *planner.chosen[:-1]]
    assert all(root.visits >= SPREAD.simulations + 1 for root in roots)
    assert planner.chosen[-1].terminal
    assert all(node.parent is root for node, root in zip(planner.chosen, roots, strict=True))


def test_rollouts_stand_in_for_a_value_head(searches):
  strategy, _ = searches.run(searches.lab.requests(samples=1)[:2], dataclasses.replace(SPREAD, evaluate="rollout"))
  values = [n.value for p in strategy.finished for n in p.prompt_node.walk() if n.expanded and not n.terminal]
  assert len(values) > 8 and len(set(values)) > 4
  assert all(abs(97 * value - round(97 * value)) < 1e-6 for value in values)  # rewards of `grade`


def test_siblings_are_branches_with_their_shares(searches):
  strategy, _ = searches.run(searches.lab.requests(samples=1), SPREAD)
  found = [(planner, branch) for planner in strategy.finished for branch in branches(planner)]
  assert len(found) > 5
  for planner, branch in found:
    path = planner.trajectory
    assert branch.parent == path.uid and branch.fork_at < len(path.tokens)
    np.testing.assert_array_equal(branch.tokens[: branch.fork_at], path.tokens[: branch.fork_at])
    assert path.action_mask[branch.fork_at] and branch.action_mask[branch.fork_at :].all()
    assert len({len(a) for a in (branch.tokens, branch.action_mask, branch.turn, branch.policy_version)}) == 1
    here = [b for p, b in found if p is planner and b.fork_at == branch.fork_at]
    assert sum(b.visits.branch for b in here) + here[0].visits.path == pytest.approx(1.0)
  assert len({branch.uid for _, branch in found}) == len(found)


# ---- failures ---------------------------------------------------------------------------------------------------


def test_a_failing_environment_bars_its_nodes_alone(searches):
  def behave(calls):
    if calls == 2:
      raise RuntimeError("lost")

  strategy, _ = searches.run(searches.lab.requests(samples=1), SPREAD, behave=behave)
  barred = [n for p in strategy.finished for n in p.prompt_node.walk() if n.barred]
  assert barred and len(strategy.failures) >= len([n for n in barred if not n.children])
  assert any("lost" in str(failure) for failure in strategy.failures)
  for planner in strategy.finished:
    assert planner.trajectory.failed == planner.prompt_node.barred
    assert not any(node.barred for node in planner.chosen)


def test_where_every_way_fails_the_tree_fails(searches):
  resets = []

  class Broken(Counting):
    def reset(self, task, seed):
      resets.append(seed)
      if resets.count(seed) > 1:  # the prompt is there, and nothing can be acted
        raise RuntimeError("lost")
      return super().reset(task, seed)

  requests = searches.lab.requests(samples=1)
  strategy, _ = searches.run(requests, dataclasses.replace(SPREAD, depth=2), environment=Broken)
  for planner in strategy.finished:
    assert planner.trajectory.stop is StopReason.ENVIRONMENT_FAILED and planner.trajectory.reward is None
    assert branches(planner) == [] and planner.prompt_node.barred
  assert len(strategy.failures) == len(resets) - len(requests) > len(requests)


def test_a_tool_that_answers_differently_is_the_environments_failure(searches):
  memory = []

  def behave(calls):
    memory.append(calls)
    return f"{len(memory)} ever"

  strategy, _ = searches.run(searches.lab.requests(samples=1)[:2], SPREAD, behave=behave)
  assert any("the same actions gave" in str(failure) for failure in strategy.failures)


def test_an_environment_that_does_not_answer_is_given_up(searches):
  request, release = searches.lab.requests(samples=1)[:1], threading.Event()

  class Stuck(Counting):
    def reset(self, task, seed):
      release.wait()

  strategy, _ = searches.run(request, SPREAD, environment=Stuck, seconds=0.05)
  release.set()
  assert strategy.trajectories[0].failed and "no answer" in str(strategy.failures[0])


# ---- bad settings -------------------------------------------------------------------------------------------------


def test_more_steps_than_slots_are_refused(searches):
  with pytest.raises(ValueError, match=r"search.width=9.*engine.slots=4"):
    searches.run([], dataclasses.replace(SEARCH, width=9), engine=dataclasses.replace(SLOTS, slots=4))


@pytest.mark.parametrize("name", ["simulations", "width", "depth", "step_tokens", "parallel"])
def test_sizes_below_one_are_refused(name):
  with pytest.raises(ValueError, match=f"search.{name}=0"):
    dataclasses.replace(SEARCH, **{name: 0})


@pytest.mark.parametrize("name", ["prior", "evaluate", "commit"])
def test_unknown_choices_are_refused(name):
  with pytest.raises(ValueError, match=f"no search.{name} is called 'nonsense': "):
    dataclasses.replace(SEARCH, **{name: "nonsense"})


def test_a_prior_temperature_of_zero_is_refused():
  with pytest.raises(ValueError, match="prior_temperature"):
    dataclasses.replace(SEARCH, prior_temperature=0.0)
