"""Monte Carlo tree search over steps: many trees, and several simulations of each, at once over the engine's slots.

A step is what the policy writes up to a stop of the chat format, a text such as a newline, or a number of tokens; it
may call a tool. A leaf is evaluated while its next steps are sampled: the state that decides their first token is the
leaf's own, and the value head reads it there. Environments are objects that nobody can copy, so a path that ends a
turn is acted anew, in a fresh environment, by a worker.

The method is that of tree search distillation (Tambde, 2026, the code of at2005/llm-mcts). Unlike that code, a leaf's
value is counted once, equal siblings are one child, and the order of simulations is a function of the tree: what comes
out depends on the seed and the tree's uid, and not on slots, timing or other trees (up to rounding, where a prefix that
was evicted is fed again in other chunks).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from agentrl.models.chat import ChatFormat
from agentrl.rollout import engine as slot_engine
from agentrl.rollout.engine import Commands, EngineConfig, Events
from agentrl.rollout.episode import Request
from agentrl.rollout.search.planner import Planner, SearchConfig
from agentrl.rollout.search.steps import StepEnd
from agentrl.rollout.slots import SlotAllocator
from agentrl.rollout.workers import Calls, WorkerPool
from agentrl.types import EnvironmentFailed, Trajectory


class TreeSearch:
  """Grows one tree per request and takes its visited path as the trajectory.

  Args:
    requests: one tree each; shared iterators let several devices draw from one queue.
    search: see `SearchConfig`.
    make_environment: makes a fresh environment; the same seed and actions must give the same answers.
    environment_seconds: deadline of one environment call; a path of n steps that is acted anew has n + 1 times that.
    grade: gives a finished trajectory its reward.
    on_finish: called with every result.
    reuse: see `SlotAllocator`.
    planner: how a tree grows: `Planner` searches, `ValueGuided` looks one step ahead.

  Attributes:
    finished: planners whose trees are complete, as they came.

  Raises:
    ValueError: `search.width` exceeds the slots, or no token can end a step.
  """

  def __init__(
    self,
    requests: Iterable[Request],
    search: SearchConfig,
    *,
    engine: EngineConfig,
    chat: ChatFormat,
    make_environment: Callable[[], Any],
    pool: WorkerPool,
    environment_seconds: float,
    grade: Callable[[Trajectory], Trajectory],
    policy_version: int = 0,
    on_finish: Callable[[Trajectory], None] = lambda trajectory: None,
    reuse: bool = True,
    planner: type[Planner] = Planner,
  ):
    check_search(search, engine, chat)
    self._requests = iter(requests)
    self._search, self._engine, self._chat = search, engine, chat
    self._make_environment, self._grade = make_environment, grade
    self._version, self._on_finish = policy_version, on_finish
    self._slots, self._planner = SlotAllocator(engine, reuse=reuse), planner
    self._calls = Calls(pool, environment_seconds)
    self._live = 0
    self.finished: list[Planner] = []

  @property
  def trajectories(self) -> list[Trajectory]:
    """Visited paths, in the order of their uid."""
    return sorted((planner.trajectory for planner in self.finished), key=lambda trajectory: trajectory.uid)

  @property
  def failures(self) -> list[EnvironmentFailed]:
    """Of all calls of environments."""
    return self._calls.failures

  def step(self, events: Events | None) -> Commands:
    """See `Strategy`."""
    if events is not None:
      self._slots.absorb(events)
    self._calls.collect()
    self._open_trees()
    while not self._slots.busy and self._calls:
      self._calls.wait()
      self._calls.collect()
      self._open_trees()
    return self._slots.commands() if self._slots.busy else slot_engine.end_of_rollout(self._engine)

  def _open_trees(self) -> None:
    """As many trees as have room for one expansion each."""
    room = max(1, self._engine.slots // self._search.width)
    while self._live < room and (request := next(self._requests, None)) is not None:
      self._live += 1
      self._planner(
        request,
        self._search,
        chat=self._chat,
        slots=self._slots,
        ask=self._calls.ask,
        make_environment=self._make_environment,
        grade=self._grade,
        on_finish=self._finish,
        policy_version=self._version,
      ).begin()

  def _finish(self, planner: Planner) -> None:
    self._live -= 1
    self.finished.append(planner)
    self._on_finish(planner.trajectory)


def check_search(search: SearchConfig, engine: EngineConfig, chat: ChatFormat) -> None:
  """Raises ValueError where a search could not run on these slots, or with this vocabulary."""
  if search.width > engine.slots:
    raise ValueError(
      f"search.width={search.width} steps are sampled at once and engine.slots={engine.slots}: raise engine.slots or "
      "lower search.width"
    )
  StepEnd(chat, search.step_end)
