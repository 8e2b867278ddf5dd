"""Which tasks are asked: every curriculum for itself, and in a run that is stopped."""

import collections
import importlib
import json
import math
import pathlib
import random
import re
import sys
import textwrap

import numpy as np
import pytest

from agentrl.training import curriculum as lib
from agentrl.training.collect import Collector
from agentrl.training.left_out import LeftOut
from agentrl.types import StopReason, Task, Trajectory, Turn, TurnKind, Visit, VisitShares

NAMES = tuple(lib.CURRICULA)


def make(name, options):
  return lib.make_curriculum(lib.CurriculumSettings(name, options))


def trajectory(group, uid, correct, **changes):
  zeros, second = np.zeros(2, np.float32), np.asarray([-1, 0], np.int32)
  values = {"reward": correct, "reward_parts": {"correct": correct}, "stop": StopReason.ANSWERED, **changes}
  return Trajectory(
    tokens=np.zeros(2, np.int32), action_mask=second == 0, sampler_logp=zeros, entropy=zeros, turn=second,
    policy_version=second, turns=(Turn(TurnKind.VOID, 1, 2, ""),), task_id="t", group_id=group, uid=uid, **values,
  )  # fmt: skip


def learner(chances, samples=8, seed=0):
  """`learner(...)(visits)` gives trajectories; task i is solved with the chance `chances[i]`."""
  draw = random.Random(seed)

  def sample(visits):
    return [
      trajectory(visit.group, n, float(draw.random() < chances[visit.index]))
      for visit in visits
      for n in range(samples)
    ]

  return sample


def look(index):
  """Every third task is of the stratum "hard", and twice as difficult at every other number; 13 is never made."""
  stratum = "hard" if index % 3 == 0 else "easy"
  return None if index == 13 else Task(f"t{index}", "test", "?", difficulty=1 + index % 2, stratum=stratum)


def run(curriculum, sample, *, calls, count, first=0, seed=0, left_out=()):
  """All visits of so many calls, and the record behind them."""
  record, asked = lib.begin_visits(curriculum, first=first, seed=seed, look=look), []
  for _ in range(calls):
    record, visits = lib.next_visits(curriculum, record, count)
    missing = [LeftOut(visit.group, "no such page") for visit in visits if visit.index in left_out]
    record = lib.with_outcomes(record, visits, sample([v for v in visits if v.index not in left_out]), missing)
    asked += visits
  return asked, record


def nothing(visits):
  return []


# ---- what holds of all of them -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_groups_count_on_and_tasks_begin_where_they_may(name):
  asked, record = run(make(name, {}), nothing, calls=5, count=3, first=7)
  assert [visit.group for visit in asked] == list(range(7, 22)) and record["next_group"] == 22
  assert all(visit.index >= 7 for visit in asked)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_state_and_outcomes_ask_the_same_and_are_left_as_they_are(name):
  options = {"strata": ("easy", "hard")} if name == "easy_to_hard" else {}
  curriculum = make(name, {} if name == "fresh" else {"size": 6, **options})
  sample = learner([0.0, 0.2, 0.5, 0.5, 0.8, 1.0])
  _, record = run(curriculum, sample if name != "fresh" else nothing, calls=4, count=4)
  before = json.dumps(record)
  results = [lib.next_visits(curriculum, record, 4) for _ in range(2)]
  assert results[0] == results[1] and json.dumps(record) == before
  assert lib.next_visits(curriculum, json.loads(before), 4) == results[0]


@pytest.mark.parametrize("name", ["pool", "band", "easy_to_hard"])
def test_a_pool_is_asked_in_another_order_under_another_seed(name):
  curriculum = make(name, {"size": 32})
  one, other, again = (run(curriculum, nothing, calls=8, count=4, seed=seed)[0] for seed in (0, 1, 0))
  assert one == again != other


# ---- each of them --------------------------------------------------------------------------------------------------


def test_fresh_asks_task_after_task_with_their_numbers_as_groups():
  asked, _ = run(make("fresh", {}), nothing, calls=4, count=3, first=5)
  assert asked == [Visit(n, n) for n in range(5, 17)]


@pytest.mark.parametrize("first", [5, 6, 7, 8])
def test_fresh_may_ask_every_third_task_alone(first):
  asked, _ = run(make("fresh", {"every": 3, "place": 1}), nothing, calls=2, count=3, first=first)
  begin = 7 if first <= 7 else 10
  assert asked == [Visit(first + n, begin + 3 * n) for n in range(6)]


