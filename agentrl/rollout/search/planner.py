"""One tree in the making: which nodes are visited next, in an order that no timing can change.

Up to `parallel` simulations are in flight. Their results take effect in the order in which the simulations began, and
a new one begins only after the oldest has taken effect: what is selected is a function of the tree alone. Where
selection ends at a leaf that is being evaluated, it waits.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from agentrl.models.chat import ChatFormat
from agentrl.named import by_name, check_name
from agentrl.rollout.episode import Episode, Request, derived_uid
from agentrl.rollout.search import tree
from agentrl.rollout.search.steps import StepEnd
from agentrl.rollout.search.tree import Node
from agentrl.rollout.slots import FindEnd, Job, Prefix, SlotAllocator
from agentrl.settings import FINITE, above, at_least, check_fields, setting
from agentrl.types import EnvironmentFailed, FailureKind, Trajectory

ROLLOUT = -1  # index of the nodes of a rollout in place of a child's


class Evaluation(NamedTuple):
  """How a leaf gets its value, in one of two ways.

  Attributes:
    by_head: a head that acting may read says it, where the leaf's next steps begin.
    by_rollout: it is the reward of one sample from the leaf to the end.
  """

  by_head: bool = False
  by_rollout: bool = False


EVALUATIONS: Mapping[str, Evaluation] = {"value": Evaluation(by_head=True), "rollout": Evaluation(by_rollout=True)}


@dataclasses.dataclass(frozen=True)
class SearchConfig:
  """How trees grow: the section `search` of a config.

  A path that is cut at `depth` is graded as one that ran into the length limit. Where a visited path ends early,
  another search begins there; after every search what is known of the subtree is kept.
  """

  simulations: int = setting(32, "visits of a search's root, beside its own evaluation", at_least(1))
  width: int = setting(4, "steps sampled where a leaf is expanded; equal ones become one child", at_least(1))
  depth: int = setting(8, "steps of a path", at_least(1))
  step_tokens: int = setting(32, "sampled tokens of a step, at most", at_least(1))
  step_end: str = setting("\n", "text that ends a step inside a turn; empty: a step is a whole turn")
  parallel: int = setting(4, "simulations of a tree in flight", at_least(1))
  c_puct: float = setting(0.5, "weight of the prior in the selection", at_least(0))
  unvisited_parent: bool = setting(False, "Q of a step without visits: its parent's; else 0")
  virtual_value: float = setting(0.0, "value of a visit in flight", FINITE)
  prior: str = setting("sum", 'of the log-probs of a step: "sum", "mean" or "uniform" (none)')
  prior_temperature: float = setting(1.0, "of the softmax over siblings", above(0))
  evaluate: str = setting(
    "value",
    'what a leaf is worth: "value": a head says it at the node; "rollout": the reward of one sample from it to the end',
  )
  head: str = setting("value", "the head that says it, where one does: of the algorithm or a term, `acting`")
  commit: str = setting(
    "path",
    'what is taken of the path that a search has visited most: "path": all of it; "step": one step, and there is a '
    "search before every one, on what is known; or the import path of a function of yours",
  )

  @functools.cached_property
  def puct(self) -> tree.Puct:
    """The selection rule."""
    return tree.Puct(self.c_puct, self.unvisited_parent, self.virtual_value)

  @functools.cached_property
  def score(self) -> Callable[[np.ndarray], float]:
    """What a step scores by its log-probs, before the softmax over siblings."""
    return by_name(tree.PRIORS, self.prior, kind="search.prior", takes=("logp",))

  @functools.cached_property
  def evaluation(self) -> Evaluation:
    """How a leaf gets its value."""
    check_name(EVALUATIONS, self.evaluate, kind="search.evaluate")
    return EVALUATIONS[self.evaluate]

  @functools.cached_property
  def taken(self) -> Callable[[list[Node]], list[Node]]:
    """What is taken of a visited path."""
    return by_name(tree.COMMITS, self.commit, kind="search.commit", takes=("path",))

  def __post_init__(self):
    check_fields(self, section="search")
    _ = (self.score, self.evaluation, self.taken)  # a wrong name is told here


@dataclasses.dataclass(eq=False)
class Step:
  """The edge into a node.

  Attributes:
    tokens, logp, entropy: as sampled.
    prefix: of all tokens up to the step's end; with the environment's answer, once that is known.
    turn: tokens of the current turn up to there; empty after the environment's answer.
    over: a turn, or the trajectory, ends with it: a visit asks the environment.
    feed: the environment's answer.
    trajectory: of a terminal node, with its reward.
  """

  tokens: list[int]
  logp: list[float]
  entropy: list[float]
  prefix: Prefix
  turn: tuple[int, ...] = ()
  over: bool = False
  feed: list[int] = dataclasses.field(default_factory=list)
  trajectory: Trajectory | None = None


@dataclasses.dataclass(eq=False)
class _Simulation:
  """A visit of a leaf. `left` counts what it waits for."""

  leaf: Node
  left: int = 0
  value: float | None = None
  failed: bool = False
  steps: dict[int, Step] = dataclasses.field(default_factory=dict)

  @property
  def done(self) -> bool:
    return self.failed or (self.left == 0 and self.value is not None)


# (function for a worker, environment calls it makes, then: result or None, failure or None)
Ask = Callable[[Callable[[], Any], int, Callable[[Any, EnvironmentFailed | None], None]], None]


class Planner:
  """Grows one tree and takes its visited path.

  Args:
    request: task, uid and limits of the trajectory.
    ask: hands a blocking call to a worker; see `Ask`.
    grade: a finished trajectory with its reward; None as reward: the environment failed.
    on_finish: called with the planner when `trajectory` is there.

  Attributes:
    prompt_node: root of the tree; where the environment failed before it gave a prompt, its prefix is empty.
    chosen: the nodes of the result, in order.
    trajectory: the result, graded. It may be a failure, where the environment failed at every way on.
  """

  def __init__(
    self,
    request: Request,
    config: SearchConfig,
    *,
    chat: ChatFormat,
    slots: SlotAllocator,
    ask: Ask,
    make_environment: Callable[[], Any],
    grade: Callable[[Trajectory], Trajectory],
    on_finish: Callable[[Planner], None],
    policy_version: int = 0,
  ):
    self.request = request
    self.prompt_node = Node(step=Step([], [], [], slots.prompt(())))
    self.chosen: list[Node] = []
    self.trajectory: Trajectory | None = None
    self._config, self._chat, self._slots, self._ask = config, chat, slots, ask
    self._end = StepEnd(chat, config.step_end)
    self._make_environment, self._grade, self._on_finish = make_environment, grade, on_finish
    self._version = policy_version
    self._root = self.prompt_node
    self._prompt: list[int] = []
    self._flight: collections.deque[_Simulation] = collections.deque()
    self._failures: list[EnvironmentFailed] = []  # that took ways on from the tree, as they came

  def begin(self) -> None:
    """Asks for the prompt; everything else follows from that."""
    self._ask(self._open, 1, self._opened)

  # -- simulations ---------------------------------------------------------------------------------------------------

  def _pump(self) -> None:
    """Lets results take effect in their order, and begins what then may begin."""
    self._fill()
    while self._flight and self._flight[0].done:
      self._settle(self._flight.popleft())
      self._fill()
    if not self._flight:
      self._commit()

  def _fill(self) -> None:
    while len(self._flight) < self._config.parallel and self._wants_more():
      leaf = self._config.puct.select(self._root)
      if leaf.pending and not leaf.expanded:
        return
      self._simulate(leaf)

  def _wants_more(self) -> bool:
    """The search from this root is not over; a root whose visited ways have all failed needs another one."""
    root = self._root
    if root.barred:
      return False
    nowhere = not self._flight and tree.most_visited(root) is None
    return nowhere or root.visits + root.pending <= self._config.simulations

  def _simulate(self, leaf: Node) -> None:
    tree.start(leaf, self._root)
    simulation = _Simulation(leaf)
    self._flight.append(simulation)
    if leaf.terminal:
      simulation.value = leaf.value
    elif leaf.step.over:
      self._ask_environment(leaf, lambda: self._grow(simulation), lambda value: self._leave(simulation, value))
    else:
      self._grow(simulation)

  def _settle(self, simulation: _Simulation) -> None:
    leaf = simulation.leaf
    if simulation.failed:
      tree.cancel(leaf, self._root)
      tree.bar(leaf)
      return
    if not leaf.expanded:
      self._expand(leaf, simulation.value, simulation.steps)
    tree.backup(leaf, self._root, simulation.value)

  def _expand(self, leaf: Node, value: float, sampled: Mapping[int, Step]) -> None:
    """Gives a leaf its value, and the distinct ones of the steps that were sampled there, by index, as children."""
    steps = _distinct([sampled[k] for k in sorted(sampled)])
    score, temperature = self._config.score, self._config.prior_temperature
    shares = tree.priors([s.logp for s in steps], score, temperature) if steps else ()
    tree.expand(leaf, value, steps, shares)

  def _commit(self) -> None:
    """The search from this root is over: its path, or one step, is taken, and the next one begins below."""
    if self._root.barred:
      self._go_back()
      return
    below = tree.visited_path(self._root)
    self.chosen += self._config.taken(below)
    self._root = self.chosen[-1]
    if self._root.terminal:
      self._finish(self._root.step.trajectory)
    else:
      self._pump()

  def _go_back(self) -> None:
    """Every way on has failed: the search goes on above, where there is another, or the tree fails."""
    while self._root.barred and self.chosen:
      self.chosen.pop()
      self._root = self.chosen[-1] if self.chosen else self.prompt_node
    if self._root.barred:
      self._finish(self._failed_trajectory())
    else:
      self._pump()

  def _finish(self, trajectory: Trajectory) -> None:
    self.trajectory = trajectory
    for node in self.prompt_node.walk():
      self._slots.close(node.step.prefix)
    self._on_finish(self)

  def _leave(self, simulation: _Simulation, value: float | None) -> None:
    """The simulation ends with a value, or its environment has failed."""
    simulation.value, simulation.failed = value, value is None
    self._pump()

  # -- growing a leaf ------------------------------------------------------------------------------------------------

  def _grow(self, simulation: _Simulation) -> None:
    """Samples the leaf's next steps, and what its value needs."""
    leaf = simulation.leaf
    simulation.left = self._config.width
    for k in range(self._config.width):
      self._sample(leaf, k, self._step_end(leaf), lambda job, k=k: self._grown(simulation, k, job))
    if self._config.evaluation.by_rollout:
      self._roll(simulation, leaf)

  def _grown(self, simulation: _Simulation, k: int, job: Job) -> None:
    self._add(simulation.steps, k, self._step(simulation.leaf, job))
    if k == 0 and self._config.evaluation.by_head:
      simulation.value = job.value
    simulation.left -= 1
    self._pump()

  def _add(self, found: dict[int, Step], k: int, step: Step) -> None:
    """Adds sample k to those of a leaf; of equal ones only the first is continued."""
    for other in found:
      if found[other].tokens == step.tokens:
        self._slots.close((step if other < k else found[other]).prefix)
    found[k] = step

  def _roll(self, simulation: _Simulation, node: Node) -> None:
    """One turn of a rollout below `node`; the environment says whether another follows."""

    def turned(job: Job) -> None:
      below = Node(node, ROLLOUT, self._step(node, job, over=True))
      self._ask_environment(
        below, lambda: self._roll(simulation, below), lambda value: self._leave(simulation, value), cut=False
      )

    start = len(node.step.turn)

    def turn_end(tokens: Sequence[int], seen: int) -> int | None:
      return _behind(self._chat.find_stop([*node.step.turn, *tokens], start + seen), start)

    self._sample(node, ROLLOUT, turn_end, turned, step_tokens=self.request.max_tokens)

  def _sample(
    self, node: Node, k: int, find_end: FindEnd, on_done: Callable[[Job], None], *, step_tokens: int | None = None
  ) -> None:
    prefix, request = node.step.prefix, self.request
    limit = min(prefix.end + (step_tokens or self._config.step_tokens), request.max_tokens)
    if request.turn_tokens:
      limit = min(limit, prefix.end - len(node.step.turn) + request.turn_tokens)
    uid = step_uid(request.uid, [*(n.index for n in node.path()), k])
    self._slots.submit(Job(prefix, uid, limit, request.temperature, find_end, on_done))

  def _step_end(self, node: Node):
    turn, start = node.step.turn, len(node.step.turn)
    return lambda tokens, seen: _behind(self._end.find([*turn, *tokens], start), start)

  def _step(self, node: Node, job: Job, *, over: bool = False) -> Step:
    turn, start = (*node.step.turn, *job.tokens), len(node.step.turn)
    at_limit = job.after.end >= self.request.max_tokens or len(turn) == self.request.turn_tokens
    at_depth = len(node.path()) + 1 >= self._config.depth
    over = over or at_limit or at_depth or self._end.ends_turn(turn, start)
    return Step(job.tokens, job.logp, job.entropy, job.after, turn, over)

  # -- the environment -----------------------------------------------------------------------------------------------

  def _ask_environment(
    self, node: Node, go_on: Callable[[], None], leave: Callable[[float | None], None], *, cut: bool = True
  ) -> None:
    """Acts the path to `node` anew; then `go_on()`, or, where it ends there, `leave(reward)`; None: it failed."""
    steps = [n.step for n in node.path()]
    cut = cut and len(steps) >= self._config.depth

    def acted(result, failure) -> None:
      if failure is not None:
        self._failures.append(failure)
        self._slots.close(node.step.prefix)
        leave(None)
        return
      trajectory, node.step.feed = result
      if trajectory is not None:
        self._slots.close(node.step.prefix)
        node.step.trajectory = self._graded(trajectory)
        leave(node.step.trajectory.reward)
        return
      node.step.prefix, node.step.turn = self._slots.extended(node.step.prefix, node.step.feed), ()
      go_on()

    self._ask(lambda: self._act(steps, cut), 1 + len(steps), acted)

  def _open(self) -> list[int]:
    """The prompt, from an environment that is closed at once; on a worker."""
    episode = self._episode()
    try:
      return episode.open()
    finally:
      episode.close()

  def _opened(self, prompt: list[int] | None, failure: EnvironmentFailed | None) -> None:
    if failure is not None:
      self._failures.append(failure)
      self._finish(self._failed_trajectory())
      return
    self._prompt = prompt
    self.prompt_node.step = Step([], [], [], self._slots.prompt(prompt))
    self._pump()

  def _act(self, steps: Sequence[Step], cut: bool) -> tuple[Trajectory | None, list[int]]:
    """Acts steps in a fresh environment; on a worker.

    Returns:
      The trajectory where it ends with the last step, else None; and the environment's answer to that step.
    """
    episode = self._episode()
    try:
      self._same(episode.open(), self._prompt)
      episode.begin(self._prompt)
      for step in steps[:-1]:
        self._same(self._write(episode, step), step.feed)
      feed = self._write(episode, steps[-1])
      if not episode.finished and (cut or episode.length >= self.request.max_tokens):
        episode.run_out()
      return (episode.trajectory() if episode.finished else None), feed
    finally:
      episode.close()

  def _write(self, episode: Episode, step: Step) -> list[int]:
    if not episode.write(step.tokens, step.logp, step.entropy):
      return []
    action = episode.action()
    return episode.observe(action, episode.act(action))

  def _same(self, now: list[int], before: list[int]) -> None:
    if now != before:
      raise EnvironmentFailed(
        f"task {self.request.task.id}: the same actions gave {self._chat.tokenizer.decode(now)!r} where they had given "
        f"{self._chat.tokenizer.decode(before)!r}; a search acts every path anew, and needs tools that answer alike",
        FailureKind.CHANGED,
      )

  def _episode(self) -> Episode:
    return Episode(self.request, self._make_environment, self._chat, self._version)

  def _graded(self, trajectory: Trajectory) -> Trajectory:
    """With its reward; where there can be none, the environment has failed."""
    graded = self._grade(trajectory)
    if graded.failure is not None:
      self._failures.append(EnvironmentFailed(graded.failure.reason, graded.failure.kind))
    return graded

  def _failed_trajectory(self) -> Trajectory:
    """The prompt alone, with the failure whose words come first: which came first is a matter of timing."""
    episode = self._episode()
    if self._prompt:
      episode.begin(self._prompt)
    episode.fail(min(self._failures, key=str))
    return self._grade(episode.trajectory())


def step_uid(tree_uid: int, path: Sequence[int]) -> int:
  """uint32 that seeds the step at a path of child indices: a hash, so that trees and paths never share a sequence."""
  return derived_uid(tree_uid, *path)


def _distinct(steps: Sequence[Step]) -> list[Step]:
  """The first of every set of equal steps: a step that was sampled twice is one way on, not two."""
  first: dict[tuple[int, ...], Step] = {}
  for step in steps:
    first.setdefault(tuple(step.tokens), step)
  return list(first.values())


def _behind(end: int | None, start: int) -> int | None:
  return None if end is None else end - start
