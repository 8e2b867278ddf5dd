"""What is read of two runs: at the end, at equal cost, and what it cost to get somewhere."""

import json

import pytest

from agentrl.report.measures import AtEqual, BestOfLast, CostToReach, Last, MeanOfLast, Spent
from tests.report.conftest import write_curve

GAMES = "rollout/trajectories"


@pytest.fixture
def runs(tmp_path):
  """A run that spends 10 a step, and one that spends 5; both evaluated at the start and after each of four steps."""
  return (
    write_curve(tmp_path / "one", [0.1, 0.5, 0.2, 0.6, 0.7], cost=10),
    write_curve(tmp_path / "two", [0.1, 0.2, 0.3, 0.4, 0.3], cost=5),
  )


def values(measure, runs):
  return [reading.value for reading in measure.read(*runs)]


def test_the_end_and_the_last_few(runs):
  assert values(Last("eval/success"), runs) == [0.7, 0.3]
  assert values(MeanOfLast("eval/success", 2), runs) == pytest.approx([0.65, 0.35])
  assert values(BestOfLast("eval/success", 3), runs) == [0.7, 0.4]


def test_the_last_few_are_those_of_evaluations(tmp_path):
  run = write_curve(tmp_path / "run", [0.1, 0.5, 0.2], cost=10)
  lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
  between = [{"step": step, "wall_s": 1.0, "train/reward": 9.0} for step in (3, 4)]  # a recorded run may lack them
  lines = [line | {"train/reward": float(line["step"])} for line in lines]
  (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in [*lines, *between]))
  assert values(MeanOfLast("train/reward", 2), (run, run)) == [1.5, 1.5]
  assert values(BestOfLast("train/reward", 2), (run, run)) == [2.0, 2.0]


def test_at_equal_cost_both_are_read_where_the_cheaper_one_ends(runs):
  # The second has spent 20; there the first is at its evaluation after two steps.
  assert values(AtEqual("eval/success", GAMES), runs) == pytest.approx([0.2, 0.3])
  assert values(AtEqual("eval/success", GAMES), runs[::-1]) == pytest.approx([0.3, 0.2])


def test_a_run_that_spent_nothing_is_read_at_its_end_and_the_other_before_rl(runs, tmp_path):
  free = write_curve(tmp_path / "free", [0.1, 0.2, 0.4], cost=0)
  assert values(AtEqual("eval/success", GAMES), (free, runs[0])) == [0.4, 0.1]
  assert values(Spent(GAMES), (free, runs[0])) == [0, 40]
  one, _ = CostToReach(GAMES, "eval/success", 0.9).read(free, runs[0])
  assert (one.value, one.at_least) == (0, True)


def test_the_cost_of_a_value_first_and_for_good(runs):
  assert values(CostToReach(GAMES, "eval/success", 0.4), runs) == [10, 15]
  one, two = CostToReach(GAMES, "eval/success", 0.4, held=True).read(*runs)
  assert (one.value, one.at_least) == (30, False)
  assert (two.value, two.at_least) == (20, True)  # never for good: at least all that was spent


def test_all_that_was_spent_leaves_the_cold_start_out(runs, tmp_path):
  assert values(Spent(GAMES), runs) == [40, 20]
  warm = write_curve(tmp_path / "warm", [0.1, 0.5], cost=10, cold=3)
  assert values(Spent(GAMES), (warm, warm)) == [10, 10]


@pytest.mark.parametrize(
  ("measure", "text"),
  [
    (Last("a/b"), "`a/b` at the end"),
    (MeanOfLast("a/b", 3), "`a/b`, mean of the last 3 evaluations"),
    (BestOfLast("a/b", 3), "`a/b`, best of the last 3 evaluations"),
    (AtEqual("a/b", "c/d"), "`a/b` at equal `c/d`"),
    (CostToReach("c/d", "a/b", -3.89, held=True), "`c/d` until `a/b` is at least -3.89 for good"),
    (Spent("c/d"), "`c/d` in all"),
  ],
)
def test_it_says_what_it_reads(measure, text):
  assert str(measure) == text


def test_what_was_not_measured_is_told(runs):
  with pytest.raises(ValueError, match=r"no 'eval/succes' .*eval/success"):
    Last("eval/succes").read(*runs)
  with pytest.raises(ValueError, match="measured 5 times, and a claim asks for the last 6"):
    MeanOfLast("eval/success", 6).read(*runs)
