"""Measures a policy on the held-out tasks of a config.

python experiments/evaluate.py --run runs/quickstart --tasks 256 --samples 4          the latest checkpoint of a run
python experiments/evaluate.py --run runs/quickstart --step 30                        one of its checkpoints
python experiments/evaluate.py --run runs/tree_countdown --search 1 --config.search.simulations=64      also searches
python experiments/evaluate.py --config configs/qwen_grpo.py --model path/to/folder   a folder with safetensors
python experiments/evaluate.py --config configs/smollm2_python.py                     the config's own model
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
from typing import Any

from ml_collections import ConfigDict
from rich.console import Console
from rich.table import Table

from agentrl.training import config as config_lib
from agentrl.training import config_values, evaluation
from agentrl.training.command_line import check_out, run_command, settings_of
from agentrl.training.disk import write_atomically
from agentrl.training.run_folder import read_config


def main(argv: list[str]) -> int:
  """Runs the command line; returns the exit status."""
  overrides, rest = config_values.split_argv(argv)
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  source = parser.add_mutually_exclusive_group(required=True)
  source.add_argument("--run", type=pathlib.Path, help="folder of a run")
  source.add_argument("--config", help="a file under configs/; of a paper FILE:ARM, or its first arm")
  parser.add_argument("--step", type=int, help="global step of a checkpoint of --run; the latest unless given")
  parser.add_argument("--model", help="folder with config.json, safetensors and tokenizer.json; with --config")
  parser.add_argument("--tasks", type=int, help="held-out tasks; the config's eval.tasks unless given")
  parser.add_argument("--samples", type=int, help="samples per task")
  parser.add_argument("--search", type=int, help="searches per task, with the config's `search`, beside the samples")
  parser.add_argument("--temperature", type=float, help="0 is greedy")
  parser.add_argument("--out", type=pathlib.Path, help="also write the metrics here, as JSON")
  parser.add_argument("--traceback", action="store_true", help="show where an error came from")
  arguments = parser.parse_args(rest)
  return run_command(
    lambda: run(arguments, overrides), traceback=arguments.traceback, interrupted="Nothing was written."
  )


def run(arguments: argparse.Namespace, overrides: list[str]) -> None:
  """Evaluates and prints."""
  check_out(arguments.out)
  config = _config(arguments, overrides)
  with settings_of(arguments.config or str(arguments.run / "config.json")):
    metrics = evaluation.evaluate_policy(config, run=arguments.run, step=arguments.step)
  show(metrics, config)
  if arguments.out:
    write_atomically(arguments.out, (json.dumps(metrics, indent=2) + "\n").encode())


def _config(arguments: argparse.Namespace, overrides: list[str]) -> ConfigDict:
  """The config of the run or the file, with what the command line changes."""
  if arguments.run is not None:
    if arguments.model:
      raise ValueError("--model goes with --config; --run has its own config")
    where = str(arguments.run / "config.json")
    config = config_values.override(read_config(arguments.run), overrides, where=where, sections=("search", "eval"))
  else:
    config, where = config_lib.load(arguments.config, overrides), arguments.config
  changes: dict[str, Any] = {"eval": {}}
  changes["eval"] |= {
    k: v for k in ("tasks", "samples", "search", "temperature") if (v := vars(arguments)[k]) is not None
  }
  if arguments.model:
    changes["model"] = {"source": "hf", "path": arguments.model}
  return config_values.resolve(config, changes, where=where)


def show(metrics: dict[str, float], config: ConfigDict) -> None:
  """Prints the metrics as a table, with the interval beside the success it belongs to."""
  bounds = {name for name in metrics if name.endswith(("/success_low", "/success_high"))}
  table = Table("metric", "value", title=f"samples per task {config.eval.samples}, T = {config.eval.temperature:g}")
  for name, value in metrics.items():
    if name not in bounds:
      around = (
        f" (95 %: {metrics[f'{name}_low']:.3g} to {metrics[f'{name}_high']:.3g})" if f"{name}_low" in bounds else ""
      )
      table.add_row(name.removeprefix("eval/"), f"{value:.4g}{around}")
  Console().print(table)


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
