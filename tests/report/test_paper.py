"""The page and figures of a paper, from its recorded runs."""

import pytest

from agentrl.report.claims import Claim
from agentrl.report.measures import AtEqual, CostToReach, Last
from agentrl.report.paper import write_paper
from tests.report.conftest import write_curve

END, GAMES = Last("eval/success"), "rollout/trajectories"


@pytest.fixture
def results(tmp_path):
  for seed, end in enumerate((0.75, 0.875)):
    for arm, cost in (("a", 10), ("b", 100 + 10 * seed)):
      write_curve(tmp_path / "mine" / arm / f"seed{seed}", [0.25, 0.5, end], cost=cost, cold=2, seed=seed)
  return tmp_path / "mine"


def test_a_page_has_figure_runs_and_verdicts(results):
  claims = [
    Claim("better", "a", "b", AtEqual("eval/success", GAMES), "higher"),
    Claim("cheap", "a", "b", CostToReach(GAMES, "eval/success", 0.7), "lower"),
  ]
  page, figure = write_paper(results, "configs/my.py", ["a", "b", "not_run"], claims)
  text = page.read_text()
  assert text.startswith("# configs/my.py\n\nWritten by `python experiments/reproduce.py configs/my.py`")
  assert "| a | 0, 1 | 0.25, 0.25 | 0.75, 0.875 | 0.0, 0.0 |" in text and "not_run" not in text
  assert "![success](success.png)" in text and figure.read_bytes()[:4] == b"\x89PNG"
  assert text.count("**holds**") == 1 and text.count("**undecided**") == 1


def test_a_paper_without_runs_says_that_nothing_was_run(tmp_path):
  (tmp_path / "mine").mkdir()
  (page,) = write_paper(tmp_path / "mine", "my.py", ["a", "b"], [Claim("better", "a", "b", END, "higher")])
  assert "**not yet run**" in page.read_text()