@pytest.mark.parametrize("count", [1, 4, 5, 13])
def test_pool_asks_every_task_once_an_epoch_however_many_at_a_time(count):
  asked, record = run(make("pool", {"size": 5}), nothing, calls=20, count=count, first=3)
  indices = [visit.index for visit in asked]
  epochs = [tuple(indices[start : start + 5]) for start in range(0, len(indices), 5)]
  assert all(sorted(epoch) == [3, 4, 5, 6, 7] for epoch in epochs if len(epoch) == 5)
  assert len(set(epochs)) > 1  # shuffled anew
  assert indices == [v.index for v in run(lib.pool(size=5), nothing, calls=len(indices), count=1, first=3)[0]]
  assert record["state"]["visits"] == len(indices)


def test_pool_measures_what_came_again_and_its_success():
  pool = make("pool", {"size": 4})
  record = lib.begin_visits(pool, first=0, seed=0, look=look)
  assert pool.metrics(record["state"]) == {}
  _, record = run(pool, learner([0.0, 1.0, 1.0, 1.0]), calls=3, count=2)
  assert pool.metrics(record["state"])["again"] == pytest.approx(1 - 4 / 6)
  record, _ = lib.next_visits(pool, record, 2)
  assert pool.metrics(record["state"]) == {"again": 0.5, "success": 0.75}


def test_band_asks_every_task_before_any_comes_again():
  asked, _ = run(lib.band(size=12, explore=0.0), learner([0.5] * 12), calls=4, count=3)
  assert sorted(visit.index for visit in asked) == list(range(12))


def test_band_stays_where_the_policy_succeeds_sometimes():
  chances = [0.0] * 20 + [0.5] * 10 + [1.0] * 20
  asked, record = run(lib.band(size=50, low=0.2, high=0.8, explore=0.1), learner(chances), calls=60, count=5)
  later = [visit.index for visit in asked[50:]]
  inside = sum(20 <= index < 30 for index in later) / len(later)
  assert inside > 0.8  # a fifth of the pool
  assert len({index for index in later if not 20 <= index < 30}) > 5  # explored
  explored = run(lib.band(size=50, low=0.2, high=0.8, explore=1.0), learner(chances), calls=60, count=5)[0]
  assert sum(20 <= visit.index < 30 for visit in explored) / len(explored) < 0.3
  metrics = lib.band(size=50, low=0.2, high=0.8).metrics(record["state"])
  assert metrics["in_band"] == pytest.approx(0.2, abs=0.05) and metrics["success"] == pytest.approx(0.5, abs=0.05)


def share_in_the_band_as_the_policy_gets_better(explore):
  """Task i is solved half the time when the policy is as good as i / 40."""
  band, draw, inside = lib.band(size=40, low=0.2, high=0.8, explore=explore), random.Random(0), []
  record = lib.begin_visits(band, first=0, seed=0, look=look)
  for skill in np.arange(0, 1, 0.01):
    record, visits = lib.next_visits(band, record, 4)
    chance = {v.group: 1 / (1 + math.exp(-15 * (skill - v.index / 40))) for v in visits}
    sampled = [trajectory(g, n, float(draw.random() < p)) for g, p in chance.items() for n in range(8)]
    record = lib.with_outcomes(record, visits, sampled, [])
    inside += [0.2 <= p <= 0.8 for p in chance.values()]
  return np.mean(inside[40:])  # behind the first epoch


def test_band_follows_a_policy_that_gets_better():
  assert share_in_the_band_as_the_policy_gets_better(0.2) > 0.4
  assert share_in_the_band_as_the_policy_gets_better(1.0) < 0.2  # any task of the pool


def test_without_a_task_in_the_band_the_nearest_ones_are_asked():
  asked, _ = run(lib.band(size=6, low=0.4, high=0.6, explore=0.0), learner([0, 0, 0, 1, 0.9, 0]), calls=9, count=2)
  assert collections.Counter(visit.index for visit in asked[6:])[4] == 6  # in every call


def test_the_running_rate_is_that_of_the_docstring():
  band = lib.band(size=1, keep=0.5)
  record = lib.begin_visits(band, first=0, seed=0, look=look)
  for successes in (1, 4):
    record, visits = lib.next_visits(band, record, 1)
    sampled = [trajectory(visits[0].group, n, float(n < successes)) for n in range(4)]
    record = lib.with_outcomes(record, visits, sampled, [])
  record, _ = lib.next_visits(band, record, 1)
  assert record["state"]["tried"] == {"0": [3, 6.0, 4.5]}  # n = 4 / 2 + 4, c = 1 / 2 + 4
  assert band.metrics(record["state"])["success"] == 0.75


