"""Drawing one token per slot, reproducibly, with its log-probability and the entropy of its distribution."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

_BLOCK = 256


class Sample(NamedTuple):
  """One token per slot."""

  token: jax.Array  # int32 [B]
  logp: jax.Array  # f32 [B], log-probability of the token at the slot's temperature
  entropy: jax.Array  # f32 [B], nats


def token_uniform(base_key: jax.Array, uid: jax.Array, position: jax.Array) -> jax.Array:
  """The uniform number that decides the token of trajectory `uid` at `position`.

  It depends on nothing else: slot, neighbours and tool latency cannot change what is sampled.

  Args:
    uid: uint32 `[B]`. position: int32 `[B]`, index of the token within its trajectory.

  Returns:
    f32 `[B]` in [0, 1).
  """

  def one(uid, position):
    return jax.random.uniform(jax.random.fold_in(jax.random.fold_in(base_key, uid), position))

  return jax.vmap(one)(uid, position)


def sample_token(logits: jax.Array, uniform: jax.Array, temperature: jax.Array) -> Sample:
  """Samples by inverting the cumulative distribution: one uniform per token instead of one per vocabulary entry.

  The sum runs over blocks of the vocabulary first and inside one block after, so that only one pass reads all logits.
  At temperature 0 the most likely token is taken: a point mass, with log-probability and entropy 0.

  Args:
    logits: `[B, V]`. uniform: f32 `[B]` in [0, 1). temperature: f32 `[B]`, >= 0.
  """
  greedy = temperature == 0.0
  scaled = logits.astype(jnp.float32) / jnp.where(greedy, 1.0, temperature)[:, None]
  shifted = scaled - jnp.max(scaled, axis=-1, keepdims=True)
  # A greedy row keeps weight on its maxima alone, and the smallest uniform takes the first (an argmax costs more).
  weights = jnp.where(greedy[:, None], (shifted == 0.0).astype(jnp.float32), jnp.exp(shifted))
  token, total = _invert(weights, jnp.where(greedy, 0.0, uniform))
  log_total = jnp.log(total)
  logp = jnp.take_along_axis(shifted, token[:, None], axis=-1)[:, 0] - log_total
  finite = jnp.where(weights > 0, shifted, 0.0)
  entropy = log_total - jnp.sum(weights * finite, axis=-1) / total
  return Sample(token, jnp.where(greedy, 0.0, logp), jnp.where(greedy, 0.0, entropy))


def _invert(weights, uniform):
  """Index of the first entry whose cumulative weight exceeds `uniform * total`, and the total; rows are independent."""
  rows, size = weights.shape
  blocks = math.ceil(size / _BLOCK)
  blocked = jnp.pad(weights, ((0, 0), (0, blocks * _BLOCK - size))).reshape(rows, blocks, _BLOCK)
  upto = jnp.cumsum(jnp.sum(blocked, axis=-1), axis=-1)
  total = upto[:, -1]
  target = uniform * total
  block = _first_above(upto, target)
  below = jnp.where(block > 0, jnp.take_along_axis(upto, jnp.maximum(block - 1, 0)[:, None], axis=1)[:, 0], 0.0)
  inside = jnp.take_along_axis(blocked, block[:, None, None], axis=1)[:, 0]
  offset = _first_above(jnp.cumsum(inside, axis=-1), target - below)
  return (block * _BLOCK + offset).astype(jnp.int32), total


def _first_above(cumulative, target):
  """First index with `cumulative > target`; where rounding leaves none, the last index that still adds weight."""
  above = cumulative > target[:, None]
  last = jnp.argmax(cumulative >= cumulative[:, -1:], axis=-1)
  return jnp.where(jnp.any(above, axis=-1), jnp.argmax(above, axis=-1), last)
