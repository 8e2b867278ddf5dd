"""Which tokens are computed: those that count, first."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from agentrl.ops.linear_logprob.bits import as_bits, from_bits

_ROUND = 256  # tokens outside jit come in multiples of it, so that few sizes are ever compiled


class Arrangement(NamedTuple):
  """R of N tokens, in the order in which they are computed."""

  index: jax.Array  # int32 [R], which token stands there; each at most once
  inverse: jax.Array  # int32 [N], where a token stands; R or more where it was dropped
  live: jax.Array  # int32 [], the first `live` are all that count


def arrange(mask: jax.Array) -> Arrangement:
  """Tokens that count first.

  A mask whose values are known, outside jit, also drops the others. One that is traced cannot change a shape; tiles
  that begin beyond `live` are skipped when run.

  Args:
    mask: bool `[N]`.
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
  """`[N, ...] -> [R, ...]`."""
  return _pick(x, arrangement.index, arrangement.inverse)


def scatter(arrangement: Arrangement, x: jax.Array) -> jax.Array:
  """`[R] -> [N]`, 0 for tokens that were dropped."""
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
