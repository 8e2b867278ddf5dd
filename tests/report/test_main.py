"""The command of the report: draws runs and searches, and records runs."""

import json

import pytest

from agentrl.report import tree_page
from agentrl.report.__main__ import main
from tests.report.test_tree_page import RECORD


def test_runs_are_drawn(run_path, capsys, tmp_path):
  assert main([str(run_path)]) == 0
  assert capsys.readouterr().out.strip() == str(run_path / "report.html")
  assert main([str(tmp_path / "absent")]) == 1
  assert "has no config.json" in capsys.readouterr().err


def test_searches_are_drawn(tmp_path, capsys):
  search, drawn, pixels = (tmp_path / name for name in ("search.json", "tree.html", "tree.png"))
  search.write_text(json.dumps(RECORD))
  assert main(["--tree", str(search), str(drawn)]) == 0 and str(drawn) in capsys.readouterr().out
  assert drawn.read_text() == tree_page.page(RECORD)
  assert main(["--tree", str(search), str(pixels)]) == 0 and pixels.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
  ("source", "target", "message"),
  [
    ("search.json", "tree.jpeg", "ends in .html, .png, .svg, .pdf"),
    ("none.json", "tree.html", "keeps its searches under trees/"),
    ("page.json", "tree.html", "page.json holds no search of a run, or is damaged (JSONDecodeError"),
    (
      "config.json",
      "tree.html",
      "config.json holds no search of a run, or is damaged (ValueError: the search has no 'task')",
    ),
  ],
)
def test_what_cannot_be_drawn_is_said(tmp_path, capsys, source, target, message):
  contents = {"search.json": json.dumps(RECORD), "page.json": "<html>", "config.json": '{"seed": 0}'}
  for name, text in contents.items():
    (tmp_path / name).write_text(text)
  assert main(["--tree", str(tmp_path / source), str(tmp_path / target)]) == 1
  assert message in capsys.readouterr().err
  assert not (tmp_path / target).exists()


def test_a_command_line_that_names_nothing(capsys):
  with pytest.raises(SystemExit):
    main([])
  assert "name a run folder" in capsys.readouterr().err


def test_a_run_is_recorded(run_path, tmp_path, capsys):
  kept = tmp_path / "results" / "seed0"
  assert main(["--record", str(run_path), str(kept)]) == 0
  assert capsys.readouterr().out.strip() == str(kept) and (kept / "metrics.jsonl").is_file()
  assert main(["--record", str(tmp_path / "absent"), str(kept)]) == 1
  assert "has no config.json" in capsys.readouterr().err
