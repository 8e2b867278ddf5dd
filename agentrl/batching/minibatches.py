"""A packed batch dealt into minibatches: other rows, the same trees.

A tree is what `pack` never divides: a prompt with its samples, a trunk with its branches. Its tokens stand together in
a row, and the first of them is at position 0; so the trees of a batch are found again in its arrays, and whatever has
been computed for their action tokens since it was packed comes along.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from agentrl.types import Batch


class Tree(NamedTuple):
  """Where a tree stands: its row, its tokens `[start, end)` and its entries `[first, last)` among the row's actions."""

  row: int
  start: int
  end: int
  first: int
  last: int

  @property
  def tokens(self) -> int:
    """How many tokens it has."""
    return self.end - self.start

  @property
  def actions(self) -> int:
    """How many action tokens it lists."""
    return self.last - self.first


def deal(batch: Batch, parts: int, rng: np.random.Generator) -> tuple[Batch, list[tuple[int, int]]]:
  """Deals the trees of a batch into minibatches of about as many action tokens each, in a random order.

  One after another, each tree goes to the minibatch that has the fewest action tokens so far, so that no two differ by
  more than the largest tree. Where there are fewer trees than minibatches the order begins again, in front, until every
  minibatch has one: an optimiser step is never empty, and there are as many as were asked for.

  The order depends on the trees and on `rng` alone, not on the rows that they came in.

  Args:
    batch: at least one of its trees has an action.
    parts: K, the number of minibatches.

  Returns:
    A batch of NumPy arrays `[M', B, ...]`, where M' depends on shapes and K alone, and the micro-batches
    `[first, last)` of each minibatch.
  """
  batch = jax.device_get(batch)
  rows = batch.tokens.shape[1]
  dealt = [_rows_of(batch, trees) for trees in _assign(trees_of(batch), parts, rng)]
  counts = [-(-len(part) // rows) for part in dealt]
  edges = np.concatenate([[0], np.cumsum(counts)]).tolist()
  sequences = len(batch.sequence_length)
  out = _empty(batch, (max(sequences, parts) + parts * (rows - 1)) // rows)
  batch_rows = batch.map_rows(_rows)
  for first, part in zip(edges, dealt, strict=False):
    for n, trees in enumerate(part):
      _copy_row(batch_rows, trees, out, first * rows + n)
  out = out.map_rows(lambda array: array.reshape(-1, rows, array.shape[-1]))
  return out._replace(micro_batches=np.int32(edges[-1])), list(itertools.pairwise(edges))


def trees_of(batch: Batch) -> list[Tree]:
  """The trees with at least one action, by the first trajectory that they list, and of one trajectory by place."""
  found = []
  positions, ends, listed, index, sequence = (
    _rows(getattr(batch, name)) for name in ("positions", "subtree_end", "listed", "action_index", "action_sequence")
  )
  for row in np.flatnonzero(listed.any(axis=1)):
    size = int(np.sum(ends[row] > 0))
    starts = [*np.flatnonzero(positions[row, :size] == 0).tolist(), size]
    edges = np.searchsorted(index[row, : int(listed[row].sum())], starts).tolist()
    for n, start in enumerate(starts[:-1]):
      if edges[n + 1] > edges[n]:
        own = sequence[row, edges[n] : edges[n + 1]].min()
        found.append((own, Tree(int(row), start, starts[n + 1], edges[n], edges[n + 1])))
  return [tree for _, tree in sorted(found)]


def _assign(trees: Sequence[Tree], parts: int, rng: np.random.Generator) -> list[list[Tree]]:
  """The trees of each part."""
  order = [trees[n] for n in rng.permutation(len(trees))]
  order = [order[n % len(order)] for n in range(max(len(order), parts))]
  dealt: list[list[Tree]] = [[] for _ in range(parts)]
  loads = [(0, part) for part in range(parts)]
  for tree in order:
    load, part = heapq.heappop(loads)
    dealt[part].append(tree)
    heapq.heappush(loads, (load + tree.actions, part))
  return dealt


def _rows_of(batch: Batch, trees: Sequence[Tree]) -> list[list[Tree]]:
  """The trees laid side by side, the largest first, each in the first row that has room."""
  room = batch.tokens.shape[-1], batch.action_mask.shape[-1]
  rows: list[list[Tree]] = []
  for tree in sorted(trees, key=lambda tree: -tree.tokens):
    fits = (row for row in rows if _size([*row, tree])[0] <= room[0] and _size([*row, tree])[1] <= room[1])
    row = next(fits, None)
    if row is None:
      rows.append([tree])
    else:
      row.append(tree)
  return rows


def _size(trees: Sequence[Tree]) -> tuple[int, int]:
  """Tokens and actions of trees together."""
  return sum(tree.tokens for tree in trees), sum(tree.actions for tree in trees)


def _empty(batch: Batch, micro_batches: int) -> Batch:
  """Padding for so many micro-batches, its rows `[M' * B, ...]`."""
  rows = micro_batches * batch.tokens.shape[1]
  empty = batch.map_rows(lambda array: np.zeros((rows, array.shape[-1]), array.dtype))
  empty.action_sequence[:] = len(batch.sequence_length)
  return empty


def _copy_row(batch: Batch, trees: Sequence[Tree], out: Batch, row: int) -> None:
  """Lays trees side by side into a row of `out`; what counts columns of the row is counted anew.

  Args:
    batch, out: their rows are `[M * B, ...]`.
  """
  token = action = 0
  for tree in trees:
    shift = token - tree.start
    here, there = slice(token, token + tree.tokens), slice(tree.start, tree.end)
    for name, array in batch.per_token.items():
      out.per_token[name][row, here] = array[tree.row, there]
    out.subtree_end[row, here] += shift
    here_actions, there_actions = slice(action, action + tree.actions), slice(tree.first, tree.last)
    for name, array in (batch.per_action | batch.columns).items():
      (out.per_action | out.columns)[name][row, here_actions] = array[tree.row, there_actions]
    out.action_index[row, here_actions] += shift
    out.action_parent[row, here_actions] += shift
    token, action = here.stop, here_actions.stop


def _rows(array: np.ndarray) -> np.ndarray:
  """`[M, B, X]` -> `[M * B, X]`."""
  return array.reshape(-1, array.shape[-1])
