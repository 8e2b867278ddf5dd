"""Every notebook runs from top to bottom: its figures from results/, its method in smoke mode."""

import pathlib

import nbclient
import nbformat
import pytest

ROOT = pathlib.Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_it_runs(file, monkeypatch):
  monkeypatch.setenv("PYTHONPATH", str(ROOT))
  notebook = nbformat.read(file, as_version=4)
  nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(ROOT)}}).execute()
  figures = [
    output for cell in notebook.cells for output in cell.get("outputs", []) if "image/png" in output.get("data", {})
  ]
  assert figures


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_it_is_kept_without_outputs(file):
  """Numbers in a notebook come from results/ each time; stored outputs would go stale."""
  assert not any(cell.get("outputs") for cell in nbformat.read(file, as_version=4).cells)
