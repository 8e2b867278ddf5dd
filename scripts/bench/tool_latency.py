"""Sampling while tools are slow: every call sleeps as long as the turn before it took to decode.

  python scripts/bench/tool_latency.py [--rows 32] [--slots 96] [--turn 24] [--trajectories 180]

SmolLM2-135M's shapes with random weights. Three ways over the same trajectories, of 1 to 7 turns each:

  lock-step   batches of `--rows` trajectories; every turn waits for all its calls, every batch for its longest member
  slots       `--slots` slots take turns on `--rows` decode rows; nobody waits for another's call
  no latency  the same slots, and calls that return at once

The rate is that of the time while requests are left to start: then other slots have work. Lock-step runs two batches.
"""

import argparse
import random
import time
from concurrent.futures import wait

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from agentrl.models import transformer
from agentrl.rollout.driver import Driver
from agentrl.rollout.engine import EngineConfig
from agentrl.rollout.episode import Request
from agentrl.rollout.strategies.independent import Independent
from agentrl.rollout.workers import Calls, WorkerPool
from agentrl.training import sharding
from agentrl.types import Action, Message, Observation, Task, TurnKind

SMOLLM2 = transformer.ModelConfig(
  vocab_size=49152, width=576, layers=30, heads=9, kv_heads=3, head_dim=64, ffn=1536, rope_base=100_000.0
)
PROMPT, OBSERVATION = list(range(100, 132)), list(range(200, 208))


class FixedTurns:
  """Stands in for a chat format: a turn is `length` tokens, whatever they say."""

  class tokenizer:  # noqa: N801 - stands in for an attribute
    decode = staticmethod(lambda ids: "")

  def __init__(self, length):
    self.length = length

  def for_tools(self, tools):
    return self

  def prompt(self, messages, tools):
    return PROMPT

  def find_stop(self, ids, start=0):
    return self.length if len(ids) >= self.length else None

  def parse(self, ids):
    return Action(TurnKind.VOID, "")

  def stop_tokens(self):
    return ()

  def observation(self, observation, ended_by_token):
    return OBSERVATION


class Sleeper:
  """Ends after the number of turns that its task says; every call sleeps `seconds`."""

  tools = ()

  def __init__(self, seconds):
    self._seconds = seconds

  def reset(self, task, seed):
    self._left = task.data["turns"]
    return [Message("user")]

  def step(self, action):
    time.sleep(self._seconds)
    self._left -= 1
    return Observation("", done=self._left == 0)

  def close(self):
    pass


class Metered:
  """Counts sampled tokens until the last request has been taken."""

  def __init__(self, requests, **settings):
    self._waiting = list(requests)[::-1]
    self.tokens, self.seconds, self._started = 0, None, None
    super().__init__(self._take(), **settings)

  def _take(self):
    while self._waiting:
      yield self._waiting.pop()
    self.seconds = time.perf_counter() - self._started

  def step(self, events):
    self._started = self._started or time.perf_counter()
    if events is not None and self.seconds is None:
      self.tokens += int(events.count.sum())
    return super().step(events)


class Slots(Metered, Independent):
  """What agentrl does."""


class TakenTogether(Calls):
  """Answers are taken when no slot has anything left to decode, and all of them have come."""

  def __init__(self, pool, seconds, slots):
    super().__init__(pool, seconds)
    self._slots = slots

  def collect(self):
    if not self._slots.busy:
      wait(self._flight)
      super().collect()


class LockStep(Metered, Independent):
  """The baseline: answers are taken together, and so are new requests."""

  def __init__(self, requests, *, pool, environment_seconds, **settings):
    super().__init__(requests, pool=pool, environment_seconds=environment_seconds, **settings)
    self._calls = TakenTogether(pool, environment_seconds, self._slots)

  def _admit(self):
    if self._going_on == 0:
      super()._admit()


def sample(strategy, driver, engine, chat, params, requests, seconds, pool):
  """Tokens per second while requests were left to start."""
  one = strategy(
    requests,
    engine=engine,
    chat=chat,
    make_environment=lambda: Sleeper(seconds),
    pool=pool,
    environment_seconds=600.0,
  )
  driver.run(params, jax.random.key(0), [one])
  assert len(one.trajectories) == len(requests) and not one.failures
  return one.tokens / one.seconds


def main():
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--rows", type=int, default=32)
  parser.add_argument("--slots", type=int, default=96)
  parser.add_argument("--turn", type=int, default=24, help="tokens of a turn")
  parser.add_argument("--trajectories", type=int, default=180)
  a = parser.parse_args()
  longest = len(PROMPT) + 7 * (a.turn + len(OBSERVATION))
  sizes = {
    "positions": longest, "decode_tokens": 8, "feed_tokens": 32, "prefill_tokens": 8, "prefill_rows": 8,
    "live_step": 64,
  }  # fmt: skip
  few, many = EngineConfig(slots=a.rows, **sizes), EngineConfig(slots=a.slots, decode_rows=a.rows, **sizes)
  params = {"policy": jax.jit(lambda key: transformer.init_params(key, SMOLLM2))(jax.random.key(0))}
  mesh, pauses = sharding.make_mesh(1), np.zeros(SMOLLM2.vocab_size, bool)
  together, apart = Driver(SMOLLM2, few, pauses, mesh=mesh), Driver(SMOLLM2, many, pauses, mesh=mesh)
  rng, chat, pool = random.Random(0), FixedTurns(a.turn), WorkerPool(a.slots)
  requests = [
    Request(Task(f"bench/{n}", "bench", "", data={"turns": rng.randint(1, 7)}), n, n, n, 1.0, longest, 8)
    for n in range(a.trajectories)
  ]
  for strategy, driver, engine in ((LockStep, together, few), (Slots, apart, many)):  # compiles
    sample(strategy, driver, engine, chat, params, requests[:2], 0.0, pool)
  free = sample(Slots, apart, many, chat, params, requests, 0.0, pool)
  seconds = a.turn * a.rows / free
  slots = sample(Slots, apart, many, chat, params, requests, seconds, pool)
  # The last request is drawn when a third batch begins: two whole batches are counted.
  locked = sample(LockStep, together, few, chat, params, requests[: 2 * a.rows + 1], seconds, pool)
  table = Table("sampling", "tokens/s", "against lock-step", "against no latency")
  for name, rate in (("lock-step", locked), ("slots", slots), ("no latency", free)):
    table.add_row(name, f"{rate:.0f}", f"{rate / locked:.2f}", f"{rate / free:.2f}")
  device = jax.devices()[0]
  Console().print(
    f"SmolLM2-135M shapes, fp32, JAX {jax.__version__}, {device.platform} {device.device_kind}; "
    f"{a.rows} rows, {a.slots} slots, turns of {a.turn} tokens, calls of {seconds:.2f} s"
  )
  Console().print(table)
  pool.close()


if __name__ == "__main__":
  main()
