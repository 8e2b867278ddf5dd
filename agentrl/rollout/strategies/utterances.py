"""Single turns from given states: what an off-policy critic asks of the policy.

A state is a prefix of tokens, as the model saw it. Nothing happens to the turn: no environment hears it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from agentrl.models.chat import ChatFormat
from agentrl.rollout.driver import Driver, RolloutStats
from agentrl.rollout.engine import EngineConfig
from agentrl.rollout.episode import Request, RequestQueue
from agentrl.rollout.strategies.independent import Independent
from agentrl.rollout.workers import WorkerPool
from agentrl.types import Action, Message, Observation, Task, Trajectory


class Utterances(NamedTuple):
  """One trajectory per state, in their order: the state as its prompt, then the turn. And what they cost."""

  trajectories: list[Trajectory]
  stats: RolloutStats


@dataclasses.dataclass(frozen=True)
class UtteranceSampler:
  """Samples one turn from each of many states.

  Attributes:
    driver, engine, chat: those of the rollouts, so that nothing is compiled twice.
    temperature: of the rollouts. max_tokens: of state and turn together. turn_tokens: of the turn, 0 for no limit.
    place: policy params of a learner -> params for the driver.
  """

  driver: Driver
  engine: EngineConfig
  chat: ChatFormat
  temperature: float
  max_tokens: int
  turn_tokens: int
  place: Callable[[Any], Any]

  def __call__(self, params: Any, key: jax.Array, states: Sequence[np.ndarray]) -> list[Trajectory]:
    """The trajectories of `sample` at the rollouts' temperature, where a state's number is its uid."""
    return self.sample(params, key, states, range(len(states)), [self.temperature] * len(states)).trajectories

  def sample(
    self,
    params: Any,
    key: jax.Array,
    states: Sequence[np.ndarray],
    uids: Sequence[int],
    temperatures: Sequence[float],
  ) -> Utterances:
    """Samples one turn from each state.

    States that begin alike share what they have in common, in the order in which they come: sort them.

    Args:
      params: the policy's. key: with a turn's uid and a token's position it determines what is sampled.
      states: int32 `[T_n]` each, shorter than `max_tokens`.
      uids: uint32, one for each state.
      temperatures: of the sampling, one for each state.
    """
    chat = _GoesOn(self.chat, states)
    wanted = zip(range(len(states)), uids, temperatures, strict=True)
    queue = RequestQueue(itertools.starmap(self._request, wanted))
    with contextlib.closing(WorkerPool(self.driver.devices)) as pool:
      strategies = [
        Independent(
          queue,
          engine=self.engine,
          chat=chat,
          make_environment=_Nobody,
          pool=pool,
          environment_seconds=60.0,
        )
        for _ in range(self.driver.devices)
      ]
      stats = self.driver.run(self.place(params), key, strategies)
    failures = [failure for s in strategies for failure in s.failures]
    if failures:
      raise RuntimeError(f"a turn without an environment failed: {failures[0]}")
    return Utterances(sorted((t for s in strategies for t in s.trajectories), key=lambda t: t.group_id), stats)

  def _request(self, n: int, uid: int, temperature: float) -> Request:
    task = Task(str(n), "state", "")
    return Request(task, uid, n, n, temperature, self.max_tokens, 1, self.turn_tokens)


class _GoesOn:
  """A chat format whose prompts are stored tokens."""

  def __init__(self, chat: ChatFormat, states: Sequence[np.ndarray]):
    self.tokenizer, self.find_stop, self.parse, self.stop_tokens = (
      chat.tokenizer, chat.find_stop, chat.parse, chat.stop_tokens,
    )  # fmt: skip
    self._states = states

  def for_tools(self, tools: Sequence[Any]) -> _GoesOn:
    del tools
    return self

  def prompt(self, messages: Sequence[Message], tools: Sequence[Any]) -> list[int]:
    del tools
    return self._states[int(messages[0].content)].tolist()


class _Nobody:
  """An environment that is content with one turn."""

  tools = ()

  def reset(self, task: Task, seed: int) -> list[Message]:
    del seed
    return [Message("user", task.id)]

  def step(self, action: Action) -> Observation:
    del action
    return Observation("", done=True)

  def close(self) -> None:
    pass
