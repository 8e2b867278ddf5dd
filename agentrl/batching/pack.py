"""Trajectories and trees -> fixed rows.

A row holds a forest laid out depth first: a prompt, then its samples; a trunk, then its branches; unrelated trees
side by side. Token i sees token j exactly when `j <= i < subtree_end[j]`, and the hidden state at `parent[i]`
predicts it. So a prompt that eight samples share is computed once, and plain packing is the case without children.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from agentrl.ops.finite import NonFinite
from agentrl.types import Batch, Trajectory


@dataclasses.dataclass(frozen=True)
class PackConfig:
  """Sizes of a batch; fixed, so that the update compiles once.

  Attributes:
    row_tokens: T. row_actions: A, action tokens of a row; only these are unembedded.
    rows: B, rows of a micro-batch (of all devices together).
    sequences: N, the most trajectories that a batch may hold.
    share_prefixes: lay the samples of a group behind one copy of their prompt; False repeats it, for comparison.
  """

  row_tokens: int
  row_actions: int
  rows: int
  sequences: int
  share_prefixes: bool = True

  @property
  def micro_batches(self) -> int:
    """M: enough even when every trajectory needs a row to itself."""
    return -(-self.sequences // self.rows)


@dataclasses.dataclass
class _Row:
  """Columns of one row while it is laid out; trees are appended one after another."""

  tokens: list[int] = dataclasses.field(default_factory=list)
  positions: list[int] = dataclasses.field(default_factory=list)
  subtree_end: list[int] = dataclasses.field(default_factory=list)
  actions: list[tuple[int, int, int, int]] = dataclasses.field(default_factory=list)  # index, parent, sequence, offset


@dataclasses.dataclass
class _Tree:
  """A prefix shared by `roots`, each with its descendants."""

  prefix: int  # tokens of the first root that all of them share; its actions, if any, are listed elsewhere
  roots: list[int]


class NothingToPack(ValueError):
  """No trajectory is left to train on."""


class _Forest:
  """Who branches from whom, and how large each subtree is.

  A branch hangs from the trajectory that owns the last token which they share: one that leaves before its parent's own
  fork from the parent's parent, and so on. One that leaves inside the prompt shares no action: it is a tree of its own.
  """

  def __init__(self, trajectories: Sequence[Trajectory]):
    self.trajectories = trajectories
    self._index = {t.uid: n for n, t in enumerate(trajectories)}
    if len(self._index) != len(trajectories):
      raise ValueError("two trajectories of a batch have the same uid")
    self.children: list[list[int]] = [[] for _ in trajectories]
    self.roots: list[int] = []
    for n, t in enumerate(trajectories):
      parent = self._parent(t)
      if parent is None:
        self.roots.append(n)
      else:
        self.children[parent].append(n)
    for kids in self.children:
      kids.sort(key=lambda n: (trajectories[n].fork_at, trajectories[n].uid))

  def _parent(self, t: Trajectory) -> int | None:
    """Which trajectory t hangs from; None where it is the root of a tree."""
    ancestors = self._ancestors(t)
    if ancestors:
      _check_fork(t, self.trajectories[ancestors[0]])
    for n in ancestors:
      ancestor = self.trajectories[n]
      if t.fork_at < ancestor.prompt_length:
        return None
      if ancestor.parent not in self._index or t.fork_at >= ancestor.fork_at:
        return n
    return None

  def _ancestors(self, t: Trajectory) -> list[int]:
    """Those in the batch, the parent first."""
    found: list[int] = []
    while t.parent in self._index:
      n = self._index[t.parent]
      if n in found:
        raise ValueError(f"trajectory {t.uid} (task {t.task_id}) branches, by way of others, from itself")
      found.append(n)
      t = self.trajectories[n]
    return found

  def own_start(self, n: int) -> int:
    """First token of trajectory n that no parent in the batch holds."""
    return 0 if n in self.roots else self.trajectories[n].fork_at

  def over_leaves(self, values: Sequence[np.ndarray], *, mean: bool) -> list[np.ndarray]:
    """Each token's mean, or sum, over the trajectories that hold it, f32 `[T_n]`; valid where a trajectory owns it.

    Args:
      values: per-token arrays `[T_n]`, one per trajectory.
    """
    totals = [np.array(v, np.float64) for v in values]
    holders = [np.ones(len(v)) for v in values]
    for root in self.roots:
      for n in reversed(list(self.descendants(root))):  # every child before its parent
        for child in self.children[n]:
          shared = self.trajectories[child].fork_at
          totals[n][:shared] += totals[child][:shared]
          holders[n][:shared] += holders[child][:shared]
    pairs = zip(totals, holders, strict=True)
    return [(total / count if mean else total).astype(np.float32) for total, count in pairs]

  def descendants(self, n: int) -> Iterator[int]:
    """Trajectory n and everything that branched from it."""
    yield n
    for child in self.children[n]:
      yield from self.descendants(child)

  def size(self, root: int, prefix: int) -> tuple[int, int]:
    """Tokens after the prefix, and action tokens, of a root's subtree."""
    tokens = actions = 0
    for n in self.descendants(root):
      start = max(self.own_start(n), prefix)
      t = self.trajectories[n]
      tokens += len(t.tokens) - start
      actions += int(np.sum(t.action_mask[start:]))
    return tokens, actions


