"""Every notebook has the figures of the recorded runs that there are, and its method runs in smoke mode."""

import pathlib

import nbclient
import nbformat
import pytest

from scripts import notebooks

ROOT = pathlib.Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_it_runs_from_top_to_bottom(file, monkeypatch):
  """With the cell that trains; test_configs.py trains as much in the default tests."""
  monkeypatch.setenv("PYTHONPATH", str(ROOT))
  notebook = nbformat.read(file, as_version=4)
  assert len([cell for cell in notebook.cells if "trains" in cell.metadata.get("tags", ())]) == 1
  nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(ROOT)}}).execute()
  assert figures_of(notebook)


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_its_outputs_are_of_the_recorded_runs_and_the_code_that_there_are(file):
  notebook = nbformat.read(file, as_version=4)
  assert notebooks.is_fresh(notebook), f"recorded runs or code have changed: python scripts/notebooks.py {file.stem}"
  assert figures_of(notebook) and notebooks.drawn_from(notebook)
  assert not [output for output in outputs_of(notebook) if output.output_type == "error"]


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_its_first_cell_says_the_command_that_draws_it(file):
  first = nbformat.read(file, as_version=4).cells[0]
  assert first.cell_type == "markdown" and f"`python scripts/notebooks.py {file.stem}`" in first.source


def outputs_of(notebook):
  return [output for cell in notebook.cells for output in cell.get("outputs", ())]


def figures_of(notebook):
  return [output for output in outputs_of(notebook) if "image/png" in output.get("data", {})]


def notebook_of(*code):
  return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in code])


def test_a_new_run_and_a_new_line_of_code_make_outputs_old(tmp_path):
  (tmp_path / "configs").mkdir()
  for name in ("otc", "ikea", "loop"):
    (tmp_path / "configs" / f"{name}.py").touch()
  notebook = notebook_of('draw("otc/em")', "loop_length = 3")
  assert notebooks.drawn_from(notebook, tmp_path) == ["otc"]
  notebook.metadata["agentrl"] = {"digest": notebooks.digest(notebook, tmp_path)}
  assert notebooks.is_fresh(notebook, tmp_path)
  for name, old in (("ikea", True), ("otc", False)):
    run = tmp_path / "results" / name / "em" / "seed0"
    run.mkdir(parents=True)
    (run / "metrics.jsonl").write_text("{}")
    assert notebooks.is_fresh(notebook, tmp_path) == old
  (tmp_path / "results" / "otc" / "em" / "seed0" / "metrics.jsonl").rename(tmp_path / "gone")
  assert notebooks.is_fresh(notebook, tmp_path)
  notebook.cells[1].source = "loop_length = 4"
  assert not notebooks.is_fresh(notebook, tmp_path)