def test_a_task_that_gave_no_sample_comes_last():
  asked, record = run(lib.band(size=4, explore=0.0), learner([0.5] * 4), calls=8, count=2, left_out={2})
  assert [visit.index for visit in asked].count(2) == 1
  _, visits = lib.next_visits(lib.band(size=4, explore=0.0), record, 6)  # more than there are
  assert visits[3].index == 2 and len({visit.index for visit in visits[:4]}) == 4


EASY, MIXED = ("easy", "hard"), ("hard", "easy")


@pytest.mark.parametrize(
  ("strata", "order"),
  [
    (EASY, [[2, 4, 8, 10], [1, 5, 7, 11], [6, 0], [3, 9]]),  # easy and even, easy and odd, hard and even, hard and odd
    (MIXED, [[0, 6], [3, 9], [2, 4, 8, 10], [1, 5, 7, 11]]),
    ((), [[0, 2, 4, 6, 8, 10], [1, 3, 5, 7, 9, 11]]),
  ],
)
def test_easy_to_hard_orders_by_stratum_and_then_by_difficulty(strata, order):
  state = lib.easy_to_hard(size=12, strata=strata).start(0, 0, look)
  left = list(state["order"])
  for equals in order:
    assert sorted(left[: len(equals)]) == sorted(equals)
    left = left[len(equals) :]


def test_easy_to_hard_opens_the_pool_as_its_docstring_says():
  curriculum = lib.easy_to_hard(size=10, strata=EASY, begin=0.2, visits=100, power=2.0)
  asked, record = run(curriculum, nothing, calls=200, count=1)
  order = record["state"]["order"]
  places = [order.index(visit.index) for visit in asked]
  # c(0) = .2; c(37) = sqrt(.04 + .96 * .37) = .6285 and c(50) = sqrt(.52) = .72, so that 7 and 8 of 10 tasks are open
  assert set(places[:1]) <= {0, 1} and max(places[:38]) == 6 and max(places[:51]) <= 7
  assert set(places) == set(range(10))
  assert curriculum.metrics(record["state"])["open"] == 1
  assert curriculum.metrics({**record["state"], "visits": 51})["open"] == pytest.approx(math.sqrt(0.52))
  slow = run(lib.easy_to_hard(size=10, strata=EASY, begin=0.2, visits=100, power=1.0), nothing, calls=51, count=1)[0]
  assert max(order.index(visit.index) for visit in slow) == 5  # c(50) = .2 + .8 / 2 = .6


def test_easy_to_hard_asks_no_open_task_twice_in_a_call_before_all_of_them():
  asked, _ = run(lib.easy_to_hard(size=6, strata=EASY, begin=1.0), nothing, calls=4, count=6)
  for call in range(4):
    assert sorted(visit.index for visit in asked[6 * call : 6 * call + 6]) == list(range(6))
  few, _ = run(lib.easy_to_hard(size=6, strata=EASY, begin=0.3, visits=10**6), nothing, calls=1, count=6)
  assert list(collections.Counter(visit.index for visit in few).values()) == [3, 3]  # ceil(.3 * 6) are open


def test_a_task_that_cannot_be_made_is_the_hardest():
  assert lib.easy_to_hard(size=6, strata=EASY).start(10, 0, look)["order"][-1] == 13


@pytest.mark.parametrize(
  ("strata", "looked", "words"),
  [
    (("easy",), look, "strata=.'easy',. lacks 'hard': tasks of the pool have the strata 'easy', 'hard'"),
    ((), lambda index: Task("t", "test", "?", stratum="s"), "equally hard.*Their strata are 's': name them in"),
  ],
)
def test_what_easy_to_hard_cannot_order_is_told(strata, looked, words):
  with pytest.raises(ValueError, match=words):
    lib.easy_to_hard(size=6, strata=strata).start(0, 0, looked)


def test_a_pool_says_which_tasks_are_in_it():
  for name, options in (("pool", {}), ("band", {}), ("easy_to_hard", {"strata": EASY})):
    curriculum = make(name, {"size": 5, **options})
    record = lib.begin_visits(curriculum, first=3, seed=0, look=look)
    assert list(curriculum.pool(record["state"])) == [3, 4, 5, 6, 7]
  assert not make("fresh", {}).pool({"next": 3})