def _check_fork(t: Trajectory, parent: Trajectory) -> None:
  """Raises ValueError where a branch does not begin with what it is said to share with its parent."""
  fork_at = t.fork_at
  within = 0 <= fork_at <= min(len(t.tokens), len(parent.tokens))
  if not within or any(
    not np.array_equal(own[:fork_at], theirs[:fork_at])
    for own, theirs in ((t.tokens, parent.tokens), (t.action_mask, parent.action_mask))
  ):
    raise ValueError(
      f"trajectory {t.uid} (task {t.task_id}) is said to share its first {fork_at} tokens with trajectory "
      f"{parent.uid}, and has others, or other ones of them sampled"
    )


def _check_prompts(trajectories: Sequence[Trajectory]) -> None:
  """Raises ValueError where a first token was sampled: there is no hidden state that predicts it."""
  for t in trajectories:
    if t.action_mask[:1].any():
      raise ValueError(f"trajectory {t.uid} (task {t.task_id}): its first token was sampled, and nothing predicts it")


def _check_columns(trajectories: Sequence[Trajectory], columns: Mapping[str, Sequence[np.ndarray]]) -> None:
  """Raises NonFinite where a number of an action token is NaN or infinite: one would make every weight NaN."""
  for name, values in columns.items():
    for t, column in zip(trajectories, values, strict=True):
      if not np.all(np.isfinite(np.asarray(column)[t.action_mask])):
        raise NonFinite(
          f"trajectory {t.uid} (task {t.task_id}): its {name} are not all finite; its reward is {t.reward}"
        )


def pack(
  trajectories: Sequence[Trajectory],
  columns: Mapping[str, Sequence[np.ndarray]],
  config: PackConfig,
  *,
  mean_of_branches: bool = True,
  least_trees: int = 1,
) -> Batch:
  """Lays trajectories out in rows.

  A tree too large for a row is cut at its forks: the branch that is cut off stands behind another copy of its prefix,
  whose actions are not listed again.

  Args:
    trajectories: with a reward; those whose environment failed must have been filtered out.
    columns: per-token arrays `[T_n]` of each trajectory, by name of a `Batch` field; "advantages" is required. A token
      that several branches share is listed once, with the mean of their advantages.
    config: sizes.
    mean_of_branches: False gives such a token the sum of the advantages instead.
    least_trees: where prompts that are shared leave fewer trees, no samples share one; see `minibatches.deal`.

  Returns:
    A `Batch` of NumPy arrays.

  Raises:
    NothingToPack: there is no trajectory.
    ValueError: a trajectory does not fit a row, or there are too many; the message names the setting to raise. Or a
      branch does not share what it is said to share; the message names the trajectory.
    NonFinite: a column of an action token is; names column and trajectory.
  """
  if not trajectories:
    raise NothingToPack("no trajectories to pack: every one was filtered out")
  if len(trajectories) > config.sequences:
    raise ValueError(f"{len(trajectories)} trajectories, but pack.sequences={config.sequences}")
  temperatures = {t.temperature for t in trajectories}
  if len(temperatures) > 1:
    raise ValueError(f"one batch holds trajectories of temperatures {sorted(temperatures)}; train on one at a time")
  _check_prompts(trajectories)
  _check_columns(trajectories, columns)
  advantages = _Forest(trajectories).over_leaves(columns["advantages"], mean=mean_of_branches)
  columns = {**columns, "advantages": advantages}
  rows: list[_Row] = []
  forest, trees = _planted(trajectories, config)
  if len(trees) < least_trees:
    forest, trees = _planted(trajectories, dataclasses.replace(config, share_prefixes=False))
  for tree in trees:
    _lay_out(forest, tree, _row_with_room(rows, forest, tree, config))
  return _to_arrays(rows, forest, columns, config)


