"""Draws the figures and report.html of runs anew, or a saved search.

python -m agentrl.report runs/mine
python -m agentrl.report --tree runs/mine/trees/train_000012_7.json tree.html    # or .png, .svg, .pdf
"""

import argparse
import pathlib
import sys

from agentrl.report import tree_page
from agentrl.report.page import write_report


def main(argv: list[str]) -> int:
  """Returns the exit status: 1 where a folder is none of a run, or a file holds no search."""
  parser = argparse.ArgumentParser(
    prog="python -m agentrl.report", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("folders", nargs="*", metavar="RUN_FOLDER")
  parser.add_argument("--tree", nargs=2, type=pathlib.Path, metavar=("SEARCH", "DRAWING"), help="draw a saved search")
  arguments = parser.parse_args(argv)
  if not arguments.folders and not arguments.tree:
    parser.error("name a run folder, or a search with --tree")
  drawings = [lambda folder=folder: write_report(folder) for folder in arguments.folders]
  if arguments.tree:
    drawings.append(lambda: tree_page.draw(*arguments.tree))
  return max(map(_attempt, drawings))


def _attempt(draw) -> int:
  try:
    print(draw())
  except (FileNotFoundError, ValueError) as error:
    print(error, file=sys.stderr)
    return 1
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
