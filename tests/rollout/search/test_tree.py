"""The tree alone: by hand, against mctx, and what holds for any order of simulations."""

import functools
import heapq
import math
import random

import jax
import jax.numpy as jnp
import mctx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrl.rollout.search import tree
from agentrl.rollout.search.tree import Node, Puct

DEPTH, WIDTH = 4, 3


def path_id(path):
  """Number of a path in the complete tree, breadth first; the prompt is 0."""
  number = 0
  for index in path:
    number = number * WIDTH + index + 1
  return number


SIZE = path_id((WIDTH - 1,) * (DEPTH + 1)) + 1


class Game:
  """Fixed priors and values for every path of at most DEPTH steps; those of DEPTH steps end it, and some others."""

  def __init__(self, seed):
    rng = np.random.default_rng(seed)
    self.values = rng.uniform(-1, 1, SIZE).astype(np.float32)
    self.priors = rng.dirichlet(np.ones(WIDTH), SIZE).astype(np.float32)
    self.ends = rng.random(SIZE) < 0.15
    self.ends[0] = False
    self.ends[path_id((0,) * DEPTH) :] = True

  def visit(self, node):
    at = path_id([n.index for n in node.path()])
    if self.ends[at]:
      tree.expand(node, float(self.values[at]))
    elif not node.expanded:
      tree.expand(node, float(self.values[at]), range(WIDTH), self.priors[at])
    return node.value


def search(game, simulations, rule, lag=1):
  """`lag` simulations in flight, ended in the order in which they began."""
  root, flight = Node(), []

  def settle():
    leaf = flight.pop(0)
    tree.backup(leaf, root, game.visit(leaf))

  for _ in range(simulations + 1):
    leaf = rule.select(root)
    while leaf.pending and not leaf.expanded:
      settle()
      leaf = rule.select(root)
    tree.start(leaf, root)
    flight.append(leaf)
    if len(flight) >= lag:
      settle()
  while flight:
    settle()
  return root


# ---- against mctx -----------------------------------------------------------------------------------------------


@functools.partial(jax.jit, static_argnums=(3, 4))
def mctx_search(values, priors, ends, simulations, rule):
  """The same game by `mctx.muzero_policy`; its embedding is the number of the path."""
  logits = jnp.log(priors)

  def recurrent(params, key, action, embedding):
    del params, key
    ended = ends[embedding]  # below the end of an episode nothing happens any more
    at = jnp.where(ended, embedding, embedding * WIDTH + action + 1)
    gained = jnp.where(ends[at] & ~ended, values[at], 0.0)
    return mctx.RecurrentFnOutput(
      reward=gained,
      discount=jnp.where(ends[at], 0.0, 1.0),
      prior_logits=logits[at],
      value=jnp.where(ends[at], 0.0, values[at]),
    ), at

  def q_of(search_tree, index):
    """Q as it is, without the normalisation of MuZero."""
    unvisited = search_tree.node_values[index] if rule.unvisited_parent else 0.0
    return jnp.where(search_tree.children_visits[index] > 0, search_tree.qvalues(index), unvisited)

  root = mctx.RootFnOutput(prior_logits=logits[:1], value=values[:1], embedding=jnp.zeros((1,), jnp.int32))
  out = mctx.muzero_policy(
    None,
    jax.random.key(0),
    root,
    recurrent,
    num_simulations=simulations,
    dirichlet_fraction=0.0,
    qtransform=q_of,
    pb_c_init=rule.c,
    pb_c_base=1e9,
    temperature=0.0,
  )
  return jax.tree.map(lambda a: a[0], out.search_tree)


def edges(root):
  """{path: (N, Q)} of the visited edges."""
  return {
    tuple(n.index for n in node.path()): (node.visits, node.q)
    for node in root.walk()
    if node.parent is not None and node.visits
  }


def mctx_edges(found, game):
  out = {}

  def descend(index, path):
    for action in range(WIDTH):
      visits = int(found.children_visits[index, action])
      if visits and not game.ends[path_id(path)]:
        q = found.children_rewards[index, action] + (
          found.children_discounts[index, action] * found.children_values[index, action]
        )
        out[(*path, action)] = (visits, float(q))
        descend(int(found.children_index[index, action]), (*path, action))

  descend(0, ())
  return out


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("rule", [Puct(c=0.5), Puct(c=2.0, unvisited_parent=True)], ids=["zero", "parent"])
def test_visits_and_values_are_those_of_mctx(seed, rule):
  game = Game(seed)
  with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"), jax.debug_key_reuse(False):
    found = mctx_search(game.values, game.priors, game.ends, 40, rule)
  found = jax.tree.map(np.asarray, found)
  ours, theirs = edges(search(game, 40, rule)), mctx_edges(found, game)
  assert {path: n for path, (n, _) in ours.items()} == {path: n for path, (n, _) in theirs.items()}
  assert len(ours) >= 6
  for path, (_, q) in ours.items():
    assert q == pytest.approx(theirs[path][1], abs=1e-5)