# ---- which trees ----------------------------------------------------------------------------------------------------


def _planted(trajectories: Sequence[Trajectory], config: PackConfig) -> tuple[_Forest, list[_Tree]]:
  """A forest of its own, from which the branches that no row could hold are cut off, and all its trees.

  These are the roots that share a group and a prompt, and what was cut off; the largest come first.
  """
  forest = _Forest(trajectories)
  groups: dict[tuple, list[int]] = {}
  for n in forest.roots:
    t = forest.trajectories[n]
    shared = t.tokens[: t.prompt_length].tobytes() if config.share_prefixes else t.uid
    groups.setdefault((t.group_id, shared), []).append(n)
  trees = [tree for roots in groups.values() for tree in _split(forest, roots, config)]
  return forest, sorted(trees, key=lambda tree: -_room(forest, tree)[0])


def _split(forest: _Forest, roots: list[int], config: PackConfig) -> Iterator[_Tree]:
  prefix = forest.trajectories[roots[0]].prompt_length
  tree = _Tree(prefix, [])
  for n in roots:
    yield from _cut(forest, n, prefix, config)
    grown = _Tree(prefix, [*tree.roots, n])
    if tree.roots and not _fits((0, 0), _room(forest, grown), config):
      yield tree
      grown = _Tree(prefix, [n])
    tree = grown
  yield tree


def _cut(forest: _Forest, n: int, prefix: int, config: PackConfig) -> Iterator[_Tree]:
  """Takes the largest branches off trajectory n until the rest fits into a row; gives them as trees of their own."""
  t, children = forest.trajectories[n], forest.children[n]
  while not _fits((0, 0), _room(forest, _Tree(prefix, [n])), config):
    if not children:
      raise ValueError(
        f"trajectory {t.uid} (task {t.task_id}) has {len(t.tokens)} tokens, {np.sum(t.action_mask[prefix:])} of them "
        f"actions; a row holds pack.row_tokens={config.row_tokens} and pack.row_actions={config.row_actions}"
      )
    largest = max(children, key=lambda child: forest.size(child, 0))
    children.remove(largest)
    fork_at = forest.trajectories[largest].fork_at
    yield from _cut(forest, largest, fork_at, config)
    yield _Tree(fork_at, [largest])


def _room(forest: _Forest, tree: _Tree) -> tuple[int, int]:
  sizes = [forest.size(n, tree.prefix) for n in tree.roots]
  return tree.prefix + sum(tokens for tokens, _ in sizes), sum(actions for _, actions in sizes)


def _fits(used: tuple[int, int], more: tuple[int, int], config: PackConfig) -> bool:
  return used[0] + more[0] <= config.row_tokens and used[1] + more[1] <= config.row_actions


def _row_with_room(rows: list[_Row], forest: _Forest, tree: _Tree, config: PackConfig) -> _Row:
  """First fit."""
  room = _room(forest, tree)
  for row in rows:
    if _fits((len(row.tokens), len(row.actions)), room, config):
      return row
  rows.append(_Row())
  return rows[-1]


