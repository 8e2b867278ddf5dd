"""Wall time and idle share while tools are slow, against the turns of a trajectory and the spread of the latencies.

  python scripts/bench/waiting_tools.py [--out results/bench/waiting_tools.json]

Two ways over the same trajectories, with as many slots each, and the same latencies by trajectory and turn:

  lock-step   batches of `--slots` trajectories; every turn waits for all its calls, every batch for its longest member
  slots       a finished turn goes to a worker and its slot rests; a finished slot takes the next task at once

A trajectory has 1 to `max_turns` turns. A call sleeps for m exp(s z - s^2 / 2) seconds, z standard normal, so that the
mean is m for every spread s, and 20 m at most. The model is tiny, so that sleeping is nearly all that there is: what
is compared is who waits for whom, and a busy machine hardly matters. The idle share is that of the wall time in which
no slot has anything to decode. Jiang et al., 2025 (VerlTool, https://arxiv.org/abs/2509.01055), measure the like.
"""

import argparse
import itertools
import json
import math
import os
import pathlib
import random
import time

import jax
import numpy as np
from rich.console import Console
from rich.table import Table
from tool_latency import OBSERVATION, PROMPT, FixedTurns, LockStep, Sleeper, TakenTogether

from agentrl.models import transformer
from agentrl.rollout.driver import Driver
from agentrl.rollout.engine import EngineConfig
from agentrl.rollout.episode import Request
from agentrl.rollout.strategies.independent import Independent
from agentrl.rollout.workers import Calls, WorkerPool
from agentrl.training import sharding
from agentrl.types import Task

TINY = transformer.ModelConfig(
  vocab_size=256, width=32, layers=1, heads=2, kv_heads=1, head_dim=16, ffn=48, rope_base=10_000.0
)
MAX_TURNS, SPREADS, TURN = (1, 3, 5, 7), (0.0, 0.5, 1.0, 2.0), 8


class Tool(Sleeper):
  """Sleeps as long as the random numbers of its task say."""

  def __init__(self, mean, spread):
    super().__init__(0.0)
    self._mean, self._spread = mean, spread

  def reset(self, task, seed):
    self._rng = random.Random(task.id)
    return super().reset(task, seed)

  def step(self, action):
    s = self._spread
    self._seconds = self._mean * min(20.0, math.exp(s * self._rng.gauss(0, 1) - s * s / 2))
    return super().step(action)


class Timed:
  """Counts the seconds in which nothing is decoded, since no call has answered."""

  idle = 0.0

  def wait(self):
    started = time.perf_counter()
    super().wait()
    self.idle += time.perf_counter() - started


class TimedCalls(Timed, Calls):
  """Those of slots."""


class TimedTogether(Timed, TakenTogether):
  """Those of lock-step."""

  def collect(self):
    started, waits = time.perf_counter(), not self._slots.busy
    super().collect()
    self.idle += (time.perf_counter() - started) * waits


class Slots(Independent):
  """What agentrl does."""

  def __init__(self, requests, *, pool, environment_seconds, **settings):
    super().__init__(requests, pool=pool, environment_seconds=environment_seconds, **settings)
    self._calls = TimedCalls(pool, environment_seconds)


class Locked(LockStep):
  """The baseline."""

  def __init__(self, requests, *, pool, environment_seconds, **settings):
    super().__init__(requests, pool=pool, environment_seconds=environment_seconds, **settings)
    self._calls = TimedTogether(pool, environment_seconds, self._slots)


def measured(strategy, driver, engine, params, requests, make_environment, pool):
  """Seconds in all, and the share of them in which no slot decodes."""
  one = strategy(
    requests,
    engine=engine,
    chat=FixedTurns(TURN),
    make_environment=make_environment,
    pool=pool,
    environment_seconds=600.0,
  )
  started = time.perf_counter()
  driver.run(params, jax.random.key(0), [one])
  seconds = time.perf_counter() - started
  assert len(one.trajectories) == len(requests) and not one.failures
  return {"seconds": round(seconds, 2), "idle": round(one._calls.idle / seconds, 3)}


def requests_of(max_turns, count, longest):
  """The same trajectories for both ways."""
  rng = random.Random(max_turns)
  tasks = [Task(f"b{max_turns}/{n}", "bench", "", data={"turns": rng.randint(1, max_turns)}) for n in range(count)]
  return [Request(task, n, n, n, 1.0, longest, 8) for n, task in enumerate(tasks)]


def main():
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--slots", type=int, default=16)
  parser.add_argument("--trajectories", type=int, default=48)
  parser.add_argument("--mean", type=float, default=0.5, help="seconds of a call, on average")
  parser.add_argument("--out", type=pathlib.Path, help="a JSON file to write")
  a = parser.parse_args()
  longest = len(PROMPT) + 7 * (TURN + len(OBSERVATION))
  engine = EngineConfig(
    slots=a.slots, positions=longest, decode_tokens=8, feed_tokens=32, prefill_tokens=8, live_step=64
  )
  params = {"policy": transformer.init_params(jax.random.key(0), TINY)}
  driver = Driver(TINY, engine, np.zeros(TINY.vocab_size, bool), mesh=sharding.make_mesh(1))
  pool, cells, load = WorkerPool(a.slots), [], os.getloadavg()[0]
  measured(Slots, driver, engine, params, requests_of(7, a.slots, longest), lambda: Tool(0.0, 0.0), pool)  # compiles
  for max_turns, spread in itertools.product(MAX_TURNS, SPREADS):
    requests = requests_of(max_turns, a.trajectories, longest)
    cell = {"max_turns": max_turns, "spread": spread}
    for name, strategy in (("lock_step", Locked), ("slots", Slots)):
      cell[name] = measured(strategy, driver, engine, params, requests, lambda s=spread: Tool(a.mean, s), pool)
    cells.append(cell | {"ratio": round(cell["lock_step"]["seconds"] / cell["slots"]["seconds"], 2)})
  pool.close()
  report(cells, a, load)


def report(cells, a, load):
  """Prints the table, and writes the file."""
  table = Table("max turns", "spread", "lock-step s", "idle", "slots s", "idle", "ratio")
  for cell in cells:
    ways = [f"{cell[way][name]}" for way in ("lock_step", "slots") for name in ("seconds", "idle")]
    table.add_row(str(cell["max_turns"]), str(cell["spread"]), *ways, f"{cell['ratio']:.2f}")
  device = jax.devices()[0]
  settings = {"slots": a.slots, "trajectories": a.trajectories, "mean": a.mean, "turn": TURN}
  machine = f"JAX {jax.__version__}, {device.platform} {device.device_kind}, {os.cpu_count()} cores"
  Console().print(f"{machine}, load {load:.1f} at the start; {settings}")
  Console().print(table)
  if a.out:
    record = {"machine": machine, "load": round(load, 1), "date": time.strftime("%Y-%m-%d", time.gmtime())}
    a.out.write_text(json.dumps(record | {"settings": settings, "cells": cells}, indent=1) + "\n")


if __name__ == "__main__":
  main()
