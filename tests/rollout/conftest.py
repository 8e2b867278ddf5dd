"""A tiny random policy, a counting environment, and a rollout that tests can bend."""

import dataclasses
import random
import time

import jax
import numpy as np
import pytest

from agentrl.models import transformer
from agentrl.models.chat import ChatFormat, TagSyntax
from agentrl.models.tokenizer import Tokenizer
from agentrl.rollout import engine as slot_engine
from agentrl.rollout.driver import Driver
from agentrl.rollout.engine import EngineConfig
from agentrl.rollout.episode import Request, RequestQueue
from agentrl.rollout.strategies.independent import Independent
from agentrl.rollout.workers import WorkerPool
from agentrl.training import sharding
from agentrl.types import Message, Observation, Task, TurnKind

ENGINE = EngineConfig(slots=6, positions=96, decode_tokens=4, feed_tokens=16, prefill_tokens=8, live_step=32)


class Counting:
  """Answers every call with how many there were; `behave(calls)` may sleep, raise or return another text."""

  tools = ()

  def __init__(self, behave=lambda calls: None):
    self._behave, self._calls = behave, 0

  def reset(self, task, seed):
    del seed
    return [Message("user", task.question)]

  def step(self, action):
    if action.kind is TurnKind.ANSWER:
      return Observation("", done=True, parts={"correct": 1.0})
    self._calls += 1
    text = self._behave(self._calls)
    return Observation(f"{self._calls} calls" if text is None else text)

  def close(self):
    pass


@dataclasses.dataclass
class Lab:
  """Everything a rollout needs, with its parts open to change."""

  model: transformer.ModelConfig
  params: dict
  chat: ChatFormat
  tasks: list[Task]
  drivers: dict = dataclasses.field(default_factory=dict)  # compiled once per kind

  def driver(self, engine=ENGINE, mesh=None, compiled=True):
    key = (engine, mesh, compiled)
    if key not in self.drivers:
      pauses = self.chat.pause_table()
      self.drivers[key] = Driver(self.model, engine, pauses, mesh=mesh or one_device(), compiled=compiled)
    return self.drivers[key]

  @property
  def tick_params(self):
    return slot_engine.tick_params({"policy": self.params}, self.model)

  def requests(self, *, samples=3, temperature=1.0, max_tokens=90, max_turns=4, shuffle=None):
    wanted = [
      Request(task, group * samples + n, group, group, temperature, max_tokens, max_turns)
      for group, task in enumerate(self.tasks)
      for n in range(samples)
    ]
    if shuffle is not None:
      random.Random(shuffle).shuffle(wanted)
    return wanted

  def run(self, requests=None, *, engine=ENGINE, compiled=True, mesh=None, behave=lambda calls: None, seconds=20.0):
    """Runs to the end. Returns (trajectories by uid, stats, failures)."""
    driver = self.driver(engine, mesh, compiled)
    queue = RequestQueue(self.requests() if requests is None else requests)
    pool = WorkerPool(8)
    strategies = [
      Independent(
        queue,
        engine=engine,
        chat=self.chat,
        make_environment=lambda: Counting(behave),
        pool=pool,
        environment_seconds=seconds,
      )
      for _ in range(driver.devices)
    ]
    stats = driver.run({"policy": self.params}, jax.random.key(7), strategies)
    pool.close()
    trajectories = sorted((t for s in strategies for t in s.trajectories), key=lambda t: t.uid)
    return trajectories, stats, [f for s in strategies for f in s.failures]


def one_device():
  devices = np.asarray(jax.devices()[:1]).reshape(1, 1, 1)
  return sharding.Mesh(devices, sharding.AXES, axis_types=(sharding.AxisType.Auto,) * 3)


@pytest.fixture(scope="session")
def lab():
  tokenizer = Tokenizer.byte_level()
  chat = ChatFormat.tags(tokenizer, TagSyntax("count", "text", "a", "b", "[", "]"))
  model = transformer.ModelConfig(
    vocab_size=tokenizer.vocab_size, width=32, layers=2, heads=4, kv_heads=2, head_dim=8, ffn=48, tied=False
  )
  params = transformer.init_params(jax.random.key(0), model)
  # Turns of a random policy should end now and then: the logits of tags and of the end of turn swing widely.
  loud = [ord("a"), ord("b"), tokenizer.special("<|im_end|>")]
  params["unembed"] = params["unembed"].at[:, loud].multiply(5.0)
  words = random.Random(0)
  tasks = [Task(f"t{i}", "test", "".join(words.choices("xyz ", k=words.randint(5, 40)))) for i in range(5)]
  return Lab(model, params, chat, tasks)


def sleepy(seed, longest):
  """A behaviour that sleeps for a random time."""
  rng = random.Random(seed)
  return lambda calls: time.sleep(rng.random() * longest)