# ---- laying out -----------------------------------------------------------------------------------------------------


def _lay_out(forest: _Forest, tree: _Tree, row: _Row) -> None:
  """Appends a tree to a row, depth first."""
  start = len(row.tokens)
  _append(forest, tree.roots[0], 0, tree.prefix, None, row, actions=False)
  parent = len(row.tokens) - 1 if tree.prefix else None
  for root in tree.roots:
    _lay_out_path(forest, root, tree.prefix, parent, forest.children[root], row)
  row.subtree_end[start : start + tree.prefix] = [len(row.tokens)] * tree.prefix


def _lay_out_path(forest, n, start, parent, children, row):
  """Tokens of trajectory n from `start`; at a fork first the branches, then its own continuation."""
  end = min([forest.trajectories[c].fork_at for c in children], default=len(forest.trajectories[n].tokens))
  end = max(end, start)
  first = len(row.tokens)
  _append(forest, n, start, end, parent, row)
  last = len(row.tokens) - 1 if end > start else parent
  here = [c for c in children if forest.trajectories[c].fork_at <= end]
  for child in here:
    _lay_out_path(forest, child, end, last, forest.children[child], row)
  if end < len(forest.trajectories[n].tokens):
    _lay_out_path(forest, n, end, last, children[len(here) :], row)
  row.subtree_end[first : first + end - start] = [len(row.tokens)] * (end - start)


def _append(forest, n, start, end, parent, row, *, actions=True):
  """Appends tokens [start, end) of trajectory n; `parent` is the row index of the token before them."""
  t = forest.trajectories[n]
  first = len(row.tokens)
  row.tokens.extend(t.tokens[start:end].tolist())
  row.positions.extend(range(start, end))
  row.subtree_end.extend([0] * (end - start))
  for offset in (np.flatnonzero(t.action_mask[start:end]) + start).tolist() if actions else ():
    index = first + offset - start
    row.actions.append((index, parent if offset == start else index - 1, n, offset))


def _to_arrays(rows, forest, columns, config) -> Batch:
  """Pads every row to the fixed shape."""
  if len(rows) > config.micro_batches * config.rows:
    raise AssertionError("more rows than trajectories")
  lead = (config.micro_batches * config.rows,)
  tokens, positions, subtree_end = (np.zeros((*lead, config.row_tokens), np.int32) for _ in range(3))
  index, parent = (np.zeros((*lead, config.row_actions), np.int32) for _ in range(2))
  sequence = np.full((*lead, config.row_actions), config.sequences, np.int32)
  mask = np.zeros((*lead, config.row_actions), bool)
  per_action = {name: np.zeros((*lead, config.row_actions), np.float32) for name in ("sampler_logp", *columns)}
  sources = {"sampler_logp": [t.sampler_logp for t in forest.trajectories], **columns}
  for r, row in enumerate(rows):
    size, count = len(row.tokens), len(row.actions)
    tokens[r, :size], positions[r, :size], subtree_end[r, :size] = row.tokens, row.positions, row.subtree_end
    if count:
      index[r, :count], parent[r, :count], sequence[r, :count], _ = np.transpose(row.actions)
    mask[r, :count] = True
    for name, target in per_action.items():
      target[r, :count] = [sources[name][n][offset] for _, _, n, offset in row.actions]
  length = np.bincount(sequence[mask], minlength=config.sequences).astype(np.float32)
  split = (config.micro_batches, config.rows, -1)
  shaped = {
    "tokens": tokens, "positions": positions, "subtree_end": subtree_end, "action_index": index,
    "action_parent": parent, "action_mask": mask, "action_sequence": sequence, **per_action,
  }  # fmt: skip
  return Batch(
    **{name: array.reshape(split) for name, array in shaped.items()},
    sequence_length=length,
    temperature=np.float32(forest.trajectories[0].temperature),
    micro_batches=np.int32(-(-len(rows) // config.rows)),
  )


def layout_tokens(batch: Batch) -> int:
  """Tokens that the update computes, padding excluded."""
  return int(np.sum(np.asarray(batch.subtree_end) > 0))
