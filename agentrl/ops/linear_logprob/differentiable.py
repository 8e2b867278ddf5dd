"""The one gradient rule of `linear_logprob`, which every implementation shares.

What is differentiated are three statistics of the logits `z = scale hidden @ rows.T` of a token: the logit of the taken
token, `logsumexp` and `entropy`. With `p = exp(z - logsumexp)` and cotangents `t`, `l`, `h` of the three,

  dL/dz_v = t 1[v = token] + p_v (l - h (log p_v + entropy)).

They are sufficient: `logp` is the first less the second, and those of a vocabulary in shards are combined from those of
each shard, by arithmetic on `[T]` vectors that JAX differentiates itself.

Of R tokens those that count come first, so that the rest costs nothing.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_derivatives import CustomVJPPrimal, SymbolicZero


class Tile(NamedTuple):
  """What is held at a time."""

  tokens: int  # rows of a tile of logits
  vocabulary: int  # its columns
  block: int = 16384  # tokens whose gradient is summed in fp32 while the vocabulary passes by


class Rows(NamedTuple):
  """The tokens."""

  hidden: jax.Array  # [R, D]
  tokens: jax.Array  # int [R]; outside [0, V) where another shard of the vocabulary holds the token
  scale: jax.Array  # f32 [R], 1 / temperature
  live: jax.Array | int  # int []: the first `live` are all that count


class Statistics(NamedTuple):
  """Of each token; also their cotangents, None where one is known to be zero."""

  taken: jax.Array | None  # f32 [R], logit of the taken token, 0 where it is none of these
  logsumexp: jax.Array | None  # f32 [R]
  entropy: jax.Array | None  # f32 [R], nats


class Implementation(NamedTuple):
  """A pair of functions over `rows [V, D]`, the transposed unembedding, whose tiles are contiguous."""

  # (tokens, rows, tile) -> statistics
  forward: Callable[[Rows, jax.Array, Tile], Statistics]
  # (tokens, rows, statistics, cotangents, tile, whether rows are trained) -> gradients of hidden, and of rows or None
  backward: Callable[[Rows, jax.Array, Statistics, Statistics, Tile, bool], tuple[jax.Array, jax.Array | None]]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def statistics(implementation: Implementation, tile: Tile, tokens: Rows, rows: jax.Array) -> Statistics:
  """Statistics `[R]` of each token; differentiable in `tokens.hidden` and `rows`."""
  return implementation.forward(tokens, rows, tile)


def _forward_rule(implementation: Implementation, tile: Tile, tokens: Rows, rows: CustomVJPPrimal):
  values = Rows(*(x.value for x in tokens))
  out = implementation.forward(values, rows.value, tile)
  # An empty tuple or None: the structure of the residuals is static, their leaves are not.
  return out, (values, rows.value, out, () if rows.perturbed else None)


def _backward_rule(implementation, tile, residuals, cotangents):
  tokens, rows, out, train_rows = residuals
  bars = Statistics(*(None if isinstance(bar, SymbolicZero) else bar for bar in cotangents))
  if all(bar is None for bar in bars):
    return Rows(jnp.zeros_like(tokens.hidden), None, None, None), jnp.zeros_like(rows)
  hidden_bar, rows_bar = implementation.backward(tokens, rows, out, bars, tile, train_rows is not None)
  return Rows(hidden_bar, None, None, None), rows_bar


statistics.defvjp(_forward_rule, _backward_rule, symbolic_zeros=True)


class RowConstants(NamedTuple):
  """What `dL/dz = taken 1[v = token] + p (offset - slope log p)` needs of each token; `log p = scale z - logsumexp`."""

  scale: jax.Array
  logsumexp: jax.Array
  taken: jax.Array | None
  offset: jax.Array | None
  slope: jax.Array | None


def row_constants(scale: jax.Array, out: Statistics, bars: Statistics) -> RowConstants:
  """The cotangents, times `scale`, in the form that costs a tile the least."""
  offset = None if bars.logsumexp is None else bars.logsumexp * scale
  slope = None if bars.entropy is None else bars.entropy * scale
  if slope is not None:
    offset = -slope * out.entropy + (0.0 if offset is None else offset)
  taken = None if bars.taken is None else bars.taken * scale
  return RowConstants(scale, out.logsumexp, taken, offset, slope)
