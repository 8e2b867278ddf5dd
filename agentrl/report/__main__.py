"""Draws the figures and report.html of runs anew, or a saved search; or records a run under results/.

python -m agentrl.report runs/mine
python -m agentrl.report --record runs/mine results/mine/seed0
python -m agentrl.report --tree runs/mine/trees/train_000012_7.json tree.html    # or .png, .svg, .pdf
"""

import argparse
import pathlib
import sys

from agentrl.command_line import INTERRUPTED, run_command
from agentrl.report import tree_page
from agentrl.report.page import write_report
from agentrl.report.recorded import record


def main(argv: list[str]) -> int:
  """Returns the exit status: 1 where a folder is none of a run, or a file holds no search; the others are done."""
  parser = argparse.ArgumentParser(
    prog="python -m agentrl.report", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("folders", nargs="*", metavar="RUN_FOLDER")
  parser.add_argument("--tree", nargs=2, type=pathlib.Path, metavar=("SEARCH", "DRAWING"), help="draw a saved search")
  parser.add_argument(
    "--record",
    nargs=2,
    type=pathlib.Path,
    metavar=("RUN_FOLDER", "DESTINATION"),
    help="write what is kept of a run, see agentrl/report/recorded.py",
  )
  parser.add_argument("--traceback", action="store_true", help="show where an error came from")
  arguments = parser.parse_args(argv)
  if not arguments.folders and not arguments.tree and not arguments.record:
    parser.error("name a run folder, a search with --tree, or a run with --record")
  drawings = [lambda folder=folder: write_report(folder) for folder in arguments.folders]
  if arguments.tree:
    drawings.append(lambda: tree_page.draw(*arguments.tree))
  if arguments.record:
    drawings.append(lambda: record(*arguments.record))
  status = 0
  for drawing in drawings:
    told = {"traceback": arguments.traceback, "interrupted": "The same command begins again."}
    status = max(status, run_command(lambda drawing=drawing: print(drawing()), **told))
    if status == INTERRUPTED:
      break
  return status


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
