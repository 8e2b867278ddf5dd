"""Trajectories and trees -> fixed rows.

A row holds a forest laid out depth first: a prompt, then its samples; a trunk, then its branches; unrelated trees
side by side. Token i sees token j exactly when `j <= i < subtree_end[j]`, and the hidden state at `parent[i]`
predicts it. So a prompt that eight samples share is computed once, and plain packing is the case without children.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from agentrl.batching.forest import Forest
from agentrl.named import by_name
from agentrl.ops.finite import NonFinite
from agentrl.settings import at_least, setting
from agentrl.types import Batch, Trajectory


@dataclasses.dataclass(frozen=True)
class PackConfig:
  """Sizes of a batch; fixed, so that the update compiles once. The section `pack` of a config, and what a run derives.

  Attributes:
    sequences: N, the most trajectories that a batch may hold.
  """

  row_tokens: int = setting(256, "T, tokens of a row", at_least(1))
  row_actions: int = setting(128, "A, action tokens of a row; only these are unembedded", at_least(1))
  rows: int = setting(8, "B, rows of a micro-batch, of all devices together", at_least(1))
  share_prefixes: bool = setting(
    True, "lay the samples of a group behind one copy of their prompt; false repeats it, for comparison"
  )
  sequences: int = dataclasses.field(kw_only=True)

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
  sampled: list[bool] = dataclasses.field(default_factory=list)  # of each entry of `actions`


@dataclasses.dataclass
class _Tree:
  """A prefix shared by `roots`, each with its descendants."""

  prefix: int  # tokens of the first root that all of them share; its actions, if any, are listed elsewhere
  roots: list[int]


class NothingToPack(ValueError):
  """No trajectory is left to train on."""


def _check_prompts(trajectories: Sequence[Trajectory]) -> None:
  """Raises ValueError where a first token was sampled: there is no hidden state that predicts it."""
  for t in trajectories:
    if t.action_mask[:1].any():
      raise ValueError(f"trajectory {t.uid} (task {t.task_id}): its first token was sampled, and nothing predicts it")


def _check_columns(trajectories: Sequence[Trajectory], columns: Mapping[str, Column]) -> None:
  """Raises NonFinite where a number of an action token is NaN or infinite: one would make every weight NaN."""
  for name, column in columns.items():
    if len(column.values) != len(trajectories):
      raise ValueError(f"column {name!r} has {len(column.values)} arrays for {len(trajectories)} trajectories")
    for t, values in zip(trajectories, column.values, strict=True):
      if len(values) != len(t.tokens):
        raise ValueError(
          f"trajectory {t.uid} (task {t.task_id}) has {len(t.tokens)} tokens, and column {name!r} {len(values)}"
        )
      if not np.all(np.isfinite(np.asarray(values)[t.action_mask])):
        raise NonFinite(
          f"trajectory {t.uid} (task {t.task_id}): its {name} are not all finite; its reward is {t.reward}"
        )


class Column(NamedTuple):
  """Numbers for the tokens of trajectories.

  Attributes:
    values: per-token arrays `[T_n]`, one per trajectory; only those of sampled tokens are read.
    shared: key of `SHARED`: which number a token has that several branches share; it is listed once.
  """

  values: Sequence[np.ndarray]
  shared: str = "mean"


def _of_the_owner(forest: Forest, values: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
  del forest
  return values


# (forest, values [T_n] per trajectory) -> [T_n] per trajectory, read where the trajectory owns the token.
SHARED: dict[str, Callable[[Forest, Sequence[np.ndarray]], Sequence[np.ndarray]]] = {
  "mean": Forest.means,  # over the trajectories that hold the token
  "sum": Forest.sums,
  "owner": _of_the_owner,  # that of the trajectory which owns the token
}


def pack(
  trajectories: Sequence[Trajectory],
  columns: Mapping[str, Column],
  config: PackConfig,
  *,
  least_trees: int = 1,
  observed: bool = False,
) -> Batch:
  """Lays trajectories out in rows.

  A tree too large for a row is cut at its forks: the branch that is cut off stands behind another copy of its prefix,
  whose actions are not listed again.

  Args:
    trajectories: those whose environment failed must have been filtered out.
    columns: by name; `sampler_logp` is added from the trajectories.
    config: sizes.
    least_trees: where prompts that are shared leave fewer trees, no samples share one; see `minibatches.deal`.
    observed: list the observation tokens too, see `Batch.observed`; `pack.row_actions` must have room for them.

  Returns:
    A `Batch` of NumPy arrays; `unpack` leads back to trajectories.

  Raises:
    NothingToPack: there is no trajectory.
    ValueError: a trajectory does not fit a row, or there are too many; the message names the setting to raise. Or a
      branch does not share what it is said to share; the message names the trajectory. Or a column has a rule that is
      not in `SHARED`, or arrays of other lengths than the trajectories.
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
  rows: list[_Row] = []
  forest, trees = _planted(trajectories, config, observed)
  if len(trees) < least_trees:
    forest, trees = _planted(trajectories, dataclasses.replace(config, share_prefixes=False), observed)
  for tree in trees:
    _lay_out(forest, tree, _row_with_room(rows, forest, tree, config))
  batch = _to_arrays(rows, trajectories, config)
  sampled = Column([t.sampler_logp for t in trajectories], shared="owner")
  return add_columns(batch, trajectories, {"sampler_logp": sampled, **columns})


