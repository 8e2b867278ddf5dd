"""Trains an agent as a config says.

  python experiments/train.py --config configs/quickstart.py --workdir runs/quickstart --config.algo.loss.clip_high=0.28
  python experiments/train.py --config configs/quickstart.py:ppo --workdir runs/ppo               an arm of a paper

Started again with the same command it goes on where it was.
"""

from __future__ import annotations

import argparse
import pathlib
import sys

from agentrl.report import write_report
from agentrl.training import loop
from agentrl.training.command_line import ENDED, run_command, settings_of
from agentrl.training.config import load
from agentrl.training.config_values import split_argv
from agentrl.training.run_folder import RunFolder


def main(argv: list[str]) -> int:
  """Runs the command line; returns the exit status."""
  overrides, rest = split_argv(argv)
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--config", required=True, help="a file under configs/; of a paper FILE:ARM, or its first arm")
  parser.add_argument(
    "--workdir", required=True, help="the run's folder; made if missing, continued if it holds this run"
  )
  parser.add_argument("--smoke", action="store_true", help="the config's variant of two steps")
  parser.add_argument("--traceback", action="store_true", help="show where an error came from")
  arguments = parser.parse_args(rest)
  return run_command(
    lambda: run(arguments, overrides),
    traceback=arguments.traceback,
    interrupted=f"The same command goes on in {arguments.workdir}: behind the last checkpoint, or anew without one.",
  )


def run(arguments: argparse.Namespace, overrides: list[str]) -> None:
  """Trains, then writes figures and report, also of a run that can go no further."""
  config = load(arguments.config, overrides, smoke=arguments.smoke)
  workdir = pathlib.Path(arguments.workdir)
  try:
    with RunFolder.open(workdir, config, wandb_mode=config.wandb.mode, wandb_project=config.wandb.project) as folder:
      with settings_of(arguments.config):
        result = loop.run(config, folder)
  except ENDED as error:
    error.add_note(_report_of(workdir))
    raise
  print(result.sentence())
  print(f"Report: {write_report(workdir)}")


def _report_of(workdir: pathlib.Path) -> str:
  """Says where the report of a run that ended with an error is, or why there is none; raises nothing itself."""
  try:
    return f"Report: {write_report(workdir)}"
  except Exception as error:  # what ended the run is what the user must hear of
    return f"No report was written: {type(error).__name__}: {error}"


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
