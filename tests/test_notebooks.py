"""Every notebook runs from top to bottom: its figures from results/, its method in smoke mode."""

import pathlib

import nbclient
import nbformat
import pytest

ROOT = pathlib.Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
@pytest.mark.parametrize("trains", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_it_runs(file, trains, monkeypatch):
  """Its figures in the default tests, and behind the mark also the cell that trains; test_configs.py runs as much."""
  monkeypatch.setenv("PYTHONPATH", str(ROOT))
  notebook = nbformat.read(file, as_version=4)
  that_train = [cell for cell in notebook.cells if "trains" in cell.metadata.get("tags", ())]
  assert len(that_train) == 1
  notebook.cells = [cell for cell in notebook.cells if trains or cell not in that_train]
  nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(ROOT)}}).execute()
  figures = [
    output for cell in notebook.cells for output in cell.get("outputs", []) if "image/png" in output.get("data", {})
  ]
  assert figures


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_it_is_kept_without_outputs(file):
  """Numbers in a notebook come from results/ each time; stored outputs would go stale."""
  assert not any(cell.get("outputs") for cell in nbformat.read(file, as_version=4).cells)
