"""What the host's side of a tick costs: strategies on a device that only counts, CPU time inside `step` alone.

  python scripts/bench/host_step.py [--slots 64 256] [--repeat 5]

Independent samples: groups of 8 whose prompts begin with the same 96 of 128 tokens, turns of 24 tokens, 1 to 7 turns
each, calls that return at once. Tree search: steps of a few random letters, 64 simulations of each tree.
"""

import argparse
import dataclasses
import random
import time

import numpy as np
from rich.console import Console
from rich.table import Table

from agentrl.models.chat import ChatFormat
from agentrl.models.tokenizer import Tokenizer
from agentrl.rollout import engine as slot_engine
from agentrl.rollout.engine import KEEP, EngineConfig, Events
from agentrl.rollout.episode import Request
from agentrl.rollout.search.planner import SearchConfig
from agentrl.rollout.strategies.independent import Independent
from agentrl.rollout.strategies.tree_search import TreeSearch
from agentrl.rollout.workers import Call, WorkerPool
from agentrl.types import Action, Message, Observation, Task, TurnKind

TURN, OBSERVATION = 24, list(range(200, 208))


class Counter:
  """A device that keeps the lengths of its slots, and writes what `token(uid, position)` says.

  Attributes:
    pauses: tokens behind which a slot waits for the host.
  """

  def __init__(self, engine, token, pauses=()):
    self._engine, self._token, self._pauses = engine, token, frozenset(pauses)
    self._lengths = np.zeros(engine.slots, int)
    self.fed = self.sampled = 0

  def tick(self, commands):
    before = self._lengths[commands.fork_from]
    self._lengths = np.where(commands.length == KEEP, before, commands.length) + commands.feed_count
    self.fed += int(commands.feed_count.sum())
    shape = (self._engine.slots, self._engine.decode_tokens)
    tokens, count, stopped = np.zeros(shape, np.int32), np.zeros(shape[0], np.int32), np.zeros(shape[0], np.int32)
    for b in np.flatnonzero(commands.active):
      while count[b] < shape[1] and not stopped[b]:
        tokens[b, count[b]] = token = self._token(int(commands.uid[b]), int(self._lengths[b]))
        count[b] += 1
        self._lengths[b] += 1
        if token in self._pauses:
          stopped[b] = slot_engine.STOP_TOKEN
        elif self._lengths[b] >= commands.limit[b]:
          stopped[b] = slot_engine.LIMIT
    self.sampled += int(count.sum())
    zeros = np.zeros(shape, np.float32)
    return Events(tokens, zeros, zeros, zeros[:, 0], count, stopped, None)


class AtOnce(WorkerPool):
  """Calls are over when they are submitted."""

  def submit(self, function, *args, seconds):
    call = Call(seconds)
    call.set_result(function(*args))
    return call


class FixedTurns:
  """Stands in for a chat format: a turn is `TURN` tokens, whatever they say; a prompt is spelled by its task."""

  def for_tools(self, tools):
    return self

  def prompt(self, messages, tools):
    return [*range(100, 196), *random.Random(messages[0].content).choices(range(100), k=32)]

  def find_stop(self, ids, start=0):
    return TURN if len(ids) >= TURN else None

  def parse(self, ids):
    return Action(TurnKind.VOID, "")

  def stop_tokens(self):
    return ()

  def observation(self, observation, ended_by_token):
    return OBSERVATION

  class tokenizer:  # noqa: N801 - stands in for an attribute
    decode = staticmethod(lambda ids: "")


class Turns:
  """Ends after the number of turns that its task says."""

  tools = ()

  def reset(self, task, seed):
    self._left = task.data["turns"]
    return [Message("user", task.question)]

  def step(self, action):
    self._left -= 1
    return Observation("", done=self._left == 0)

  def close(self):
    pass


def independent(slots):
  """A strategy, and the device that it plays on."""
  engine = EngineConfig(slots=slots, positions=512, decode_tokens=8, feed_tokens=128, prefill_tokens=32)
  rng = random.Random(0)
  requests = [
    Request(Task(f"b/{n}", "bench", str(n // 8), data={"turns": rng.randint(1, 7)}), n, n // 8, n // 8, 1.0, 512, 8)
    for n in range(4 * slots)
  ]
  strategy = Independent(
    requests, engine=engine, chat=FixedTurns(), make_environment=Turns, pool=AtOnce(1), environment_seconds=60.0
  )
  return strategy, Counter(engine, lambda uid, position: (uid + position) % 90)


def tree_search(slots):
  """A strategy, and the device that it plays on."""
  engine = EngineConfig(slots=slots, positions=160, decode_tokens=8, feed_tokens=128, prefill_tokens=32)
  chat = ChatFormat.dialogue(Tokenizer.byte_level(), "")
  end = chat.tokenizer.special("<|im_end|>")
  choices = [*b"abcdefgh", *b"\n\n", end]
  tasks = [Task(f"b/{n}", "bench", f"{n} " * 20, data={"turns": 4}) for n in range(slots // 8)]
  requests = [Request(task, n, n, n, 1.0, 160, 4) for n, task in enumerate(tasks)]
  strategy = TreeSearch(
    requests, SearchConfig(simulations=64, depth=6, step_tokens=16), engine=engine, chat=chat, make_environment=Turns,
    pool=AtOnce(1), environment_seconds=60.0, grade=lambda t: dataclasses.replace(t, reward=float(t.uid % 7)),
  )  # fmt: skip
  return strategy, Counter(engine, lambda uid, n: choices[(uid * 2654435761 + n * 40503) // 7 % 11], (10, end))


def play(strategy, device):
  """(seconds inside `step`, ticks) to the end."""
  seconds, ticks, events = 0.0, 0, None
  while True:
    started = time.thread_time()
    commands = strategy.step(events)
    seconds += time.thread_time() - started
    if commands.done[0]:
      return seconds, ticks
    events, ticks = device.tick(commands), ticks + 1


def main():
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--slots", type=int, nargs="+", default=[64, 256])
  parser.add_argument("--repeat", type=int, default=5)
  a = parser.parse_args()
  table = Table("strategy", "slots", "us a tick", "ms in all", "ticks", "fed", "sampled")
  for make in (independent, tree_search):
    for slots in a.slots:
      runs = []
      for _ in range(a.repeat):
        strategy, device = make(slots)
        runs.append((*play(strategy, device), device))
      seconds, ticks, device = min(runs, key=lambda run: run[0])
      cost = f"{1e6 * seconds / ticks:.0f}", f"{1e3 * seconds:.1f}"
      table.add_row(make.__name__, str(slots), *cost, str(ticks), str(device.fed), str(device.sampled))
  Console().print(table)


if __name__ == "__main__":
  main()
