"""Runs notebooks, and keeps their outputs in them: figures of what is recorded under results/.

  python scripts/notebooks.py                    those whose recorded runs or cells have changed since they were run
  python scripts/notebooks.py stability          these, whether or not anything has changed
  python scripts/notebooks.py --trains otc       with the cells that train, tagged "trains", a minute or two each

A notebook draws from the folders of results/ that its code names. Their digest, and that of its own code, stand in its
metadata; tests/test_notebooks.py fails where they are others than now.
"""

from __future__ import annotations

import argparse
import hashlib
import pathlib
import re

import nbclient
import nbformat

ROOT = pathlib.Path(__file__).resolve().parents[1]
_DRAWN = (".json", ".jsonl", ".gz")  # of recorded runs; their pages and pictures are drawn from these


def drawn_from(notebook: nbformat.NotebookNode, root: pathlib.Path = ROOT) -> list[str]:
  """Names of the folders of results/ that the notebook's code names, whether or not they are there yet."""
  known = {file.stem for file in (root / "configs").glob("*.py")} | {"bench"}
  words = set(re.findall(r"\w+", _code(notebook)))
  return sorted(known & words)


def digest(notebook: nbformat.NotebookNode, root: pathlib.Path = ROOT) -> str:
  """Of the notebook's code, and of all recorded files that it draws from, names and contents."""
  total = hashlib.sha256(_code(notebook).encode())
  for name in drawn_from(notebook, root):
    for file in sorted((root / "results" / name).rglob("*")):
      if file.suffix in _DRAWN and file.is_file():
        total.update(file.relative_to(root).as_posix().encode() + hashlib.sha256(file.read_bytes()).digest())
  return total.hexdigest()


def is_fresh(notebook: nbformat.NotebookNode, root: pathlib.Path = ROOT) -> bool:
  """Whether its outputs are of the code and the recorded runs that there are now."""
  return notebook.metadata.get("agentrl", {}).get("digest") == digest(notebook, root)


def run(file: pathlib.Path, *, trains: bool) -> None:
  """Runs a notebook from top to bottom, and writes its outputs into it.

  Args:
    file: of the notebook.
    trains: whether the cells that train are run too; else they have no outputs.
  """
  notebook = nbformat.read(file, as_version=4)
  for cell in notebook.cells:
    if cell.cell_type == "code":
      cell.outputs, cell.execution_count = [], None
  that_run = [cell for cell in notebook.cells if trains or "trains" not in cell.metadata.get("tags", ())]
  executed = nbformat.from_dict({**notebook, "cells": that_run})
  nbclient.NotebookClient(executed, timeout=600, resources={"metadata": {"path": str(ROOT)}}).execute()
  by_id = {cell.id: cell for cell in executed.cells}
  notebook.cells = [by_id.get(cell.id, cell) for cell in notebook.cells]
  for cell in notebook.cells:
    cell.metadata.pop("execution", None)  # when it ran
  notebook.metadata["agentrl"] = {"digest": digest(notebook)}
  nbformat.write(notebook, file)


def _code(notebook: nbformat.NotebookNode) -> str:
  return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")


def main() -> None:
  """Runs the command line."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("names", nargs="*", help="of notebooks, without their ending; all that have changed unless given")
  parser.add_argument("--trains", action="store_true", help="run the cells that train too")
  arguments = parser.parse_args()
  files = [ROOT / "notebooks" / f"{name}.ipynb" for name in arguments.names]
  files = files or [
    file for file in sorted((ROOT / "notebooks").glob("*.ipynb")) if not is_fresh(nbformat.read(file, as_version=4))
  ]
  for file in files:
    run(file, trains=arguments.trains)
    print(f"Ran {file.relative_to(ROOT)}")


if __name__ == "__main__":
  main()
