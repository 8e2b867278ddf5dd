"""Rows for the critics: dialogues laid out so that one forward pass reads every state and every utterance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from agentrl.batching.replay import Dialogues

WIDTH_STEP = 32  # rows are cut to a multiple of this many tokens: few shapes, little padding


class Rows(NamedTuple):
  """Dialogues laid out for a critic: one row each, in which a fresh utterance is a branch at its state.

  The `at_` fields are `[N, U]`: the token whose hidden state stands for the state, the utterance, the next state and
  the fresh utterance of each turn.
  """

  tokens: jax.Array  # int32 [N, S]
  positions: jax.Array  # int32 [N, S]
  subtree_end: jax.Array  # int32 [N, S]
  before: jax.Array  # int32 [N, S], column of the token in front of an utterance's token
  part_of: jax.Array  # int32 [N, S], 1 + u in what was said at turn u, 1 + U + u in the fresh utterance; else 0
  at_state: jax.Array
  at_action: jax.Array
  at_next: jax.Array
  at_fresh: jax.Array
  taken: jax.Array  # bool [N, U]
  reward: jax.Array  # f32 [N, U]
  done: jax.Array  # bool [N, U]
  said: jax.Array  # f32 [N, U, E], what Q sees of what was said besides its hidden state; E = 0: nothing
  fresh: jax.Array  # f32 [N, U, E], of the fresh utterance


def lay_out(dialogues: Dialogues, fresh: Sequence[np.ndarray] | None) -> Rows:
  """One row per dialogue, depth first: at each state its fresh utterance, then what was really said.

  Args:
    fresh: tokens of an utterance for every turn taken, in order; None: no branches, and `at_fresh` is `at_action`.
  """
  branches = iter([np.zeros(0, np.int32)] * int(dialogues.taken.sum()) if fresh is None else fresh)
  laid = [_lay_out_one(dialogues, n, branches) for n in range(len(dialogues.tokens))]
  width = -(-max(len(row["tokens"]) for row, _ in laid) // WIDTH_STEP) * WIDTH_STEP
  pad = {name: np.stack([np.pad(row[name], (0, width - len(row[name]))) for row, _ in laid]) for name in laid[0][0]}
  at = np.stack([at for _, at in laid], axis=1)
  whole = (dialogues.taken, dialogues.reward, dialogues.done)
  unseen = np.zeros((*dialogues.taken.shape, 0), np.float32)
  return Rows(*pad.values(), *at, *whole, unseen, unseen)


def _lay_out_one(dialogues: Dialogues, n: int, branches: Iterator[np.ndarray]):
  """Columns of dialogue n's row, and int `[4, U]`: at_state, at_action, at_next, at_fresh."""
  trunk, turns, most = dialogues.tokens[n], int(dialogues.taken[n].sum()), dialogues.taken.shape[1]
  tokens, positions, ends = [], [], []  # `ends` is 0 for the trunk, which reaches to the end of the row
  in_front, part_of = [], []
  at = np.zeros((4, most), np.int32)

  def append(new, first, end, after=0, part=0):
    in_front.extend([after, *range(len(tokens), len(tokens) + len(new) - 1)][: len(new)])
    part_of.extend([part] * len(new))
    tokens.extend(new.tolist())
    positions.extend(range(first, first + len(new)))
    ends.extend([end] * len(new))

  before = 0
  for u in range(turns):
    state, action, following = (int(x[n, u]) for x in (dialogues.state_end, dialogues.action_end, dialogues.next_end))
    append(trunk[before:state], before, 0)
    at[0, u] = len(tokens) - 1
    branch = next(branches)
    append(branch, state, len(tokens) + len(branch), at[0, u], 1 + most + u)
    at[3, u] = len(tokens) - 1
    append(trunk[state:action], state, 0, at[0, u], 1 + u)
    at[1, u] = len(tokens) - 1
    append(trunk[action:following], action, 0)
    at[2, u] = len(tokens) - 1
    at[3, u] = at[3, u] if len(branch) else at[1, u]
    before = following
  reach = np.where(np.asarray(ends) == 0, len(tokens), ends)
  columns = {"tokens": tokens, "positions": positions, "subtree_end": reach, "before": in_front, "part_of": part_of}
  return {name: np.asarray(column, np.int32) for name, column in columns.items()}, at
