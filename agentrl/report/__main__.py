"""`python -m agentrl.report RUN_FOLDER...`: draws figures and report.html anew."""

import argparse
import sys

from agentrl.report.page import write_report


def main(argv: list[str]) -> int:
  """Returns the exit status: 1 where a folder is none of a run."""
  parser = argparse.ArgumentParser(prog="python -m agentrl.report", description=__doc__)
  parser.add_argument("folders", nargs="+", metavar="RUN_FOLDER")
  status = 0
  for folder in parser.parse_args(argv).folders:
    try:
      print(write_report(folder))
    except FileNotFoundError as error:
      print(error, file=sys.stderr)
      status = 1
  return status


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