def add_columns(batch: Batch, trajectories: Sequence[Trajectory], columns: Mapping[str, Column]) -> Batch:
  """A packed batch with further columns, for what is known only after packing, such as credit that reads values.

  Args:
    batch: from `pack`. trajectories: those that `pack` got, in its order. columns: by name.

  Raises:
    ValueError, NonFinite: as `pack`.
  """
  _check_columns(trajectories, columns)
  forest = Forest(trajectories)
  mask = np.asarray(batch.action_mask)
  owner, offset = np.asarray(batch.action_sequence)[mask], np.asarray(batch.action_offset)[mask]
  first = np.cumsum([0, *(len(t.tokens) for t in trajectories)])
  added = {}
  for name, column in columns.items():
    values = by_name(SHARED, column.shared, kind="rule of a column")(forest, column.values)
    added[name] = np.zeros(mask.shape, np.float32)
    added[name][mask] = np.concatenate(values)[first[owner] + offset]
  return batch.with_columns(**added)


def unpack(batch: Batch, values: np.ndarray, trajectories: Sequence[Trajectory]) -> list[np.ndarray]:
  """The way back from a packed batch: per-token arrays `[T_n]` of each trajectory, 0 where it sampled nothing.

  A token that branches share is listed once, and has the same value in each of them.

  Args:
    batch: from `pack`. values: `[M, B, A]`, such as a column. trajectories: those that `pack` got, in its order.

  Raises:
    ValueError: values of another shape than the batch lists action tokens.
  """
  values, mask = np.asarray(values), np.asarray(batch.action_mask)
  if values.shape != mask.shape:
    raise ValueError(f"one value per listed action token: the batch lists {mask.shape}, the values are {values.shape}")
  owner, offset = np.asarray(batch.action_sequence)[mask], np.asarray(batch.action_offset)[mask]
  first = np.cumsum([0, *(len(t.tokens) for t in trajectories)])
  flat = np.zeros(first[-1], values.dtype)
  flat[first[owner] + offset] = values[mask]
  out = np.split(flat, first[1:-1])
  forest = Forest(trajectories)
  for root in forest.roots:
    for n in forest.descendants(root):  # every parent before its children
      for child in forest.children[n]:
        shared = trajectories[child].fork_at
        out[child][:shared] = out[n][:shared]
  return out


# ---- which trees ----------------------------------------------------------------------------------------------------


def _planted(trajectories: Sequence[Trajectory], config: PackConfig, observed: bool) -> tuple[Forest, list[_Tree]]:
  """A forest of its own, from which the branches that no row could hold are cut off, and all its trees.

  These are the roots that share a group and a prompt, and what was cut off; the largest come first.
  """
  forest = Forest(trajectories, observed=observed)
  groups: dict[tuple, list[int]] = {}
  for n in forest.roots:
    t = forest.trajectories[n]
    shared = t.tokens[: t.prompt_length].tobytes() if config.share_prefixes else t.uid
    groups.setdefault((t.group_id, shared), []).append(n)
  trees = [tree for roots in groups.values() for tree in _split(forest, roots, config)]
  return forest, sorted(trees, key=lambda tree: -_room(forest, tree)[0])


def _split(forest: Forest, roots: list[int], config: PackConfig) -> Iterator[_Tree]:
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


def _cut(forest: Forest, n: int, prefix: int, config: PackConfig) -> Iterator[_Tree]:
  """Takes the largest branches off trajectory n until the rest fits into a row; gives them as trees of their own."""
  t, children = forest.trajectories[n], forest.children[n]
  while not _fits((0, 0), _room(forest, _Tree(prefix, [n])), config):
    if not children:
      raise ValueError(
        f"trajectory {t.uid} (task {t.task_id}) has {len(t.tokens)} tokens, {np.sum(forest.listed(n)[prefix:])} of "
        f"them actions; a row holds pack.row_tokens={config.row_tokens} and pack.row_actions={config.row_actions}"
      )
    largest = max(children, key=lambda child: forest.size(child, 0))
    children.remove(largest)
    fork_at = forest.trajectories[largest].fork_at
    yield from _cut(forest, largest, fork_at, config)
    yield _Tree(fork_at, [largest])


