"""Tokens that groups cost, against the unique tokens in them: in sampling and in the update.

  python scripts/bench/token_count.py --config configs/smollm2_python.py [--groups 4] [--config.KEY=VALUE ...]

A token is unique by all that stands before it in its group. Sampling computes what it prefills and one token per
decoding step of a slot; the update computes what its rows hold. Padding is counted apart.
"""

import argparse
import sys

from rich.console import Console
from rich.table import Table

from agentrl.batching.pack import PackConfig, layout_tokens, pack
from agentrl.training import config as config_lib
from agentrl.training import config_values
from agentrl.training.build.experiment import build_experiment
from agentrl.types import first_visits


def unique_tokens(trajectories):
  """Nodes of the prefix trees of all groups."""
  paths = {(t.group_id, t.tokens[: n + 1].tobytes()) for t in trajectories for n in range(len(t.tokens))}
  return len(paths)


def main(argv):
  overrides, rest = config_values.split_argv(argv)
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--config", required=True)
  parser.add_argument("--groups", type=int, default=4)
  arguments = parser.parse_args(rest)
  config = config_lib.load(arguments.config, overrides)
  parts = build_experiment(config)
  got = parts.collector.collect(
    parts.driver_params({"policy": parts.params}), parts.keys["rollout"], first_visits(range(arguments.groups)),
    split="train", samples=config.rollout.group_size, temperature=config.rollout.temperature, version=0, memory={},
  )  # fmt: skip
  every = sum(len(t.tokens) for t in got.trajectories)
  unique = unique_tokens(got.trajectories)
  sampling = got.stats.prefilled + got.stats.sampled
  row = max(config.pack.row_tokens, every)  # one row holds all: what a row boundary repeats is the config's choice
  sizes = PackConfig(row, row, 1, sequences=len(got.trajectories))
  update = layout_tokens(pack(got.trajectories, {}, sizes))
  configured = PackConfig(**config.pack, sequences=len(got.trajectories))
  in_rows = layout_tokens(pack(got.trajectories, {}, configured))
  table = Table("tokens", "count", "against unique")
  for name, count in (
    ("of all samples, one by one", every), ("unique", unique), ("computed in sampling", sampling),
    ("computed in the update, groups whole", update), ("computed in the update, rows as configured", in_rows),
    ("padding in prefill chunks", got.stats.padded),
  ):  # fmt: skip
    table.add_row(name, str(count), f"{count / unique:.3f}")
  Console().print(f"{arguments.config}: {arguments.groups} groups of {config.rollout.group_size}, before training")
  Console().print(table)


if __name__ == "__main__":
  main(sys.argv[1:])