# ---- by hand ------------------------------------------------------------------------------------------------------


def test_a_leaf_counts_its_own_value_once():
  root = Node()
  tree.start(root, root)
  tree.expand(root, 0.5, ["a", "b"], [0.75, 0.25])
  tree.backup(root, root, 0.5)
  child = root.children[0]
  tree.start(child, root)
  tree.expand(child, -1.0, ["c"], [1.0])
  tree.backup(child, root, -1.0)
  assert (child.visits, child.value_sum, child.q) == (1, -1.0, -1.0)
  assert (root.visits, root.q) == (2, -0.25)  # (0.5 - 1) / 2


def test_scores_by_hand():
  root = Node(visits=4, value_sum=2.0)
  root.children = [Node(root, 0, prior=0.6, visits=3, value_sum=0.9), Node(root, 1, prior=0.4)]
  # sqrt(4) = 2: 0.9 / 3 + 0.5 0.6 2 / 4 = 0.45 and 0 + 0.5 0.4 2 / 1 = 0.4
  assert Puct(c=0.5).scores(root, root.children) == pytest.approx([0.45, 0.4])
  # The parent's Q, 2 / 4, in place of 0.
  assert Puct(c=0.5, unvisited_parent=True).scores(root, root.children) == pytest.approx([0.45, 0.9])
  root.children[0].pending = root.pending = 1
  # One visit of value -1 in flight, sqrt(5): (0.9 - 1) / 4 + 0.5 0.6 2.236 / 5 = -0.025 + 0.1342
  scores = Puct(c=0.5, virtual_value=-1.0).scores(root, root.children)
  assert scores[0] == pytest.approx(-0.025 + 0.06 * math.sqrt(5))


def test_a_simulation_in_flight_turns_the_next_one_away():
  root = Node(visits=1, value=0.0)
  root.children = [Node(root, 0, prior=0.6), Node(root, 1, prior=0.4)]
  rule = Puct(c=1.0)
  first = rule.select(root)
  tree.start(first, root)
  assert first is root.children[0] and rule.select(root) is root.children[1]
  tree.cancel(first, root)
  assert rule.select(root) is first and root.pending == 0


def test_priors_by_hand():
  logps = [np.log([0.5]), np.log([0.5, 0.5])]
  summed = tree.priors(logps, tree.PRIORS["sum"], 1.0)
  np.testing.assert_allclose(summed, [2 / 3, 1 / 3])  # 0.5 against 0.25
  np.testing.assert_allclose(tree.priors(logps, tree.PRIORS["mean"], 1.0), [0.5, 0.5])
  np.testing.assert_allclose(tree.priors(logps, tree.PRIORS["uniform"], 1.0), [0.5, 0.5])
  # At temperature 0.5 the odds are squared: 0.25 against 0.0625.
  np.testing.assert_allclose(tree.priors(logps, tree.PRIORS["sum"], 0.5), [0.8, 0.2])
  assert np.isfinite(tree.priors([np.full(9, -400.0)] * 2, tree.PRIORS["sum"], 1.0)).all()


def test_the_visited_path_breaks_ties_by_value_then_order():
  root = Node()
  root.children = [
    Node(root, 0, visits=2, value_sum=0.0), Node(root, 1, visits=2, value_sum=1.0), Node(root, 2, visits=1),
    Node(root, 3, visits=2, value_sum=1.0),
  ]  # fmt: skip
  assert tree.visited_path(root) == [root.children[1]]
  assert [(n.index, share) for n, share in tree.visit_shares(root)] == [(0, 2 / 7), (1, 2 / 7), (2, 1 / 7), (3, 2 / 7)]


def test_barring_takes_ancestors_without_another_way():
  root = Node(value=0.0)
  root.children = [Node(root, 0, value=0.0), Node(root, 1)]
  root.children[0].children = [Node(root.children[0], 0)]
  tree.bar(root.children[0].children[0])
  assert root.children[0].barred and not root.barred
  assert Puct(c=0.5).select(root) is root.children[1]
  tree.bar(root.children[1])
  assert root.barred


