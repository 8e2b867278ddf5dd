"""Draws the figures and report.html of runs anew, or a saved search.

python -m agentrl.report runs/mine
python -m agentrl.report --tree runs/mine/trees/train_000012_7.json tree.html    # or .png, .svg, .pdf
"""

import argparse
import pathlib
import sys

from agentrl.command_line import INTERRUPTED, run_command
from agentrl.report import tree_page
from agentrl.report.page import write_report


def main(argv: list[str]) -> int:
  """Returns the exit status: 1 where a folder is none of a run, or a file holds no search; the others are drawn."""
  parser = argparse.ArgumentParser(
    prog="python -m agentrl.report", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("folders", nargs="*", metavar="RUN_FOLDER")
  parser.add_argument("--tree", nargs=2, type=pathlib.Path, metavar=("SEARCH", "DRAWING"), help="draw a saved search")
  parser.add_argument("--traceback", action="store_true", help="show where an error came from")
  arguments = parser.parse_args(argv)
  if not arguments.folders and not arguments.tree:
    parser.error("name a run folder, or a search with --tree")
  drawings = [lambda folder=folder: write_report(folder) for folder in arguments.folders]
  if arguments.tree:
    drawings.append(lambda: tree_page.draw(*arguments.tree))
  status = 0
  for drawing in drawings:
    told = {"traceback": arguments.traceback, "interrupted": "The same command begins again."}
    status = max(status, run_command(lambda drawing=drawing: print(drawing()), **told))
    if status == INTERRUPTED:
      break
  return status


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
