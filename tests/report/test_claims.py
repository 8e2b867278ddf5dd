"""Verdicts: what an interval over seeds leaves out, which seeds are pairs, and what a run that never got there says."""

import math

import numpy as np
import pytest

from agentrl.report import claims
from agentrl.report.claims import BEFORE, Claim, Verdict, judge
from agentrl.report.measures import AtEqual, CostToReach, Last, Spent
from tests.report.conftest import write_curve

END = Last("eval/success")
REACH = CostToReach("rollout/trajectories", "eval/success", 0.5)


@pytest.fixture
def write(tmp_path):
  """`write(arm, [curve of seed 0, curve of seed 1, ...])`; runs share the cold start of their seed."""

  def runs(arm, curves, *, cost=10, cold=2, first_seed=0, **cold_start):
    for seed, values in enumerate(curves, first_seed):
      write_curve(tmp_path / arm / f"seed{seed}", values, cost=cost, cold=cold, seed=seed, **cold_start)
    return tmp_path

  return runs


def claim(measure=END, *, against="b", direction="higher"):
  return Claim("a is better", arm="a", against=against, measure=measure, direction=direction)


@pytest.mark.parametrize(
  ("ends", "direction", "verdict"),
  [
    ((0.8, 0.9, 0.7), "higher", Verdict.HOLDS),
    ((0.8, 0.9, 0.7), "lower", Verdict.REVERSED),
    ((0.4, 0.9, 0.1), "higher", Verdict.UNDECIDED),
  ],
)
def test_an_interval_that_leaves_zero_out_decides(write, ends, direction, verdict):
  write("a", [[0.1, end] for end in ends])
  results = write("b", [[0.1, 0.2], [0.1, 0.3], [0.1, 0.2]])
  got = judge(claim(direction=direction), results)
  assert got.verdict is verdict and got.pairs and got.interval.count == 3
  assert got.means == pytest.approx((np.mean(ends), 0.7 / 3))
  assert math.isnan(got.seeds_needed) == (verdict is not Verdict.UNDECIDED)


def test_seeds_are_pairs_where_they_began_alike(write):
  # Seeds differ by far more than arms: pairs tell, means do not.
  write("a", [[0, 0.1], [0, 0.5], [0, 0.9]], batch=2)
  results = write("b", [[0, 0.05], [0, 0.44], [0, 0.86]], batch=2)
  assert judge(claim(), results).verdict is Verdict.HOLDS
  other = write("c", [[0, 0.05], [0, 0.44], [0, 0.86]], batch=3)
  got = judge(claim(against="c"), other)
  assert not got.pairs and got.verdict is Verdict.UNDECIDED


def test_whose_cold_start_was_taken_over_does_not_matter(write):
  write("a", [[0, 1.0], [0, 1.0]], run="")
  assert judge(claim(), write("b", [[0, 0.5], [0, 0.4]], run="runs/a", of_later=1)).pairs  # nor a newer version's key


def test_runs_without_a_cold_start_are_no_pairs(write):
  write("a", [[0, 1.0], [0, 1.0]], cold=0)
  assert not judge(claim(), write("b", [[0, 0.5], [0, 0.4]], cold=0)).pairs


def test_only_common_seeds_are_compared(write):
  write("a", [[0, 1.0]] * 5)
  got = judge(claim(), write("b", [[0, 0.5], [0, 0.4]], first_seed=3))
  assert got.interval.count == 2 and got.interval.mean == pytest.approx(0.55)


def test_one_seed_decides_nothing(write):
  write("a", [[0, 1.0]])
  got = judge(claim(), write("b", [[0, 0.1]]))
  assert got.verdict is Verdict.UNDECIDED and math.isnan(got.seeds_needed)


def test_without_runs_of_both_nothing_is_claimed(write):
  assert judge(claim(), write("a", [[0, 1.0]])).verdict is Verdict.NOT_RUN


