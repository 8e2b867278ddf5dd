"""Many trees at once over slots that keep their prefixes, against one tree at a time that feeds every prefix again.

  python scripts/bench/tree_search.py [--trees 16] [--simulations 64] [--warm 150] [--config.KEY=VALUE ...]

Trees worth the name, with four numbers, and slots enough to keep nearly all prefixes:

  python scripts/bench/tree_search.py --config.task.difficulty=2 --config.rollout.max_tokens=96 \\
    --config.search.width=8 --config.search.depth=6 --config.engine.slots=640

With a model whose single rows are slow, and prompts that hold examples (`--alone 4` grows 4 of the 16 trees one at a
time, and counts them fourfold):

  python scripts/bench/tree_search.py --config configs/smollm2_python.py --warm 0 --alone 4 \\
    --config.algorithm=tree_distill --config.algo.reduction=token_mean --config.algo.credit=visits \\
    --config.rollout.strategy=tree_search --config.rollout.group_size=1 --config.search.width=4 \\
    --config.search.depth=6 --config.search.step_tokens=24 --config.rollout.temperature=1.2 --config.engine.slots=384 \\
    --config.engine.decode_rows=16 --config.engine.prefill_tokens=64 --config.engine.prefill_rows=1

Prompts of 570 tokens instead of 165: add

    --config.task.examples=8 --config.rollout.max_tokens=640 --config.pack.row_tokens=1200 \\
    --config.engine.feed_tokens=640

Both ways grow the same trees from the same seed, and the bench says how many are equal in every node and visit. Tokens
computed are those prefilled and those sampled; unique are the tokens in the trees, each tree's prompt included. The
policy is that of the config after `--warm` steps of its cold start. Compilation is not counted.
"""

import argparse
import dataclasses
import functools
import sys

import jax
from rich.console import Console
from rich.table import Table

from agentrl.rewards.combine import assign
from agentrl.rollout.driver import Driver
from agentrl.rollout.episode import Request, RequestQueue
from agentrl.rollout.search.record import describe, unique_tokens
from agentrl.rollout.search.steps import StepEnd
from agentrl.rollout.strategies.tree_search import TreeSearch, value_of
from agentrl.rollout.workers import WorkerPool
from agentrl.training import config as config_lib
from agentrl.training import config_values
from agentrl.training.build.experiment import build_experiment
from agentrl.training.cold_start import authored_traces


def warmed(config, parts, steps):
  """The learner's params after some steps of the cold start, with an untrained value head that is not flat."""
  state = parts.earlier["cold_start"].init(jax.random.key(0), parts.params)
  for step in range(steps):
    first = step * config.cold_start.batch
    indices = range(first, first + config.cold_start.batch)
    traces, _, _ = authored_traces(parts.tasks, parts.chat, indices, mix={}, seed=0)
    batch, _ = parts.earlier["cold_start"].prepare(state, traces)
    state, _ = parts.earlier["cold_start"].update(state, jax.random.key(step), batch)
  weight = 0.02 * jax.random.normal(jax.random.key(1), (parts.model.width,))
  return {"policy": state.params["policy"], "value": {"weight": weight, "bias": jax.numpy.float32(0.0)}}


class Bench:
  """One way to search; compiled on a tree that is not counted."""

  def __init__(self, config, parts, search, engine, reuse):
    self.config, self.parts, self.search, self.engine, self.reuse = config, parts, search, engine, reuse
    pauses = StepEnd(parts.chat, search.step_end).pause_table(parts.model.vocab_size)
    self.driver = Driver(
      parts.model, engine, pauses, mesh=parts.mesh, compiled=config.rollout.compiled,
      value_of=value_of,
    )  # fmt: skip

  def run(self, params, groups):
    """(searches as JSON, stats) of one tree per group, all at once."""
    limits = (self.config.rollout.max_tokens, self.config.rollout.max_turns)
    tasks = {group: self.parts.tasks.task(group, "train") for group in groups}
    requests = [Request(task, g, g, g, self.config.rollout.temperature, *limits) for g, task in tasks.items()]
    reward = self.parts.collector.reward
    pool = WorkerPool(self.config.rollout.workers)
    strategy = TreeSearch(
      RequestQueue(requests), self.search, engine=self.engine, chat=self.parts.chat,
      make_environment=self.parts.tasks.environment, pool=pool, environment_seconds=60.0, reuse=self.reuse,
      grade=lambda t: assign(reward, [t], tasks[t.group_id], {})[0][0],
    )  # fmt: skip
    stats = self.driver.run(params, self.parts.keys["rollout"], [strategy])
    pool.close()
    planners = sorted(strategy.finished, key=lambda planner: planner.request.uid)
    return [describe(planner, self.parts.tokenizer) for planner in planners], stats


def same(a, b):
  """Equal in every text and visit; values may differ by rounding."""
  return _exact(a) == _exact(b)


def _exact(record):
  return [{k: v for k, v in node.items() if k not in ("q", "prior", "value")} for node in record["nodes"]]


def main(argv):
  overrides, rest = config_values.split_argv(argv)
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--config", default="configs/tree_countdown.py")
  parser.add_argument("--trees", type=int, default=16)
  parser.add_argument("--simulations", type=int, default=64)
  parser.add_argument("--warm", type=int, default=150)
  parser.add_argument("--alone", type=int, default=0, help="trees that are also grown one at a time; 0: all")
  arguments = parser.parse_args(rest)
  config = config_lib.load(arguments.config, ["--config.mesh.data=1", *overrides])
  parts = build_experiment(config)
  params = warmed(config, parts, arguments.warm)
  search = dataclasses.replace(parts.surroundings.search, simulations=arguments.simulations)
  alone = dataclasses.replace(parts.surroundings.engine, slots=search.width, decode_rows=0)
  make = functools.partial(Bench, config, parts, search)
  together, one_by_one = make(parts.surroundings.engine, True), make(alone, False)
  groups = range(1, arguments.trees + 1)
  for bench in (together, one_by_one):
    bench.run(params, [0])
  found, stats = together.run(params, groups)
  runs = [one_by_one.run(params, [group]) for group in groups[: arguments.alone or arguments.trees]]
  single = [record for records, _ in runs for record in records]
  report(arguments, found, stats, single, [stats for _, stats in runs])


def report(arguments, found, stats, single, each):
  unique = sum(map(unique_tokens, found))
  table = Table("", "seconds", "sampled", "prefilled", "computed / unique")
  rows = {
    "at once, prefixes kept": (stats.seconds, stats.sampled, stats.prefilled),
    "one tree at a time, prefixes fed again": tuple(
      sum(getattr(s, name) for s in each) * len(found) / len(each) for name in ("seconds", "sampled", "prefilled")
    ),
  }
  for name, (seconds, sampled, prefilled) in rows.items():
    table.add_row(name, f"{seconds:.2f}", f"{sampled:.0f}", f"{prefilled:.0f}", f"{(sampled + prefilled) / unique:.3f}")
  slow, fast = rows["one tree at a time, prefixes fed again"][0], rows["at once, prefixes kept"][0]
  nodes = sum(len(record["nodes"]) for record in found)
  Console().print(
    f"{arguments.trees} trees x {arguments.simulations} simulations: {nodes} nodes, {unique} unique tokens"
  )
  Console().print(table)
  equal = sum(same(a, b) for a, b in zip(found, single, strict=False))
  Console().print(f"{slow / fast:.1f}x faster; {equal} of {len(single)} trees are equal in every node and visit")


if __name__ == "__main__":
  main(sys.argv[1:])
