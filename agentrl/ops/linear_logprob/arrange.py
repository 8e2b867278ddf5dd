"""Which tokens are computed: those that count, at the front of groups that stay on their device."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from agentrl.ops.linear_logprob.bits import as_bits, from_bits

_ROUND = 256  # tokens outside jit come in multiples of it, so that few sizes are ever compiled


class Arrangement(NamedTuple):
  """A choice of tokens in groups; of a group's M tokens R are computed."""

  index: jax.Array  # int32 [G, R], which token of the group stands there; each at most once
  inverse: jax.Array  # int32 [G, M], where a token stands; R or more where it was dropped
  live: jax.Array  # int32 [], the first `live` of every group hold all that count


def arrange(mask: jax.Array, groups: int) -> Arrangement:
  """Tokens that count first, in each of `groups` contiguous parts of the tokens.

  A mask whose values are known, outside jit, also drops the others. One that is traced cannot change a shape; tiles
  that begin beyond `live` are skipped when run.

  Args:
    mask: bool `[N]`.
  """
  traced = isinstance(mask, jax.core.Tracer)
  xp = jnp if traced else np  # what NumPy computes stays known, even while something else is traced
  parts = (mask if traced else np.asarray(mask)).reshape(groups, -1)
  order = xp.argsort(~parts, axis=1, stable=True)
  inverse = xp.argsort(order, axis=1)
  live = xp.max(xp.sum(parts, axis=1))
  if not traced:
    order = order[:, : -(-int(live) // _ROUND) * _ROUND]
  return Arrangement(*(jnp.asarray(x, jnp.int32) for x in (order, inverse, live)))


def gather(arrangement: Arrangement, x: jax.Array) -> jax.Array:
  """`[N, ...] -> [G, R, ...]`."""
  parts = x.reshape(arrangement.index.shape[0], -1, *x.shape[1:])
  return _pick(parts, arrangement.index, arrangement.inverse)


def scatter(arrangement: Arrangement, x: jax.Array) -> jax.Array:
  """`[G, R] -> [N]`, 0 for tokens that were dropped."""
  return _pick(x, arrangement.inverse, arrangement.index).reshape(-1)


@jax.custom_vjp
def _pick(x: jax.Array, index: jax.Array, inverse: jax.Array) -> jax.Array:
  """`out[g, i] = x[g, index[g, i]]`, 0 where there is none.

  `inverse` does the same for the gradient, which so needs no scatter and no sums.
  """
  del inverse
  out = jax.vmap(lambda part, at: part.at[at].get(mode="fill", fill_value=0))(as_bits(x), index)
  return from_bits(out, x.dtype)


def _pick_backward(residuals, bar):
  index, inverse = residuals
  return _pick(bar, inverse, index), None, None


_pick.defvjp(lambda x, index, inverse: (_pick(x, index, inverse), (index, inverse)), _pick_backward)
