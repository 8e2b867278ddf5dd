"""Trajectories as rows of turns, `[N, U]`: decisions of unequal length."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from agentrl.credit.columns import Rows
from agentrl.ops import returns


class Turns(NamedTuple):
  """The turns of N trajectories."""

  mask: jax.Array  # bool [N, U], there is such a turn
  rewards: jax.Array  # f32 [N, U], what it earned
  discounts: jax.Array  # f32 [N, U], what follows it is worth so much; 0 behind the last one


def turns_of(rows: Rows, turns: int, *, discount: float, per_token: bool) -> Turns:
  """The turns of trajectories.

  Args:
    rows: of the trajectories. turns: U; static.
    discount: gamma per turn, or, with `per_token`, per sampled token: a turn of k tokens then discounts by gamma^k.
  """
  lengths = sums(rows.mask.astype(jnp.float32), rows, turns)
  terminal = jnp.arange(turns, dtype=rows.turn.dtype)[None] == jnp.max(rows.turn, axis=1, keepdims=True)
  durations = lengths if per_token else jnp.ones_like(lengths)
  discounts = returns.turn_discounts(durations, terminal, discount=discount)
  return Turns(lengths > 0, sums(rows.rewards, rows, turns), discounts)


def earned_from(turns: Turns) -> jax.Array:
  """f32 `[N, U]`: the discounted rewards from each turn on."""
  nothing = jnp.zeros(turns.rewards.shape[0], jnp.float32)
  return returns.discounted_returns(turns.rewards, turns.discounts, nothing, mask=turns.mask)


def sums(values: jax.Array, rows: Rows, turns: int) -> jax.Array:
  """f32 `[N, U]`: the sums over the tokens of each turn of values `[N, A]`."""
  return jax.vmap(functools.partial(returns.turn_sums, num_turns=turns))(values, rows.turn)


def at_tokens(per_turn: jax.Array, rows: Rows) -> jax.Array:
  """f32 `[N, A]`: at each token the number of its turn, of `[N, U]`."""
  return jax.vmap(returns.turn_values)(per_turn, rows.turn)


def at_starts(values: jax.Array, rows: Rows, turns: int) -> jax.Array:
  """f32 `[N, U]`: the value at the first token of each turn, of `[N, A]`: V of the state in which the turn begins."""
  before = jnp.concatenate([jnp.full_like(rows.turn[:, :1], -1), rows.turn[:, :-1]], axis=1)
  return sums(jnp.where(rows.turn != before, values, 0.0), rows, turns)