def test_a_pool_that_is_measured_has_to_be_there():
  lib.check_curriculum(lib.CurriculumSettings("pool"), measured=4)
  lib.check_curriculum(lib.CurriculumSettings("fresh"), measured=0)
  with pytest.raises(ValueError, match=r"eval\.pool=4: curriculum\.name='fresh' has no pool"):
    lib.check_curriculum(lib.CurriculumSettings("fresh"), measured=4)


# ---- outcomes ------------------------------------------------------------------------------------------------------


def test_outcomes_are_of_samples_that_have_a_reward():
  fresh = make("fresh", {})
  record, visits = lib.next_visits(fresh, lib.begin_visits(fresh, first=4, seed=0, look=look), 3)
  failed = trajectory(4, 1, None, reward=None, reward_parts=None, stop=StopReason.ENVIRONMENT_FAILED)
  step = trajectory(4, 2, 0.5, visits=VisitShares(0.5, 0.5, 3))
  told = [trajectory(4, 0, 1.0), failed, step, trajectory(5, 3, 0.0, reward=-0.5)]
  record = lib.with_outcomes(record, visits, told, [LeftOut(6, "no page")])
  assert [lib.Outcome(**outcome) for outcome in record["outcomes"]] == [
    lib.Outcome(4, 4, [1.0], [True], False),
    lib.Outcome(5, 5, [-0.5], [False], False),
    lib.Outcome(6, 6, [], [], True),
  ]
  assert json.loads(json.dumps(record)) == record


# ---- wrong settings ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
  ("name", "options", "words"),
  [
    ("pol", {}, "no curriculum.name is called 'pol': did you mean 'pool'"),
    ("pool", {"sise": 3}, r"curriculum.options.sise: did you mean 'size'\? pool takes size"),
    ("fresh", {"size": 3}, "curriculum.options.size: fresh takes every, place"),
    ("fresh", {"every": 0}, "curriculum.options.every=0 must be at least 1"),
    ("fresh", {"every": 2, "place": 2}, "curriculum.options.place=2 must be at least 0 and at most 1"),
    ("pool", {"size": 0}, "curriculum.options.size=0 must be at least 1"),
    ("pool", {"size": "8"}, "curriculum.options.size of pool must be of type int, not str: '8'"),
    ("band", {"low": 0.8, "high": 0.2}, "curriculum.options.high=0.2 must be at least 0.8 and at most 1"),
    ("band", {"explore": 1.5}, "curriculum.options.explore=1.5 must be at least 0 and at most 1"),
    ("easy_to_hard", {"power": 0}, "curriculum.options.power=0.0 must be above 0"),
  ],
)
def test_a_wrong_setting_is_named(name, options, words):
  with pytest.raises(ValueError, match=words):
    make(name, options)


# ---- a curriculum of somebody else's ---------------------------------------------------------------------------------

ROOT = pathlib.Path(__file__).parents[2]
OWN = '''
"""Asks the tasks of a pool in turn, and those again at once that nobody solved."""

from agentrl.training.curriculum import Curriculum


def stubborn(*, size=3):
  def start(first, seed, look):
    return {"first": first, "turn": 0, "unsolved": ()}

  def ask(state, outcomes, count):
    unsolved = [o.index for o in outcomes if not any(o.successes)]
    turns = range(state["turn"], state["turn"] + max(0, count - len(unsolved)))
    indices = [*unsolved, *(state["first"] + turn % size for turn in turns)][:count]
    return {**state, "turn": turns.stop, "unsolved": tuple(unsolved)}, indices

  return Curriculum(start, ask)


def short():
  return Curriculum(lambda first, seed, look: {}, lambda state, outcomes, count: (state, [0]))


def nothing():
  pass


def secretive():
  return Curriculum(lambda first, seed, look: {"draw": object()}, lambda state, outcomes, count: (state, [0] * count))
'''


@pytest.fixture
def own(tmp_path, monkeypatch):
  """The name of a module with curricula, that of CONTRIBUTING.md among them, in a folder that is not ours."""
  written = re.search(r"      def backwards.*?\n\n", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)[0]
  (tmp_path / "my_curricula.py").write_text(OWN + textwrap.dedent(written))
  monkeypatch.syspath_prepend(tmp_path)
  importlib.invalidate_caches()
  yield "my_curricula"
  sys.modules.pop("my_curricula", None)


