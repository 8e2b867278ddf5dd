"""The table of claims: a row for each, whose numbers are those of the recorded runs."""

import pathlib

from agentrl.report.claims import BEFORE, Claim, judge
from agentrl.report.claims_table import page, table
from agentrl.report.measures import CostToReach, Last
from agentrl.training.paper import all_claims
from tests.report.conftest import write_curve

ROOT = pathlib.Path(__file__).parents[2]


def rows_of(text):
  return [[cell.strip() for cell in row.strip("|").split("|")] for row in text.splitlines() if row.startswith("| ")]


def test_every_kind_of_verdict_has_its_row(tmp_path):
  for seed, (one, two) in enumerate([(0.9, 0.2), (0.8, 0.3), (0.9, 0.25)]):
    write_curve(tmp_path / "a" / f"seed{seed}", [0.1, one], cost=10, cold=2, seed=seed)
    write_curve(tmp_path / "b" / f"seed{seed}", [0.1, two], cost=20, cold=2, seed=seed)
    write_curve(tmp_path / "d" / f"seed{seed}", [0.1, 0.9 if seed else 0.1], cost=40, cold=2, seed=seed)
  end = Last("eval/success")
  claims = [
    Claim("better", "a", "b", end, "higher", published="twice (table 1)"),
    Claim("worse", "a", "b", end, "lower"),
    Claim("cheap", "a", "b", CostToReach("rollout/trajectories", "eval/success", 0.15), "lower"),
    Claim("cheaper", "a", "d", CostToReach("rollout/trajectories", "eval/success", 0.15), "lower"),
    Claim("dearer", "d", "a", CostToReach("rollout/trajectories", "eval/success", 0.15), "higher"),
    Claim("new", "a", "c", end, "higher"),
    Claim("learns", "b", BEFORE, end, "higher"),
  ]
  head, better, worse, cheap, cheaper, dearer, new, learns = rows_of(
    table([judge(claim, tmp_path) for claim in claims])
  )
  assert len(head) == len(better) == 7
  assert better[1:4] == ["`eval/success` at the end: `a` higher than `b`", "twice (table 1)", "0.8667, 0.25"]
  assert better[4].startswith("+0.617 (+") and better[5:] == ["3", "**holds**"]
  assert (worse[2], worse[6]) == ("(ours)", "**reversed**")
  assert cheap[4] == "x 0.5" and cheap[6].startswith("**undecided**: no seed differs from another")
  assert cheaper[3:5] == ["10, at least 40", "x at most 0.25"] and cheaper[6].startswith("**undecided**: d did not get")
  assert dearer[3:5] == ["at least 40, 10", "x at least 4"]
  assert new[3:] == ["", "", "", "**not yet run**"]
  assert learns[1].endswith("`b` higher than before RL") and learns[6] == "**holds**"


def test_undecided_claims_say_how_many_seeds_would_decide(tmp_path):
  for seed, one in enumerate([0.9, 0.2, 0.5]):
    write_curve(tmp_path / "a" / f"seed{seed}", [0.1, one], cost=10, cold=2, seed=seed)
    write_curve(tmp_path / "b" / f"seed{seed}", [0.1, 0.4], cost=20, cold=2, seed=seed)
  (row,) = rows_of(table([judge(Claim("better", "a", "b", Last("eval/success"), "higher"), tmp_path)]))[1:]
  # d = 0.1333, s = 0.3512: n = 57 is the first with n >= ((2.0032 + 0.8482) * 2.634)^2 = 56.4
  assert row[6] == "**undecided**: 57 seeds would tell such a difference"


def test_the_page_in_results_is_what_the_recorded_runs_say():
  written, told = (ROOT / "results" / "CLAIMS.md").read_text(), page(all_claims(ROOT / "configs"), ROOT / "results")
  assert written == told, "write it anew with python experiments/reproduce.py --claims"
