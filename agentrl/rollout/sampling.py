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


def token_keys(base_key: jax.Array, uid: jax.Array, position: jax.Array) -> jax.Array:
  """The keys that decide the tokens of trajectories `uid` at `position`.

  They depend on nothing else: slot, neighbours and tool latency cannot change what is sampled.

  Args:
    uid: uint32 `[B]`. position: int32 `[B]`, index of the token within its trajectory.

  Returns:
    Keys `[B]`.
  """
  return jax.vmap(lambda uid, position: jax.random.fold_in(jax.random.fold_in(base_key, uid), position))(uid, position)


def sample_token(logits: jax.Array, keys: jax.Array, temperature: jax.Array) -> Sample:
  """Takes the largest of log-weight plus Gumbel noise: first of the blocks of the vocabulary, then inside that block.

  So a token needs one random number per block and per entry of one block. Rounding of the logits decides only where
  the two largest tie; the inverse of the cumulative distribution would move with every rounding before a token.
  At temperature 0 the most likely token is taken: a point mass, with log-probability and entropy 0.

  Args:
    logits: `[B, V]`. keys: `[B]`. temperature: f32 `[B]`, >= 0.
  """
  greedy = temperature == 0.0
  scaled = logits.astype(jnp.float32) / jnp.where(greedy, 1.0, temperature)[:, None]
  shifted = scaled - jnp.max(scaled, axis=-1, keepdims=True)
  # A greedy row keeps weight on its maxima alone, and without noise takes the first (an argmax over all costs more).
  weights = jnp.where(greedy[:, None], (shifted == 0.0).astype(jnp.float32), jnp.exp(shifted))
  token, total = _largest(weights, keys, greedy)
  log_total = jnp.log(total)
  logp = jnp.take_along_axis(shifted, token[:, None], axis=-1)[:, 0] - log_total
  finite = jnp.where(weights > 0, shifted, 0.0)
  entropy = log_total - jnp.sum(weights * finite, axis=-1) / total
  return Sample(token, jnp.where(greedy, 0.0, logp), jnp.where(greedy, 0.0, entropy))


def _largest(weights: jax.Array, keys: jax.Array, greedy: jax.Array) -> tuple[jax.Array, jax.Array]:
  """A token drawn by weight, and the sum of the weights; rows are independent. Greedy rows take the first of any."""
  rows, size = weights.shape
  blocks = math.ceil(size / _BLOCK)
  blocked = jnp.pad(weights, ((0, 0), (0, blocks * _BLOCK - size))).reshape(rows, blocks, _BLOCK)
  mass = jnp.sum(blocked, axis=-1)
  noise = jax.vmap(lambda key: jax.random.gumbel(key, (blocks + _BLOCK,)))(keys)
  noise = jnp.where(greedy[:, None], 0.0, noise)
  block = jnp.argmax(jnp.log(jnp.where(greedy[:, None], jnp.minimum(mass, 1.0), mass)) + noise[:, :blocks], axis=-1)
  inside = jnp.take_along_axis(blocked, block[:, None, None], axis=1)[:, 0]
  offset = jnp.argmax(jnp.log(inside) + noise[:, blocks:], axis=-1)
  return (block * _BLOCK + offset).astype(jnp.int32), jnp.sum(mass, axis=-1)
