"""Turns of past trajectories, to learn from more than once: a ring buffer of transitions that lives in arrays.

A transition (state, utterance, reward, next state, done) is one row of tokens: the next state is the state, then the
utterance, then what the environment said to it. The buffer is a pytree of fixed shapes; a run checkpoints it with
everything else that it learns.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from agentrl.types import Trajectory

PADDING = 64  # new transitions come in multiples of this many, so that adding them rarely compiles


class Transitions(NamedTuple):
  """U turns. `tokens[:state_end]` is the state, up to `action_end` the utterance, up to `next_end` the next state."""

  tokens: jax.Array  # int32 [U, S], 0 after next_end
  state_end: jax.Array  # int32 [U]
  action_end: jax.Array  # int32 [U]
  next_end: jax.Array  # int32 [U]
  reward: jax.Array  # f32 [U], of the turn; the trajectory's own reward comes with its last turn
  done: jax.Array  # bool [U], the trajectory ended with this turn
  observed_return: jax.Array  # f32 [U], the discounted rewards that followed, this turn's included: to judge critics by


class Replay(NamedTuple):
  """The latest `capacity` transitions, in no order that matters."""

  transitions: Transitions  # leading axis: capacity
  added: jax.Array  # int32 [], transitions ever added

  @property
  def capacity(self) -> int:
    """How many transitions it holds at most."""
    return self.transitions.reward.shape[0]

  @property
  def size(self) -> jax.Array:
    """How many transitions it holds."""
    return jnp.minimum(self.added, self.capacity)


def turn_transitions(trajectories: Sequence[Trajectory], *, positions: int, discount: float) -> Transitions:
  """Every turn of the trajectories, in order, as NumPy arrays.

  A limit ends a trajectory as the environment does: what would have followed was never seen.

  Args:
    trajectories: rewarded; none whose environment failed.
    positions: S, tokens of a row. discount: per turn, of `observed_return`.

  Raises:
    ValueError: a trajectory is longer than a row.
  """
  rows, numbers = [], []
  for t in trajectories:
    if len(t.tokens) > positions:
      raise ValueError(f"trajectory {t.uid} has {len(t.tokens)} tokens; a row of the replay holds {positions}")
    turns = _turns_of(t, discount)
    rows += [np.pad(t.tokens[:next_end], (0, positions - next_end)) for _, _, next_end, *_ in turns]
    numbers += turns
  state_end, action_end, next_end, reward, done, observed = zip(*numbers, strict=True) if numbers else ([],) * 6
  return Transitions(
    tokens=np.asarray(rows, np.int32).reshape(-1, positions),
    state_end=np.asarray(state_end, np.int32),
    action_end=np.asarray(action_end, np.int32),
    next_end=np.asarray(next_end, np.int32),
    reward=np.asarray(reward, np.float32),
    done=np.asarray(done, bool),
    observed_return=np.asarray(observed, np.float32),
  )


def _turns_of(trajectory: Trajectory, discount: float) -> list[tuple]:
  """(state_end, action_end, next_end, reward, done, observed return) of each turn of one trajectory."""
  sampled = np.flatnonzero(trajectory.action_mask)
  number = trajectory.turn[sampled]
  starts = [int(sampled[number == u][0]) for u in np.unique(number)]
  ends = [int(sampled[number == u][-1]) + 1 for u in np.unique(number)]
  rewards = [trajectory.turns[u].reward if trajectory.turns else 0.0 for u in np.unique(number)]
  if rewards:
    rewards[-1] += trajectory.reward
  following, observed = 0.0, []
  for reward in reversed(rewards):
    following = reward + discount * following
    observed.append(following)
  next_ends = [*starts[1:], len(trajectory.tokens)]
  done = [False] * (len(starts) - 1) + [True]
  return list(zip(starts, ends, next_ends, rewards, done, reversed(observed), strict=True)) if starts else []


def empty(capacity: int, positions: int) -> Replay:
  """A buffer without transitions."""
  whole = jnp.zeros((capacity,), jnp.int32)
  rows = jnp.zeros((capacity, positions), jnp.int32)
  real = jnp.zeros((capacity,), jnp.float32)
  # Buffers of their own: a donated argument may not appear twice.
  copies = [jnp.copy(x) for x in (whole, whole, whole, real, whole > 0, real)]
  return Replay(Transitions(rows, *copies), jnp.int32(0))


def add(replay: Replay, new: Transitions) -> Replay:
  """The buffer with new transitions in the place of its oldest; the buffer given is donated."""
  count = new.reward.shape[0]
  padded = -(-max(count, 1) // PADDING) * PADDING
  rows = [np.pad(np.asarray(a), [(0, padded - count), *[(0, 0)] * (np.ndim(a) - 1)]) for a in new]
  return _add(replay, Transitions(*rows), jnp.int32(count))


@functools.partial(jax.jit, donate_argnums=0)
def _add(replay: Replay, new: Transitions, count: jax.Array) -> Replay:
  order = jnp.arange(new.reward.shape[0])
  kept = (order < count) & (order >= count - replay.capacity)
  place = jnp.where(kept, (replay.added + order) % replay.capacity, replay.capacity)
  written = [old.at[place].set(rows, mode="drop") for old, rows in zip(replay.transitions, new, strict=True)]
  return Replay(Transitions(*written), replay.added + count)


def draw(replay: Replay, key: jax.Array, count: int) -> Transitions:
  """`count` transitions, uniformly and with replacement.

  Raises:
    ValueError: the buffer is empty.
  """
  if not int(replay.added):
    raise ValueError("nothing can be drawn from an empty replay buffer")
  return _draw(replay, key, count)


@functools.partial(jax.jit, static_argnums=2)
def _draw(replay: Replay, key: jax.Array, count: int) -> Transitions:
  chosen = jax.random.randint(key, (count,), 0, replay.size)
  return jax.tree.map(lambda a: a[chosen], replay.transitions)
