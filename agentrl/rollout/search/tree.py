"""A search tree on the host: selection, virtual visits, backup, and the path that was visited most.

A node stands for everything written so far, the edge into it for one step. Statistics of an edge are kept in the node
below it: prior P(s, a), visits N(s, a), and the sum W(s, a) of the values that were backed up through it, so that
`Q = W / N`. A node is evaluated once, when it is first reached, and its own value is counted once: a fresh leaf has
N = 1 and W = V. (Unlike the released code of tree search distillation, which starts a leaf at W = V and adds V again.)
The visits of a node count its own evaluation, so that `N(s) = 1 + sum_a N(s, a)` as in `mctx`.

Nothing here knows of tokens or slots; the same tree carries pUCT, best-first search and A*.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(eq=False)
class Node:
  """A state, and the statistics of the edge that leads to it.

  Attributes:
    parent: None at the prompt. index: which sample of its parent's expansion it is.
    step: whatever the search keeps of the edge. prior: P(s, a); 1 at the prompt.
    visits, value_sum: N and W. pending: simulations in flight through it.
    value: the node's own evaluation, or its reward where it is terminal; None before its first visit.
    children: distinct next steps; empty before its expansion, and for ever where it is terminal.
    barred: its environment failed; it is never selected.
  """

  parent: Node | None = None
  index: int = 0
  step: Any = None
  prior: float = 1.0
  visits: int = 0
  value_sum: float = 0.0
  pending: int = 0
  value: float | None = None
  terminal: bool = False
  barred: bool = False
  children: list[Node] = dataclasses.field(default_factory=list)

  @property
  def q(self) -> float:
    """Mean of the values backed up through the edge; 0 before the first."""
    return self.value_sum / self.visits if self.visits else 0.0

  @property
  def expanded(self) -> bool:
    """It has been visited, and its next steps, if there are any, are known."""
    return self.value is not None

  def path(self) -> list[Node]:
    """From the prompt, exclusive, to this node, inclusive."""
    nodes, node = [], self
    while node.parent is not None:
      nodes.append(node)
      node = node.parent
    return nodes[::-1]

  def choices(self) -> list[Node]:
    """Children that may be selected."""
    return [child for child in self.children if not child.barred]

  def walk(self) -> Iterator[Node]:
    """This node and everything below it, depth first."""
    yield self
    for child in self.children:
      yield from child.walk()


# ---- priors -------------------------------------------------------------------------------------------------------

PRIORS: dict[str, Callable[[np.ndarray], float]] = {
  "sum": lambda logp: float(np.sum(logp)),
  "mean": lambda logp: float(np.mean(logp)),
  "uniform": lambda logp: 0.0,
}


def priors(logps: Sequence[np.ndarray], score: Callable[[np.ndarray], float], temperature: float) -> np.ndarray:
  """`softmax_i(score(logp_i) / temperature)` over sibling steps.

  With the sum of log-probs (the paper's) short steps are strongly favoured; the mean is length-normalised.

  Args:
    logps: per-token log-probs of each sibling, `[T_i]` with `T_i >= 1`.
    score: one of `PRIORS`.
    temperature: > 0; large values flatten.

  Returns:
    f64 `[len(logps)]`, sums to 1.
  """
  scores = np.asarray([score(np.asarray(logp, np.float64)) for logp in logps]) / temperature
  weights = np.exp(scores - np.max(scores))
  return weights / np.sum(weights)


# ---- pUCT -----------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Puct:
  """`argmax_a Q(s, a) + c P(s, a) sqrt(N(s)) / (1 + N(s, a))`.

  Silver et al., 2017 (https://doi.org/10.1038/nature24270), with N(s) the visits of the node itself. This is the rule
  of `mctx.muzero_policy` where `pb_c_init = c` and `pb_c_base` is so large that its logarithm vanishes.

  A simulation in flight counts as one visit with the value `virtual_value` on every edge that it went through, so that
  the next one looks elsewhere; the backup replaces it by the real visit.

  Attributes:
    c: weight of the prior.
    unvisited_parent: an edge without visits has the Q of its parent; else 0.
    virtual_value: 0 as published; a pessimistic value spreads simulations further.
  """

  c: float
  unvisited_parent: bool = False
  virtual_value: float = 0.0

  def select(self, root: Node) -> Node:
    """The first node on the way down that has no next steps: unvisited or terminal."""
    node = root
    while choices := node.choices():
      scores = self.scores(node, choices)
      node = choices[scores.index(max(scores))]  # the first sampled of equals
    return node

  def scores(self, node: Node, choices: Sequence[Node]) -> list[float]:
    """One score per choice."""
    root = math.sqrt(node.visits + node.pending)
    unvisited = node.q if self.unvisited_parent else 0.0
    return [
      self._q(child, unvisited) + self.c * child.prior * root / (1 + child.visits + child.pending) for child in choices
    ]

  def _q(self, child: Node, unvisited: float) -> float:
    count = child.visits + child.pending
    return (child.value_sum + child.pending * self.virtual_value) / count if count else unvisited


def start(leaf: Node, root: Node) -> None:
  """Marks a simulation as in flight from the root to its leaf."""
  for node in _between(leaf, root):
    node.pending += 1


def backup(leaf: Node, root: Node, value: float) -> None:
  """Ends a simulation: one visit and its value on every edge from the leaf up to the root."""
  for node in _between(leaf, root):
    node.pending -= 1
    node.visits += 1
    node.value_sum += value


def cancel(leaf: Node, root: Node) -> None:
  """Ends a simulation that came to nothing."""
  for node in _between(leaf, root):
    node.pending -= 1


def expand(node: Node, value: float, steps: Sequence[Any] = (), step_priors: Sequence[float] = ()) -> None:
  """Gives a node its value and its next steps; without any it is terminal, and its value is its reward."""
  node.value = value
  node.terminal = not steps
  node.children = [
    Node(node, index, step, float(prior)) for index, (step, prior) in enumerate(zip(steps, step_priors, strict=True))
  ]


def bar(node: Node) -> None:
  """Takes a node out of the search, and with it every ancestor that has no other way on."""
  node.barred = True
  if node.parent is not None and not node.parent.choices():
    bar(node.parent)


def most_visited(node: Node) -> Node | None:
  """The child with most visits; ties go to the higher Q, then to the first sampled. None where none was visited."""
  visited = [child for child in node.choices() if child.visits]
  return max(visited, key=lambda child: (child.visits, child.q, -child.index), default=None)


def visited_path(root: Node) -> list[Node]:
  """Greedy descent by visits, root exclusive."""
  path, node = [], root
  while (node := most_visited(node)) is not None:
    path.append(node)
  return path


def visit_shares(node: Node) -> list[tuple[Node, float]]:
  """Visited children with their share of the node's visits: the improved policy over sampled steps."""
  visited = [child for child in node.choices() if child.visits]
  total = sum(child.visits for child in visited)
  return [(child, child.visits / total) for child in visited]


def _between(leaf: Node, root: Node) -> Iterator[Node]:
  """From the leaf up to the root, both inclusive."""
  node = leaf
  while True:
    yield node
    if node is root:
      return
    node = node.parent


# ---- what is taken of a visited path --------------------------------------------------------------------------------


def whole_path(path: list[Node]) -> list[Node]:
  """One search gives the path."""
  return path


def one_step(path: list[Node]) -> list[Node]:
  """Another search begins behind every step."""
  return path[:1]


COMMITS: dict[str, Callable[[list[Node]], list[Node]]] = {"path": whole_path, "step": one_step}


# ---- best first -----------------------------------------------------------------------------------------------------


def best_first(root: Node, priority: Callable[[Node], float]) -> Node | None:
  """The open node (neither visited, in flight nor barred) of highest priority; None where none is open.

  Ties go to the node that comes first, depth first.

  Args:
    priority: `learned_value` for best-first search, `cost_to_go(...)` for A*.
  """
  is_open = (node for node in root.walk() if not (node.expanded or node.barred or node.pending))
  return max(is_open, key=priority, default=None)


def learned_value(node: Node) -> float:
  """The value of the state that the step was taken in, and among its siblings the likelier first.

  A node's own value is only known once it has been expanded, which is what the search wants to decide.
  """
  return math.inf if node.parent is None else node.parent.value + 1e-6 * node.prior


def cost_to_go(cost: Callable[[Node], float], heuristic: Callable[[Node], float]) -> Callable[[Node], float]:
  """A*: `-(g + h)`, with g the sum of the costs of the steps so far.

  Hart, Nilsson and Raphael, 1968 (https://doi.org/10.1109/TSSC.1968.300136). With a heuristic that never overestimates,
  the first goal taken is a cheapest one in a tree.

  Args:
    cost: of the step into a node, >= 0. heuristic: estimated cost from a node to the nearest goal.
  """
  return lambda node: -(math.fsum(map(cost, node.path())) + heuristic(node))
