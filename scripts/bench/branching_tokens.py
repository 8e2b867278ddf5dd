"""Tokens that groups with branches cost, against the unique tokens in them: in sampling and in the update.

  python scripts/bench/branching_tokens.py --config configs/branching.py:entropy [--run runs/entropy]
    [--groups 12] [--config.KEY=VALUE ...]

One line per rule, and one for independent samples. The policy is that of the run's last checkpoint; without a run it is
the config's own, which may never call its tool, and then never branches. Unique are a group's prompt, and of each
sample what no other gave it: two samples that happen to write the same are two. Sampling computes what it prefills and
one token per decoding step of a slot; the update computes what its rows hold, in one row that holds everything
("whole") and in rows as configured, where a prefix that two rows need is computed twice.
"""

import argparse
import pathlib
import sys

from ml_collections import ConfigDict
from rich.console import Console
from rich.table import Table

from agentrl.batching.pack import PackConfig, layout_tokens, pack
from agentrl.rollout import strategies
from agentrl.rollout.strategies.branching import RULES
from agentrl.training import config as config_lib
from agentrl.training import config_values, summary
from agentrl.training.build.experiment import build_experiment
from agentrl.training.saved import restore_policy
from agentrl.types import first_visits


def unique_tokens(trajectories):
  """Prompts once per group, and what each trajectory sampled or was told on its own."""
  prompts = {t.group_id: t.prompt_length for t in trajectories}
  own = (len(t.tokens) - (t.prompt_length if t.parent is None else t.fork_at) for t in trajectories)
  return sum(prompts.values()) + sum(own)


def update_tokens(trajectories, pack_sizes):
  """Tokens that the update computes in one large row, and in rows of the configured size."""
  row = max(pack_sizes.row_tokens, sum(len(t.tokens) for t in trajectories))
  whole = PackConfig(row, row, 1, sequences=len(trajectories))
  rows = PackConfig(pack_sizes.row_tokens, pack_sizes.row_actions, pack_sizes.rows, sequences=len(trajectories))
  return tuple(layout_tokens(pack(trajectories, {}, sizes)) for sizes in (whole, rows))


def measure(config, parts, params, strategy, settings, groups):
  """One line of the table, from one collection by a strategy with some settings."""
  module = strategies.load(strategy)
  sampler = module.make(parts.surroundings, ConfigDict({**module.default_config(), **settings}))
  got = parts.collector.sampling(sampler).collect(
    parts.driver_params({"policy": params}), parts.keys["rollout"], first_visits(range(groups)), split="train",
    samples=config.rollout.group_size, temperature=config.rollout.temperature, version=0,
    memory={},
  )  # fmt: skip
  every, unique = sum(len(t.tokens) for t in got.trajectories), unique_tokens(got.trajectories)
  computed = (got.stats.prefilled + got.stats.sampled, *update_tokens(got.trajectories, config.pack))
  calls = summary.tool_metrics(got.trajectories, window=config.rollout.entropy_window)
  shares = [f"{count / unique:.3f}" for count in (every, *computed)]
  return [f"{calls['rollout/branches']:.1f}", str(unique), *shares, f"{calls['rollout/tool_calls_made']:.0f}"]


def main(argv):
  overrides, rest = config_values.split_argv(argv)
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--config", required=True)
  parser.add_argument("--run", type=pathlib.Path)
  parser.add_argument("--groups", type=int, default=12)
  arguments = parser.parse_args(rest)
  config = config_lib.load(arguments.config, overrides)
  parts = build_experiment(config)
  params = restore_policy(config, parts.params, arguments.run, None)[0] if arguments.run else parts.params
  table = Table(
    "samples", "branches", "unique", "one by one", "sampling", "update, whole", "update, rows", "tool calls",
  )  # fmt: skip
  table.add_row("independent", *measure(config, parts, params, "independent", {}, arguments.groups))
  for rule in RULES:
    settings = {**config.strategy, "rule": rule}
    table.add_row(rule, *measure(config, parts, params, "branching", settings, arguments.groups))
  policy = arguments.run or "before training"
  Console().print(f"{arguments.config}: {arguments.groups} groups of {config.rollout.group_size}, {policy}")
  Console().print("branches: per group; columns behind unique: tokens computed, over unique ones")
  Console().print(table)


if __name__ == "__main__":
  main(sys.argv[1:])
