"""Writes a checkpoint of a run as a folder with configs, safetensors and the tokenizer's files, for other libraries.

python experiments/export.py --run runs/quickstart --out runs/exported            the latest checkpoint
python experiments/export.py --run runs/quickstart --step 30 --out runs/exported  one of its checkpoints
"""

from __future__ import annotations

import argparse
import pathlib
import sys

from agentrl.training.command_line import run_command
from agentrl.training.export import export_policy
from agentrl.training.run_folder import read_config


def main(argv: list[str]) -> int:
  """Runs the command line; returns the exit status."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--run", type=pathlib.Path, required=True, help="folder of a run")
  parser.add_argument("--step", type=int, help="global step of a checkpoint; the latest unless given")
  parser.add_argument(
    "--out", type=pathlib.Path, required=True, help="folder to write; must hold no files of a model or tokenizer"
  )
  parser.add_argument("--traceback", action="store_true", help="show where an error came from")
  arguments = parser.parse_args(argv)
  return run_command(
    lambda: run(arguments), traceback=arguments.traceback, interrupted="What is in --out is not complete; delete it."
  )


def run(arguments: argparse.Namespace) -> None:
  """Exports and says what was written."""
  config = read_config(arguments.run)
  step = export_policy(config, run=arguments.run, step=arguments.step, out=arguments.out)
  print(f"Wrote the policy of step {step} to {arguments.out}")


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
