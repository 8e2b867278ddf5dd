"""Past dialogues, turn by turn, to learn from more than once: a ring buffer that lives in arrays.

A turn is a transition: its state is what stands before it, the next state what stands before the turn after it. All the
turns of a dialogue share one row of tokens, so that a critic which reads the row has read every state and utterance.
The buffer is a pytree of fixed shapes; a run checkpoints it with everything else that it learns.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from agentrl.types import Trajectory

PADDING = 32  # new dialogues come in multiples of this many, so that adding them rarely compiles


class Dialogues(NamedTuple):
  """N dialogues of up to U turns. Turn u's state is `tokens[:state_end]`, its utterance from there to `action_end`."""

  tokens: jax.Array  # int32 [N, S], 0 after the last turn
  state_end: jax.Array  # int32 [N, U]
  action_end: jax.Array  # int32 [N, U]
  next_end: jax.Array  # int32 [N, U], end of the next state: of the observation that answered
  taken: jax.Array  # bool [N, U], there is such a turn; all other entries of the turn are 0
  reward: jax.Array  # f32 [N, U], what the turn earned
  done: jax.Array  # bool [N, U], the trajectory ended with this turn
  observed_return: jax.Array  # f32 [N, U], the discounted rewards from this turn on: to judge critics by


class Replay(NamedTuple):
  """The latest `capacity` dialogues, in no order that matters."""

  dialogues: Dialogues  # leading axis: capacity
  added: jax.Array  # int32 [], dialogues ever added

  @property
  def capacity(self) -> int:
    """How many dialogues it holds at most."""
    return self.dialogues.tokens.shape[0]

  @property
  def size(self) -> jax.Array:
    """How many dialogues it holds."""
    return jnp.minimum(self.added, self.capacity)


def dialogues_of(trajectories: Sequence[Trajectory], *, positions: int, turns: int, discount: float) -> Dialogues:
  """The trajectories' turns, as NumPy arrays; trajectories in which nothing was sampled are left out.

  A limit ends a trajectory as the environment does: what would have followed was never seen.

  Args:
    trajectories: rewarded, with finite numbers; none whose environment failed.
    positions: S, tokens of a row. turns: U. discount: per turn, of `observed_return`.

  Raises:
    ValueError: a trajectory has no reward, is longer than a row, or has more turns.
  """
  found = [(t, _turns_of(t, discount)) for t in trajectories if t.action_mask.any()]
  rows = np.zeros((len(found), positions), np.int32)
  columns = np.zeros((7, len(found), turns), np.float64)
  for n, (t, spans) in enumerate(found):
    if len(t.tokens) > positions or len(spans) > turns:
      raise ValueError(
        f"trajectory {t.uid} has {len(t.tokens)} tokens in {len(spans)} turns; a row of the replay holds {positions} "
        f"tokens and {turns} turns"
      )
    rows[n, : spans[-1][2]] = t.tokens[: spans[-1][2]]
    columns[:, n, : len(spans)] = np.transpose(spans)
  dtypes = (np.int32, np.int32, np.int32, bool, np.float32, bool, np.float32)
  return Dialogues(rows, *(column.astype(dtype) for column, dtype in zip(columns, dtypes, strict=True)))


def _turns_of(trajectory: Trajectory, discount: float) -> list[tuple]:
  """(state_end, action_end, next_end, taken, reward, done, observed return) of each turn of one trajectory."""
  sampled = np.flatnonzero(trajectory.action_mask)
  number = trajectory.turn[sampled]
  order = np.unique(number)
  if trajectory.reward is None or (trajectory.turns and order[-1] >= len(trajectory.turns)):
    raise ValueError(
      f"trajectory {trajectory.uid} (task {trajectory.task_id}) has the reward {trajectory.reward} and "
      f"{len(trajectory.turns)} turns, and sampled tokens of turn {order[-1]}: a replay holds whole, rewarded dialogues"
    )
  starts = [int(sampled[number == u][0]) for u in order]
  ends = [int(sampled[number == u][-1]) + 1 for u in order]
  rewards = [trajectory.turns[u].reward for u in order] if trajectory.turns else [0.0] * (len(order) - 1)
  rewards += [] if trajectory.turns else [trajectory.reward]
  following, observed = 0.0, []
  for reward in reversed(rewards):
    following = reward + discount * following
    observed.append(following)
  next_ends = [*starts[1:], len(trajectory.tokens)]
  done = [False] * (len(starts) - 1) + [True]
  return list(zip(starts, ends, next_ends, [True] * len(starts), rewards, done, reversed(observed), strict=True))


def empty(capacity: int, positions: int, turns: int) -> Replay:
  """A buffer without dialogues."""

  def column(dtype: jax.typing.DTypeLike) -> jax.Array:
    return jnp.zeros((capacity, turns), dtype)  # a buffer of its own: a donated argument may not appear twice

  ints, floats, bools = jnp.int32, jnp.float32, bool
  columns = [column(dtype) for dtype in (ints, ints, ints, bools, floats, bools, floats)]
  return Replay(Dialogues(jnp.zeros((capacity, positions), jnp.int32), *columns), jnp.int32(0))


def add(replay: Replay, new: Dialogues) -> Replay:
  """The buffer with new dialogues in the place of its oldest; the buffer given is donated."""
  count = new.tokens.shape[0]
  padded = -(-max(count, 1) // PADDING) * PADDING
  rows = [np.pad(np.asarray(a), [(0, padded - count), (0, 0)]) for a in new]
  return _add(replay, Dialogues(*rows), jnp.int32(count))


@functools.partial(jax.jit, donate_argnums=0)
def _add(replay: Replay, new: Dialogues, count: jax.Array) -> Replay:
  order = jnp.arange(new.tokens.shape[0])
  kept = (order < count) & (order >= count - replay.capacity)
  place = jnp.where(kept, (replay.added + order) % replay.capacity, replay.capacity)
  written = [old.at[place].set(rows, mode="drop") for old, rows in zip(replay.dialogues, new, strict=True)]
  return Replay(Dialogues(*written), replay.added + count)


def draw(replay: Replay, key: jax.Array, count: int) -> Dialogues:
  """`count` dialogues, uniformly and with replacement, as NumPy arrays.

  Raises:
    ValueError: the buffer is empty.
  """
  if not int(replay.added):
    raise ValueError("nothing can be drawn from an empty replay buffer")
  return jax.tree.map(np.asarray, _draw(replay, key, count))


@functools.partial(jax.jit, static_argnums=2)
def _draw(replay: Replay, key: jax.Array, count: int) -> Dialogues:
  chosen = jax.random.randint(key, (count,), 0, replay.size)
  return jax.tree.map(lambda a: a[chosen], replay.dialogues)
