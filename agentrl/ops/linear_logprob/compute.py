"""From tokens to results: which tokens are computed, by what, and the vocabulary's shards put together."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from agentrl.ops.linear_logprob.backends import choose, load
from agentrl.ops.linear_logprob.chunked import as_bits, from_bits
from agentrl.ops.linear_logprob.differentiable import Rows, Statistics, statistics

_ROUND = 256  # tokens outside jit come in multiples of it, so that few sizes are ever compiled


class LinearLogprob(NamedTuple):
  """What `linear_logprob` gives."""

  logp: jax.Array  # f32 [T], log-probability of the taken token, in nats
  entropy: jax.Array  # f32 [T], of the whole distribution, in nats
  logsumexp: jax.Array | None = None  # f32 [T], of the logits at their temperature; None unless asked for


def compute(
  hidden: jax.Array,
  rows: jax.Array,
  tokens: jax.Array,
  temperature: jax.Array | float,
  mask: jax.Array | None,
  *,
  with_logsumexp: bool,
  implementation: str | None,
  vocabulary_axis: str | None = None,
) -> LinearLogprob:
  """`linear_logprob` of checked arguments, on one device or on one shard.

  Args:
    rows: `[V, D]`, the transposed unembedding; under `vocabulary_axis` this shard's part of it.
    vocabulary_axis: mesh axis of the enclosing `shard_map` over which the vocabulary lies.
  """
  size = rows.shape[0]
  shards = 1 if vocabulary_axis is None else jax.lax.axis_size(vocabulary_axis)
  first = 0 if vocabulary_axis is None else jax.lax.axis_index(vocabulary_axis) * size
  name, tile = choose(jax.devices()[0].device_kind, *hidden.shape, implementation)
  temperature = jax.lax.stop_gradient(jnp.asarray(temperature, jnp.float32))
  scale = jnp.broadcast_to(1.0 / temperature, tokens.shape)
  in_range = (tokens >= 0) & (tokens < size * shards)
  if mask is None:
    place = back = lambda x: x
    live = tokens.shape[0]
  else:
    hidden = jnp.where(mask[:, None], hidden, jnp.zeros((), hidden.dtype))
    scale = jnp.where(mask, scale, 1.0)
    arrangement = arrange(mask)
    place, back = (lambda x: gather(arrangement, x)), (lambda x: scatter(arrangement, x))
    live = arrangement.live
  placed = Rows(place(hidden), place(tokens - first), place(scale), live)
  if placed.tokens.size == 0:
    zeros = jnp.zeros(tokens.shape, jnp.float32)
    return LinearLogprob(zeros, zeros, zeros if with_logsumexp else None)
  out = statistics(load(name), tile, placed, rows)
  if vocabulary_axis is not None:
    out = _combine(out, vocabulary_axis)
  results = (back(out.taken - out.logsumexp), back(out.entropy), back(out.logsumexp) if with_logsumexp else None)
  logp, entropy, logsumexp = (x if mask is None or x is None else jnp.where(mask, x, 0.0) for x in results)
  counts = in_range if mask is None else in_range | ~mask
  return LinearLogprob(jnp.where(counts, logp, jnp.nan), entropy, logsumexp)


def _combine(out: Statistics, axis: str) -> Statistics:
  """Statistics of the whole vocabulary, from those of the shards on a mesh axis.

  With `w_s = exp(logsumexp_s - logsumexp)` the share of shard s, `entropy = sum_s w_s (entropy_s - log w_s)`.
  """
  peak = jax.lax.pmax(jax.lax.stop_gradient(out.logsumexp), axis)
  logsumexp = peak + jnp.log(jax.lax.psum(jnp.exp(out.logsumexp - peak), axis))
  log_share = out.logsumexp - logsumexp
  entropy = jax.lax.psum(jnp.exp(log_share) * (out.entropy - log_share), axis)
  return Statistics(jax.lax.psum(out.taken, axis), logsumexp, entropy)


# ---- tokens that count come first -----------------------------------------------------------------------------------


class Arrangement(NamedTuple):
  """R of T tokens, in the order in which they are computed."""

  index: jax.Array  # int32 [R], which token stands there; each at most once
  inverse: jax.Array  # int32 [T], where a token stands; R or more where it was dropped
  live: jax.Array  # int32 [], the first `live` are all that count


def arrange(mask: jax.Array) -> Arrangement:
  """Tokens that count first.

  A mask whose values are known, outside jit, also drops the others. One that is traced cannot change a shape; tiles
  that begin beyond `live` are skipped when run.

  Args:
    mask: bool `[T]`.
  """
  traced = isinstance(mask, jax.core.Tracer)
  xp = jnp if traced else np  # what NumPy computes stays known, even while something else is traced
  mask = mask if traced else np.asarray(mask)
  order = xp.argsort(~mask, stable=True)
  inverse = xp.argsort(order)
  live = xp.sum(mask)
  if not traced:
    order = order[: -(-int(live) // _ROUND) * _ROUND]
  return Arrangement(*(jnp.asarray(x, jnp.int32) for x in (order, inverse, live)))


def gather(arrangement: Arrangement, x: jax.Array) -> jax.Array:
  """`[T, ...] -> [R, ...]`."""
  return _pick(x, arrangement.index, arrangement.inverse)


def scatter(arrangement: Arrangement, x: jax.Array) -> jax.Array:
  """`[R] -> [T]`, 0 for tokens that were dropped."""
  return _pick(x, arrangement.inverse, arrangement.index)


@jax.custom_vjp
def _pick(x: jax.Array, index: jax.Array, inverse: jax.Array) -> jax.Array:
  """`out[i] = x[index[i]]`, 0 where there is none.

  `inverse` does the same for the gradient, which so needs no scatter and no sums.
  """
  del inverse
  return from_bits(as_bits(x).at[index].get(mode="fill", fill_value=0), x.dtype)


def _pick_backward(residuals, bar):
  index, inverse = residuals
  return _pick(bar, inverse, index), None, None


_pick.defvjp(lambda x, index, inverse: (_pick(x, index, inverse), (index, inverse)), _pick_backward)