def test_a_curriculum_of_ones_own_is_one_function(own):
  stubborn = make(f"{own}:stubborn", {"size": 4})
  asked, record = run(stubborn, learner([1, 0, 1, 1]), calls=3, count=2)
  assert asked == [Visit(0, 0), Visit(1, 1), Visit(2, 1), Visit(3, 2), Visit(4, 1), Visit(5, 3)]
  assert record["state"]["unsolved"] == [1]  # as a checkpoint will give it back
  with pytest.raises(ValueError, match=r"curriculum.options.sise: did you mean 'size'\? stubborn takes size"):
    make(f"{own}:stubborn", {"sise": 4})


def test_the_five_lines_of_the_contributing_page_are_a_curriculum(own):
  asked, _ = run(make(f"{own}:backwards", {"size": 3}), nothing, calls=2, count=2, first=5)
  assert [visit.index for visit in asked] == [7, 6, 5, 7]


def test_what_no_curriculum_may_give_is_an_error(own):
  short = make(f"{own}:short", {})
  with pytest.raises(ValueError, match=r"was asked for 2 numbers of tasks, from 0 up, and gave \[0\]"):
    lib.next_visits(short, lib.begin_visits(short, first=0, seed=0, look=look), 2)
  with pytest.raises(ValueError, match=r"curriculum\.name: .* state must be a dict of JSON values: .*object"):
    lib.begin_visits(make(f"{own}:secretive", {}), first=0, seed=0, look=look)
  with pytest.raises(ValueError, match=r"curriculum\.name='my_curricula:nothing' gave None where a `Curriculum` was"):
    make(f"{own}:nothing", {})


@pytest.mark.parametrize(
  ("answer", "words"),
  [
    ([0, 1], r"`ask` of the curriculum gave a list; \(state, indices\) was due"),
    (({"seen": {1}}, [0, 1]), "state must be a dict of JSON values: Object of type set"),
    ((None, [0, 1]), "state is None; a dict of JSON values was due"),
    (({}, 2), "asked for 2 numbers of tasks, from 0 up, and gave 2"),
  ],
)
def test_what_is_no_state_and_no_indices_is_told(answer, words):
  wrong = lib.Curriculum(lambda first, seed, look: {}, lambda state, outcomes, count: answer)
  with pytest.raises(ValueError, match=rf"curriculum\.name: .*{words}"):
    lib.next_visits(wrong, lib.begin_visits(wrong, first=0, seed=0, look=look), 2)


# ---- in a run ------------------------------------------------------------------------------------------------------


class Stopped(Exception):
  """Stands for a kill."""


def test_a_stopped_run_goes_on_to_ask_the_same(run_of, tmp_path):
  settings = {"curriculum": {"name": "band", "options": {"size": 3}}, "eval": {"pool": 2}}
  whole = run_of(tmp_path / "whole", settings=settings)
  asked = run_of.asked.copy()
  first = 2 * 4  # behind the cold start's
  assert len(asked) == 6 and [visit.group for visit in asked] == list(range(first, first + 6))
  assert {visit.index for visit in asked} <= {first, first + 1, first + 2}
  assert "eval_pool/success" not in whole[0] and whole[-1]["eval_pool/tasks"] == 2
  assert whole[-1]["curriculum/again"] >= 0.5 and 0 <= whole[-1]["curriculum/success"] <= 1
  run_of.asked.clear()
  run_of.stop_at = 2
  with pytest.raises(Stopped):
    run_of(tmp_path / "run", settings=settings)
  run_of.stop_at = None
  assert run_of(tmp_path / "run", settings=settings) == whole
  assert run_of.asked == asked


@pytest.fixture
def run_of(run, monkeypatch):
  """`run`, which keeps what is asked, and stops before the collection number `stop_at`."""
  collect = Collector.collect

  def watched(self, params, key, visits, *, split, **settings):
    if split == "train" and settings["memory"] is not None:  # no evaluation of the pool
      if len(start.asked) == 2 * (start.stop_at if start.stop_at is not None else -1):
        raise Stopped
      start.asked += visits
    return collect(self, params, key, visits, split=split, **settings)

  def start(*arguments, **settings):
    return run(*arguments, **settings)

  start.asked, start.stop_at = [], None
  monkeypatch.setattr(Collector, "collect", watched)
  return start