# ---- whatever the game --------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
  seed=st.integers(0, 10**6),
  simulations=st.integers(1, 60),
  lag=st.integers(1, 6),
  c=st.floats(0.0, 4.0),
  virtual=st.floats(-1.0, 0.0),
  parent=st.booleans(),
)
def test_visits_and_values_add_up(seed, simulations, lag, c, virtual, parent):
  game = Game(seed)
  root = search(game, simulations, Puct(c=c, virtual_value=virtual, unvisited_parent=parent), lag)
  assert root.visits == simulations + 1
  for node in root.walk():
    assert node.pending == 0
    if not node.visits:
      assert node.children == [] and node.value is None
    elif node.terminal:
      assert node.q == pytest.approx(node.value)
    else:
      assert node.visits == 1 + sum(child.visits for child in node.children)
      assert node.value_sum == pytest.approx(node.value + sum(child.value_sum for child in node.children))
      assert sum(child.prior for child in node.children) == pytest.approx(1.0, abs=1e-5)


def test_more_simulations_find_better_ends():
  def mean_end(simulations):
    return np.mean([tree.visited_path(search(Game(seed), simulations, Puct(c=1.0)))[-1].value for seed in range(8)])

  few, many = mean_end(2), mean_end(300)
  best = np.mean([max(n.value for n in search(Game(s), 500, Puct(c=1000.0)).walk() if n.terminal) for s in range(8)])
  assert few + 0.5 < many and many > 0.7 * best


def test_a_subtree_goes_on_where_it_was_left():
  game, rule = Game(1), Puct(c=1.0)
  root = search(game, 30, rule)
  child = tree.most_visited(root)
  before = child.visits
  for _ in range(10):
    leaf = rule.select(child)
    tree.start(leaf, child)
    tree.backup(leaf, child, game.visit(leaf))
  assert child.visits == before + 10 and root.visits == 31 and root.pending == 0


# ---- best first and A* ----------------------------------------------------------------------------------------


def best_first_until(root, priority, grow, goal):
  order = []
  while (node := tree.best_first(root, priority)) is not None:
    order.append(node)
    grow(node)
    if goal(node):
      return node, order
  return None, order


@pytest.mark.parametrize("seed", range(5))
def test_a_star_finds_a_cheapest_way_through_a_maze(seed):
  """Against Dijkstra on a grid of random costs, with the Manhattan distance times the least cost as heuristic."""
  rng, side = random.Random(seed), 4
  costs = {(x, y): rng.randint(1, 9) for x in range(side) for y in range(side)}
  goal = (side - 1, side - 1)
  moves = lambda at: [p for p in ((at[0] + 1, at[1]), (at[0], at[1] + 1)) if p in costs]
  place = lambda node: (0, 0) if node.parent is None else node.step
  priority = tree.cost_to_go(
    lambda node: costs[node.step], lambda node: sum(g - p for g, p in zip(goal, place(node), strict=True))
  )
  grow = lambda node: tree.expand(node, 0.0, moves(place(node)), [0.5] * len(moves(place(node))))
  found, order = best_first_until(Node(), priority, grow, lambda node: place(node) == goal)
  assert sum(costs[n.step] for n in found.path()) == dijkstra(costs, moves, goal)
  assert len(order) < 2 ** (2 * side)


def dijkstra(costs, moves, goal):
  queue, seen = [(0, (0, 0))], set()
  while queue:
    spent, at = heapq.heappop(queue)
    if at == goal:
      return spent
    if at not in seen:
      seen.add(at)
      for p in moves(at):
        heapq.heappush(queue, (spent + costs[p], p))
  raise AssertionError("no way")


def test_best_first_takes_the_steps_of_the_best_state_the_likelier_first():
  root = Node()
  assert tree.best_first(root, tree.learned_value) is root
  tree.expand(root, 0.0, "ab", [0.4, 0.6])
  a, b = root.children
  assert tree.best_first(root, tree.learned_value) is b
  tree.expand(b, -0.5, "cd", [0.5, 0.5])
  assert tree.best_first(root, tree.learned_value) is a
  tree.expand(a, 0.7, "ef", [0.1, 0.9])
  assert tree.best_first(root, tree.learned_value) is a.children[1]
  tree.bar(a.children[1])
  assert tree.best_first(root, tree.learned_value) is a.children[0]
