"""The comparing command: what it prints and saves, and its errors."""

import json

import pytest

from agentrl.training import compare_search, config_values
from agentrl.training.compare_search import Comparison, Row
from experiments import compare_search as command
from tests.training.test_tree_search import settings

FOUND = Comparison(
  7,
  [Row("one sample", 1, False, 0.25, 0.125, 0.5, 12.25), Row("tree search", 6, True, 0.75, 0.5, 0.875, 480.0)],
  ["No rows of a third kind."],
)


@pytest.fixture
def run(tmp_path):
  (tmp_path / "config.json").write_text(config_values.to_json(settings()))
  return tmp_path


def test_the_table_is_printed_and_saved(run, monkeypatch, capsys):
  asked = {}
  monkeypatch.setattr(compare_search, "compare", lambda config, **rest: asked.update(config=config, **rest) or FOUND)
  argv = [
    "--run",
    str(run),
    "--config.search.simulations=9",
    "--step",
    "7",
    "--tasks",
    "3",
    "--samples",
    "8",
    "--searches",
    "2",
    "--leaves",
    "2",
    "4",
  ]
  assert command.main(argv) == 0
  assert (asked["run"], asked["step"], asked["leaves"]) == (run, 7, [2, 4])
  assert asked["config"].eval.to_dict() == {"tasks": 3, "samples": 8, "search": 2, "temperature": 1.0, "pool": 0}
  assert asked["config"].search.simulations == 9
  out = capsys.readouterr().out
  rows = [" ".join(word for word in line.split() if word not in "│┃") for line in out.splitlines()]
  assert "one sample 1 25.0% 12.5% to 50.0% 12" in rows and "tree search * 6 75.0% 50.0% to 87.5% 480" in rows
  assert "No rows of a third kind." in rows and "Step 7, 3 held-out tasks" in out
  saved = json.loads((run / "compare_search_000007.json").read_text())
  assert saved["rows"][1] == FOUND.rows[1]._asdict() and saved["eval"]["tasks"] == 3
  assert command.main([*argv, "--out", str(run / "other.json")]) == 0
  assert json.loads((run / "other.json").read_text()) == saved


def test_errors_are_one_message(run, tmp_path, capsys):
  assert command.main(["--run", str(tmp_path / "nothing")]) == 1
  assert "holds no run" in capsys.readouterr().err
  assert command.main(["--run", str(run), "--leaves", "8"]) == 1
  assert "--leaves 8: give at least 2, and at most engine.slots=6" in capsys.readouterr().err
  assert command.main(["--run", str(run), "--leaves", "4"]) == 1
  error = capsys.readouterr().err
  assert "has no checkpoint" in error and "Traceback" not in error
  assert command.main(["--run", str(run), "--out", str(tmp_path / "nowhere" / "out.json")]) == 1
  assert "there is no folder" in capsys.readouterr().err
  (run / "config.json").write_text("{")
  assert command.main(["--run", str(run)]) == 1
  assert "config.json is damaged, it holds no JSON" in capsys.readouterr().err
