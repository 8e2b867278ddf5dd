"""Holds ways of acting with a run's policy against each other at their tokens: samples, votes, best of N, searches.

python experiments/compare_search.py --run runs/tree_countdown                                 the latest checkpoint
python experiments/compare_search.py --run runs/tree_countdown --step 700 --tasks 64 --leaves 2 4 8

The table goes to compare_search_STEP.json in the run's folder too. What each method does, and what its tokens are, is
told in agentrl/training/compare_search.py.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys

from rich.console import Console
from rich.table import Table

from agentrl.training import compare_search, config_values
from agentrl.training.command_line import check_out, run_command, settings_of
from agentrl.training.disk import write_atomically
from agentrl.training.run_folder import read_config


def main(argv: list[str]) -> int:
  """Runs the command line; returns the exit status."""
  overrides, rest = config_values.split_argv(argv)
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--run", type=pathlib.Path, required=True, help="folder of a run")
  parser.add_argument("--step", type=int, help="global step of a checkpoint; the latest unless given")
  parser.add_argument("--tasks", type=int, help="held-out tasks; the config's eval.tasks unless given")
  parser.add_argument("--samples", type=int, default=16, help="of each task; N goes up to this, by doubling")
  parser.add_argument("--leaves", type=int, nargs="+", help="of the value-guided rollouts; 2 4 8 16 unless given")
  parser.add_argument("--searches", type=int, default=1, help="of each task, of every kind")
  parser.add_argument("--temperature", type=float)
  parser.add_argument("--out", type=pathlib.Path, help="where the table goes instead")
  parser.add_argument("--traceback", action="store_true", help="show where an error came from")
  arguments = parser.parse_args(rest)
  return run_command(
    lambda: run(arguments, overrides), traceback=arguments.traceback, interrupted="Nothing was written."
  )


def run(arguments: argparse.Namespace, overrides: list[str]) -> None:
  """Compares, prints and saves."""
  check_out(arguments.out)
  where = str(arguments.run / "config.json")
  changes = {"samples": arguments.samples, "search": arguments.searches}
  changes |= {name: v for name in ("tasks", "temperature") if (v := vars(arguments)[name]) is not None}
  config = config_values.override(read_config(arguments.run), overrides, where=where, sections=("search",))
  config = config_values.resolve(config, {"eval": changes}, where=where)
  with settings_of(where):
    found = compare_search.compare(config, run=arguments.run, step=arguments.step, leaves=arguments.leaves)
  show(found, config.eval.tasks)
  out = arguments.out or arguments.run / f"compare_search_{found.step:06d}.json"
  record = {
    "step": found.step, "eval": config.eval.to_dict(), "notes": found.notes, "rows": [r._asdict() for r in found.rows],
  }  # fmt: skip
  write_atomically(out, (json.dumps(record, indent=2) + "\n").encode())
  print(f"Saved in {out}")


def show(found: compare_search.Comparison, tasks: int) -> None:
  """Prints the table, and what its marks mean."""
  table = Table(title=f"Step {found.step}, {tasks} held-out tasks")
  for name in ("method", "N", "success", "95 %", "tokens"):
    table.add_column(name, no_wrap=True)
  for row in found.rows:
    name = row.method + " *" * row.told_reward
    interval = f"{row.low:.1%} to {row.high:.1%}"
    table.add_row(name, str(row.count), f"{row.success:.1%}", interval, f"{row.tokens:.0f}")
  Console().print(table)
  print("N: samples, leaves at every step, or simulations. tokens: generated per task.")
  print("*: is told the true reward of what it finds")
  for note in found.notes:
    print(note)


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
