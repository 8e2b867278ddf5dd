"""Rollouts against tool latency: none, 10 ms, 100 ms, 1 s, and heavy-tailed; in lock-step and as agentrl does it.

  python scripts/bench/async_rollouts.py [--rows 32] [--slots 128] [--turn 24] [--trajectories 512] [--simulated 10000]

The first table is measured, with a small model: tokens per second while requests are left to start (see
`tool_latency.py`, whose parts it uses). The second is simulated, on a clock that is only counted: a quarter of the
slots decode at a time, at the pace per row of the first table without latency; host work is free there. The last line
is what the host needs for a tick of as many slots, measured, with tools that answer at once.
"""

import argparse
import heapq
import random
import statistics
import time

import jax
import numpy as np
from rich.console import Console
from rich.table import Table
from tool_latency import OBSERVATION, PROMPT, FixedTurns, LockStep, Sleeper, Slots

from agentrl.models import transformer
from agentrl.rollout.driver import Driver
from agentrl.rollout.engine import STOP_TOKEN, EngineConfig, Events
from agentrl.rollout.episode import Request
from agentrl.rollout.workers import WorkerPool
from agentrl.training import sharding
from agentrl.types import Task

SMALL = transformer.ModelConfig(
  vocab_size=512, width=128, layers=4, heads=4, kv_heads=2, head_dim=32, ffn=384, rope_base=10_000.0
)
# Seconds of a call, by name. The heavy tail is Pareto's with exponent 1.5 from 33 ms on, cut at 10 s: 0.1 s on average.
LATENCIES = {
  "0": lambda rng: 0.0,
  "10 ms": lambda rng: 0.01,
  "100 ms": lambda rng: 0.1,
  "1 s": lambda rng: 1.0,
  "heavy tail, mean 0.1 s": lambda rng: min(10.0, rng.paretovariate(1.5) / 30),
}
MAX_TURNS = 7


class Tool(Sleeper):
  """Sleeps as long as the task's own random numbers say."""

  def __init__(self, latency):
    super().__init__(0.0)
    self._latency = latency

  def reset(self, task, seed):
    self._rng = random.Random(task.id)
    return super().reset(task, seed)

  def step(self, action):
    self._seconds = self._latency(self._rng)
    return super().step(action)


def measure(strategy, driver, engine, chat, params, requests, latency, pool):
  """Tokens per second while requests were left to start."""
  one = strategy(
    requests, engine=engine, chat=chat, make_environment=lambda: Tool(latency), pool=pool, environment_seconds=600.0
  )
  driver.run(params, jax.random.key(0), [one])
  assert len(one.trajectories) == len(requests) and not one.failures
  return one.tokens / one.seconds


def simulate(slots, rows, turn_seconds, turns, latency, *, lock_step):
  """Turns per second of trajectories with so many `turns` each, while some are left to start."""
  rng, waiting = random.Random(0), list(turns)
  if lock_step:
    return _simulate_lock_step(rows, turn_seconds, waiting, latency, rng)
  left = [waiting.pop() for _ in range(slots)]
  ready, calling, free, now, done = [(0.0, s) for s in range(slots)], [], [0.0] * rows, 0.0, 0
  while waiting:
    row = heapq.heappop(free)
    at, slot = heapq.heappop(ready) if ready else heapq.heappop(calling)
    while calling and calling[0][0] <= max(row, at):
      heapq.heappush(ready, heapq.heappop(calling))
    now = max(row, at) + turn_seconds
    heapq.heappush(free, now)
    done += 1
    left[slot] -= 1
    if not left[slot]:
      left[slot] = waiting.pop()
    heapq.heappush(calling, (now + latency(rng), slot))
  return done / now


def _simulate_lock_step(rows, turn_seconds, waiting, latency, rng):
  now, done = 0.0, 0
  while len(waiting) >= rows:
    batch = [waiting.pop() for _ in range(rows)]
    for turn in range(max(batch)):
      live = sum(turns > turn for turns in batch)
      now += turn_seconds + max(latency(rng) for _ in range(live))
      done += live
  return done / now


