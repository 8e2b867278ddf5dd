"""Trajectories as fixed rows, and numbers per trajectory or per turn as numbers per token.

The rows hold the sampled tokens of one trajectory each, in order, and padding: `[N, A]`. Their sizes are powers of two,
so that batches of about one size share a compiled function.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from agentrl.types import Trajectory


class Rows(NamedTuple):
  """The sampled tokens of N trajectories."""

  mask: np.ndarray  # bool [N, A], False on padding
  rewards: np.ndarray  # f32 [N, A], what each turn earned, at its last token
  turn: np.ndarray  # int32 [N, A], turn of the token; -1 on padding


def rows_of(trajectories: Sequence[Trajectory]) -> tuple[Rows, int]:
  """The rows of the trajectories, with their rewards; and U, a power of two above every turn's number."""
  mask = padded(trajectories, [t.action_mask for t in trajectories])
  turn = padded(trajectories, [t.turn + 1 for t in trajectories]) - 1
  rewards = padded(trajectories, [t.token_rewards for t in trajectories])
  return Rows(mask, rewards, turn), _power_of_two(int(turn.max()) + 1)


def padded(trajectories: Sequence[Trajectory], columns: Sequence[np.ndarray]) -> np.ndarray:
  """Per-token arrays `[T_n]` as one `[N, A]` of the sampled tokens; 0 on padding."""
  taken = [column[t.action_mask] for t, column in zip(trajectories, columns, strict=True)]
  width = _power_of_two(max(len(column) for column in taken))
  rows = np.zeros((_power_of_two(len(taken)), width), taken[0].dtype)
  for row, column in zip(rows, taken, strict=False):
    row[: len(column)] = column
  return rows


def unpadded(trajectories: Sequence[Trajectory], rows: np.ndarray) -> list[np.ndarray]:
  """The inverse of `padded`: f32 `[T_n]` each, 0 where nothing was sampled."""
  columns = [np.zeros(len(t.tokens), np.float32) for t in trajectories]
  for t, column, row in zip(trajectories, columns, np.asarray(rows), strict=False):
    column[t.action_mask] = row[: np.sum(t.action_mask)]
  return columns


def everywhere(trajectories: Sequence[Trajectory], numbers: np.ndarray) -> list[np.ndarray]:
  """One number per trajectory, `[N]`, at each of its tokens: f32 `[T_n]` each."""
  return [np.full(len(t.tokens), number, np.float32) for t, number in zip(trajectories, numbers, strict=True)]


def _power_of_two(least: int) -> int:
  return 1 << max(0, least - 1).bit_length()
