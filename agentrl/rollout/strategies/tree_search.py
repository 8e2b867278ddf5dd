"""Monte Carlo tree search over steps: many trees, and several simulations of each, at once over the engine's slots.

A step is what the policy writes up to a stop of the chat format, a text such as a newline, or a number of tokens; it
may call a tool. A leaf is evaluated while its next steps are sampled: the state that decides their first token is the
leaf's own, and a head reads its value there. Environments are objects that nobody can copy, so a path that ends a turn
is acted anew, in a fresh environment, by a worker.

The method is that of tree search distillation (Tambde, 2026, the code of at2005/llm-mcts). Unlike that code, a leaf's
value is counted once, equal siblings are one child, and the order of simulations is a function of the tree: what comes
out depends on the seed and the tree's uid, and not on slots, timing or other trees (up to rounding, where a prefix that
was evicted is fed again in other chunks).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ml_collections import ConfigDict

from agentrl.models.chat import ChatFormat
from agentrl.named import with_settings
from agentrl.rollout import engine as slot_engine
from agentrl.rollout.driver import ActingHead, Driver, RolloutStats
from agentrl.rollout.engine import Commands, EngineConfig, Events
from agentrl.rollout.episode import Request, RequestQueue
from agentrl.rollout.search.planner import Planner, SearchConfig
from agentrl.rollout.search.record import branches, describe
from agentrl.rollout.search.steps import StepEnd
from agentrl.rollout.slots import SlotAllocator
from agentrl.rollout.strategies.contract import Collection, Needs, Sampled, Sampler, Surroundings, shared
from agentrl.rollout.strategies.independent import independent
from agentrl.rollout.workers import Calls, WorkerPool
from agentrl.settings import Range
from agentrl.types import EnvironmentFailed, Trajectory

RANGES: Mapping[str, Range] = {}


def default_config() -> ConfigDict:
  """It has no settings of its own: how trees grow says the section `search`, which searching evaluations read too."""
  return ConfigDict()


def make(surroundings: Surroundings, cfg: ConfigDict) -> Sampler:
  """See `contract.Sampler`.

  Raises:
    ValueError: see `tree_search`.
  """
  return with_settings(tree_search, cfg, section="strategy")(surroundings, surroundings.search)


def tree_search(surroundings: Surroundings, search: SearchConfig, planner: type[Planner] = Planner) -> Sampler:
  """Grows one tree for every request, as `search` says; its visited path is the sample.

  Args:
    planner: see `TreeSearch`.

  Raises:
    ValueError: see `check_search`.
  """
  check_search(search, surroundings.engine, surroundings.chat)
  needs = head_needed(search)

  def sample(collection: Collection) -> Sampled:
    driver = search_driver(surroundings, search, collection.heads)
    make_strategy = functools.partial(
      TreeSearch,
      RequestQueue(collection.requests),
      search,
      grade=lambda trajectory: collection.grade([trajectory])[0],
      planner=planner,
      **shared(surroundings, collection),
    )
    strategies = [make_strategy() for _ in range(driver.devices)]
    params = {name: collection.params[name] for name in ("policy", *needs.params)}
    stats = driver.run(params, collection.key, strategies)
    return _found(strategies, stats, surroundings.chat, siblings=collection.siblings)

  return Sampler(
    sample,
    per_sample=1 + search.depth * (search.width - 1),
    needs=needs,
    siblings=True,
    graded=True,
    evaluate_with=independent(surroundings),
  )


def _found(strategies: list[TreeSearch], stats: RolloutStats, chat: ChatFormat, *, siblings: bool) -> Sampled:
  """Every path, followed by its siblings where they are wanted, in the order of the paths' uid."""
  planners = sorted((p for s in strategies for p in s.finished), key=lambda p: p.request.uid)
  found = [[p.trajectory, *(branches(p) if siblings else ())] for p in planners]
  trees = {p.request.uid: functools.partial(describe, p, chat.tokenizer) for p in planners}
  failures = [failure for s in strategies for failure in s.failures]
  return Sampled(list(itertools.chain(*found)), stats, failures, trees)


def head_needed(search: SearchConfig) -> Needs:
  """The head that says what leaves are worth, where one does."""
  if not search.evaluation.by_head:
    return Needs()
  return Needs(
    params=(search.head,),
    heads=(search.head,),
    why=f"search.evaluate={search.evaluate!r} needs the head search.head={search.head!r}",
    otherwise="choose algorithm='tree_distill' or 'ppo', a term with such a head, or search.evaluate='rollout'",
  )


def search_driver(surroundings: Surroundings, search: SearchConfig, heads: Mapping[str, ActingHead]) -> Driver:
  """Pauses where a step may end, and reads the head that says what leaves are worth, where one does.

  Args:
    surroundings: of the slots.
    search: how trees grow.
    heads: see `Collection`.
  """
  pauses = StepEnd(surroundings.chat, search.step_end).pause_table(surroundings.vocab_size)
  return surroundings.drivers(pauses, heads[search.head] if search.evaluation.by_head else None)


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
