"""Who branches from whom among trajectories, and what of the tokens that branches share is whose.

A branch repeats its parent's tokens before `fork_at`; the parent owns them, or whoever it has them from. A trajectory
*holds* a token that it owns or repeats.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from agentrl.types import Trajectory


class Forest:
  """Who branches from whom, and how large each subtree is.

  A branch hangs from the trajectory that owns the last token which they share: one that leaves before its parent's own
  fork from the parent's parent, and so on. One that leaves inside the prompt shares no action: it is a tree of its own.

  Args:
    trajectories: of a batch.
    observed: list the observation tokens too, beside those that were sampled.
  """

  def __init__(self, trajectories: Sequence[Trajectory], *, observed: bool = False):
    self.trajectories = trajectories
    self._observed = observed
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

  def sums(self, values: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Each token's sum over the trajectories that hold it, f64 `[T_n]`; valid where a trajectory owns the token.

    Args:
      values: per-token arrays `[T_n]`, one per trajectory.
    """
    totals = [np.array(v, np.float64) for v in values]
    for root in self.roots:
      for n in reversed(list(self.descendants(root))):  # every child before its parent
        for child in self.children[n]:
          shared = self.trajectories[child].fork_at
          totals[n][:shared] += totals[child][:shared]
    return totals

  def means(self, values: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Each token's mean over the trajectories that hold it; as in `sums`."""
    holders = self.sums([np.ones(len(v)) for v in values])
    return [total / count for total, count in zip(self.sums(values), holders, strict=True)]

  def descendants(self, n: int) -> Iterator[int]:
    """Trajectory n and everything that branched from it."""
    yield n
    for child in self.children[n]:
      yield from self.descendants(child)

  def listed(self, n: int) -> np.ndarray:
    """Bool `[T_n]`: which tokens of trajectory n a batch lists."""
    t = self.trajectories[n]
    return t.action_mask | (t.turn >= 0) if self._observed else t.action_mask

  def size(self, root: int, prefix: int) -> tuple[int, int]:
    """Tokens after the prefix, and listed tokens, of a root's subtree."""
    tokens = actions = 0
    for n in self.descendants(root):
      start = max(self.own_start(n), prefix)
      t = self.trajectories[n]
      tokens += len(t.tokens) - start
      actions += int(np.sum(self.listed(n)[start:]))
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
