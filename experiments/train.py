"""Trains an agent as a config says.

  python experiments/train.py --config configs/quickstart.py --workdir runs/quickstart [--config.algo.loss.clip_high=0.28]

Started again with the same command it goes on where it was.
"""

from __future__ import annotations

import argparse
import pathlib
import signal
import sys

from agentrl.training import loop
from agentrl.training.checkpoint import CheckpointError
from agentrl.training.config import ConfigError, load, split_argv
from agentrl.training.disk import DiskFullError
from agentrl.training.run_folder import RunFolder, RunFolderError

# Errors whose message is all that a user needs; anything else is a bug and keeps its traceback.
EXPECTED = (ConfigError, RunFolderError, CheckpointError, DiskFullError, ValueError, FileNotFoundError, RuntimeError)


def main(argv: list[str]) -> int:
  """Runs the command line; returns the exit status."""
  overrides, rest = split_argv(argv)
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--config", required=True, help="a file under configs/")
  parser.add_argument("--workdir", required=True, help="the run's folder; made if missing, continued if it holds this run")
  parser.add_argument("--smoke", action="store_true", help="the config's variant of two steps")
  parser.add_argument("--traceback", action="store_true", help="show where an error came from")
  arguments = parser.parse_args(rest)
  signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
  try:
    run(arguments, overrides)
  except KeyboardInterrupt:
    print(f"\nInterrupted. The same command goes on from the last checkpoint in {arguments.workdir}", file=sys.stderr)
    return 130
  except EXPECTED as error:
    if arguments.traceback:
      raise
    print(f"{type(error).__name__}: {error}", file=sys.stderr)
    return 1
  return 0


def run(arguments: argparse.Namespace, overrides: list[str]) -> None:
  """Trains, then writes figures and report."""
  from agentrl.report import write_report

  config = load(arguments.config, overrides, smoke=arguments.smoke)
  with RunFolder.open(
    arguments.workdir, config, wandb_mode=config.wandb.mode, wandb_project=config.wandb.project
  ) as folder:
    result = loop.run(config, folder)
  report = write_report(pathlib.Path(arguments.workdir))
  print(result.sentence())
  print(f"Report: {report}")


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