def host_seconds(slots, chat, pool):
  """Median seconds that the host takes for a tick in which every slot ends a turn."""
  longest = len(PROMPT) + MAX_TURNS * (chat.length + len(OBSERVATION))
  engine = EngineConfig(slots=slots, positions=longest, decode_tokens=chat.length, feed_tokens=len(PROMPT))
  task = Task("bench", "bench", "", data={"turns": MAX_TURNS})
  requests = [Request(task, n, n, n, 1.0, longest, MAX_TURNS + 1) for n in range(slots)]
  strategy = Slots(
    requests, engine=engine, chat=chat, make_environment=lambda: Sleeper(0.0), pool=pool, environment_seconds=600.0
  )
  zeros = np.zeros((slots, chat.length), np.float32)
  events = Events(
    tokens=zeros.astype(np.int32),
    logp=zeros,
    entropy=zeros,
    value=zeros[:, 0],
    count=np.full(slots, chat.length, np.int32),
    stopped=np.full(slots, STOP_TOKEN, np.int32),
    work=np.zeros((1, 3), np.int32),
  )
  strategy.step(None)
  seconds = []
  for _ in range(2 * MAX_TURNS):
    started = time.perf_counter()
    commands = strategy.step(events)
    seconds.append(time.perf_counter() - started)
    if commands.done.all():
      break
  return statistics.median(seconds)


def main():
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--rows", type=int, default=32)
  parser.add_argument("--slots", type=int, default=128)
  parser.add_argument("--turn", type=int, default=24, help="tokens of a turn")
  parser.add_argument("--trajectories", type=int, default=512)
  parser.add_argument("--simulated", type=int, default=10_000, help="slots of the simulation")
  a = parser.parse_args()
  longest = len(PROMPT) + MAX_TURNS * (a.turn + len(OBSERVATION))
  sizes = {"positions": longest, "decode_tokens": 8, "feed_tokens": 32, "prefill_tokens": 8, "prefill_rows": 8}
  few, many = EngineConfig(slots=a.rows, **sizes), EngineConfig(slots=a.slots, decode_rows=a.rows, **sizes)
  params = {"policy": jax.jit(lambda key: transformer.init_params(key, SMALL))(jax.random.key(0))}
  mesh, pauses = sharding.make_mesh(1), np.zeros(SMALL.vocab_size, bool)
  together, apart = Driver(SMALL, few, pauses, mesh=mesh), Driver(SMALL, many, pauses, mesh=mesh)
  rng, chat, pool = random.Random(0), FixedTurns(a.turn), WorkerPool(a.slots)
  requests = [
    Request(Task(f"bench/{n}", "bench", "", data={"turns": rng.randint(1, MAX_TURNS)}), n, n, n, 1.0, longest, 8)
    for n in range(a.trajectories)
  ]
  for strategy, driver, engine in ((LockStep, together, few), (Slots, apart, many)):  # compiles
    measure(strategy, driver, engine, chat, params, requests[:2], LATENCIES["0"], pool)
  measured, simulated = (Table("latency of a call", "lock-step", "slots", "ratio") for _ in range(2))
  turn_seconds = None
  for name, latency in LATENCIES.items():
    slots = measure(Slots, apart, many, chat, params, requests, latency, pool)
    locked = measure(LockStep, together, few, chat, params, requests[: 2 * a.rows + 1], latency, pool)
    measured.add_row(name, f"{locked:.0f}", f"{slots:.0f}", f"{slots / locked:.2f}")
    turn_seconds = turn_seconds or a.turn * a.rows / slots
    turns = [rng.randint(1, MAX_TURNS) for _ in range(4 * a.simulated)]
    rates = [
      a.turn * simulate(a.simulated, a.simulated // 4, turn_seconds, turns, latency, lock_step=lock_step)
      for lock_step in (True, False)
    ]
    simulated.add_row(name, *(f"{rate:.0f}" for rate in rates), f"{rates[1] / rates[0]:.2f}")
  device = jax.devices()[0]
  console = Console()
  console.print(
    f"JAX {jax.__version__}, {device.platform} {device.device_kind}; tokens per second; turns of {a.turn} tokens, "
    f"1 to {MAX_TURNS} of them"
  )
  console.print(f"Measured: {a.rows} decode rows; {a.rows} slots in lock-step, {a.slots} otherwise")
  console.print(measured)
  console.print(f"Simulated: {a.simulated // 4} decode rows; as many slots in lock-step, {a.simulated} otherwise")
  console.print(simulated)
  seconds = host_seconds(a.simulated, chat, pool)
  console.print(f"The host's work for a tick of {a.simulated} slots that all end a turn: {1000 * seconds:.0f} ms")
  pool.close()


if __name__ == "__main__":
  main()