def _room(forest: Forest, tree: _Tree) -> tuple[int, int]:
  sizes = [forest.size(n, tree.prefix) for n in tree.roots]
  return tree.prefix + sum(tokens for tokens, _ in sizes), sum(actions for _, actions in sizes)


def _fits(used: tuple[int, int], more: tuple[int, int], config: PackConfig) -> bool:
  return used[0] + more[0] <= config.row_tokens and used[1] + more[1] <= config.row_actions


def _row_with_room(rows: list[_Row], forest: Forest, tree: _Tree, config: PackConfig) -> _Row:
  """First fit."""
  room = _room(forest, tree)
  for row in rows:
    if _fits((len(row.tokens), len(row.actions)), room, config):
      return row
  rows.append(_Row())
  return rows[-1]


# ---- laying out -----------------------------------------------------------------------------------------------------


def _lay_out(forest: Forest, tree: _Tree, row: _Row) -> None:
  """Appends a tree to a row, depth first."""
  start = len(row.tokens)
  _append(forest, tree.roots[0], 0, tree.prefix, None, row, actions=False)
  parent = len(row.tokens) - 1 if tree.prefix else None
  for root in tree.roots:
    _lay_out_path(forest, root, tree.prefix, parent, forest.children[root], row)
  row.subtree_end[start : start + tree.prefix] = [len(row.tokens)] * tree.prefix


def _lay_out_path(forest: Forest, n: int, start: int, parent: int | None, children: Sequence[int], row: _Row) -> None:
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


def _append(
  forest: Forest, n: int, start: int, end: int, parent: int | None, row: _Row, *, actions: bool = True
) -> None:
  """Appends tokens [start, end) of trajectory n; `parent` is the row index of the token before them."""
  t = forest.trajectories[n]
  first = len(row.tokens)
  row.tokens.extend(t.tokens[start:end].tolist())
  row.positions.extend(range(start, end))
  row.subtree_end.extend([0] * (end - start))
  for offset in (np.flatnonzero(forest.listed(n)[start:end]) + start).tolist() if actions else ():
    index = first + offset - start
    row.actions.append((index, parent if offset == start else index - 1, n, offset))
    row.sampled.append(bool(t.action_mask[offset]))


def _to_arrays(rows: Sequence[_Row], trajectories: Sequence[Trajectory], config: PackConfig) -> Batch:
  """Pads every row to the fixed shape; a batch without columns."""
  if len(rows) > config.micro_batches * config.rows:
    raise AssertionError("more rows than trajectories")
  lead = (config.micro_batches * config.rows,)
  tokens, positions, subtree_end = (np.zeros((*lead, config.row_tokens), np.int32) for _ in range(3))
  index, parent, offsets = (np.zeros((*lead, config.row_actions), np.int32) for _ in range(3))
  sequence = np.full((*lead, config.row_actions), config.sequences, np.int32)
  mask = np.zeros((*lead, config.row_actions), bool)
  for r, row in enumerate(rows):
    size, count = len(row.tokens), len(row.actions)
    tokens[r, :size], positions[r, :size], subtree_end[r, :size] = row.tokens, row.positions, row.subtree_end
    if count:
      index[r, :count], parent[r, :count], sequence[r, :count], offsets[r, :count] = np.transpose(row.actions)
    mask[r, :count] = row.sampled
  group = np.full(config.sequences, config.sequences, np.int32)
  group[: len(trajectories)] = np.unique([t.group_id for t in trajectories], return_inverse=True)[1]
  batch = Batch(
    tokens=tokens,
    positions=positions,
    subtree_end=subtree_end,
    action_index=index,
    action_parent=parent,
    action_offset=offsets,
    action_mask=mask,
    action_sequence=sequence,
    sequence_length=np.bincount(sequence[mask], minlength=config.sequences).astype(np.float32),
    sequence_group=group,
    temperature=np.float32(trajectories[0].temperature),
    micro_batches=np.int32(-(-len(rows) // config.rows)),
    columns={},
  )
  return batch.map_rows(lambda array: array.reshape(config.micro_batches, config.rows, -1))


def layout_tokens(batch: Batch) -> int:
  """Tokens that the update computes, padding excluded."""
  return int(np.sum(np.asarray(batch.subtree_end) > 0))