def test_a_run_against_itself_before(write):
  got = judge(claim(against=BEFORE), write("a", [[0.1, 0.5], [0.2, 0.7], [0.1, 0.6]]))
  assert got.verdict is Verdict.HOLDS and got.means == pytest.approx((0.6, 0.4 / 3))


def test_costs_are_compared_by_their_ratio(write):
  write("a", [[0, 0.6], [0, 0, 0.6], [0, 0.6]], cost=10)
  results = write("b", [[0, 0.6], [0, 0, 0.6], [0, 0, 0.6]], cost=80)
  got = judge(claim(REACH, direction="lower"), results)
  # Ratios 10 / 80, 20 / 160 and 10 / 160: the geometric mean is 1 / (8 2^(1/3)).
  assert got.verdict is Verdict.HOLDS and math.exp(got.interval.mean) == pytest.approx(1 / (8 * 2 ** (1 / 3)))
  assert judge(claim(Spent("rollout/trajectories"), direction="lower"), results).verdict is Verdict.HOLDS


@pytest.mark.parametrize("cold", [2, 0])
def test_seeds_that_say_the_same_decide_nothing(write, cold):
  write("a", [[0.1, 0.6]] * 3, cold=cold)
  got = judge(claim(), write("b", [[0.1, 0.5]] * 3, cold=cold))
  assert got.pairs == (cold > 0) and got.verdict is Verdict.UNDECIDED and math.isnan(got.seeds_needed)
  assert got.note == "no seed differs from another, which does not tell their spread"


@pytest.mark.parametrize(("cold", "decides"), [(2, 6), (0, 4)])
@pytest.mark.parametrize("less", [1, 0])
def test_of_runs_that_never_got_there_the_order_of_the_seeds_decides(write, cold, decides, less):
  count = decides - less
  write("a", [[0, 0.6], *[[0, 0, 0.6]] * (count - 1)], cost=10, cold=cold)
  results = write("b", [*[[0, 0.1, 0.6]] * (count - 1), [0, 0.1, 0.1]], cost=40, cold=cold)  # 80, at least 80
  got = judge(claim(REACH, direction="lower"), results)
  assert got.at_least == (False, True) and got.means[1] == pytest.approx(80)
  assert got.verdict is (Verdict.UNDECIDED if less else Verdict.HOLDS) and math.isnan(got.seeds_needed)
  assert got.note == ("b did not get there in every seed, and the order of the seeds may be chance" if less else "")
  assert judge(claim(REACH), results).verdict is (Verdict.UNDECIDED if less else Verdict.REVERSED)


def test_what_was_spent_without_getting_there_is_no_upper_bound(write):
  write("c", [[0, 0.1]] * 6, cost=10)
  results = write("d", [[0, 0.6]] * 6, cost=40)
  got = judge(Claim("c is cheap", "c", "d", REACH, "lower"), results)
  assert got.verdict is Verdict.UNDECIDED and got.at_least == (True, False)
  assert got.note.startswith("c did not get there in every seed")


def test_what_costs_nothing_has_no_ratio(write):
  write("a", [[0.9, 0.9], [0.9, 0.9]])
  got = judge(claim(REACH), write("b", [[0, 0.9], [0, 0.9]]))
  assert got.verdict is Verdict.UNDECIDED and got.note == "a cost of 0 has no ratio"


def test_a_claim_that_makes_no_sense_is_refused():
  for measure in (REACH, Spent("rollout/trajectories"), AtEqual("eval/success", "rollout/trajectories")):
    with pytest.raises(ValueError, match="name another arm"):
      claim(measure, against=BEFORE)
  with pytest.raises(ValueError, match=r"no direction of the claim 'a is better' is called 'more': .*higher, lower"):
    claim(direction="more")


def test_runs_are_found_by_their_seed(write):
  results = write("a", [[0, 1.0]] * 11)
  (results / "a" / "seedling").mkdir()
  assert list(claims.runs_of(results, "a")) == list(range(11))
