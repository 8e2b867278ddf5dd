"""Optimisers whose arithmetic is float32, whatever the dtype of the parameters.

A step of an RL run is smaller than half the distance between neighbouring bfloat16 numbers, so that adding it to a
bfloat16 weight gives that weight again. Therefore the optimiser keeps a float32 master of every weight, and float32
moments; the network's weights are the masters rounded to its dtype, and so the same for sampler and trainer.

Rounding to the nearest would still hide the first steps: no weight moves before its master has come half way to the
next number, and all of them start on one. Here each weight has a threshold of its own, spread evenly over the way and
the same for ever: of many weights that have come a tenth of the way, a tenth have moved, and a rounded weight whose
master rests is at rest too. What a layer computes follows the masters from the first step on, at the price of errors
that are up to one distance, not half of one. (Rounding at random, without masters: Gupta et al., 2015,
https://arxiv.org/abs/1502.02551.)
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

# Of the thresholds. No seed of a run: weights drawn with the same numbers would have thresholds that go with them.
_THRESHOLDS = 1_618_033_988


class Masters(NamedTuple):
  """State of an optimiser of parameters that are not all float32: 12 bytes a weight with AdamW inside."""

  params: Any  # float32, in the structure of the parameters
  inner: Any  # state of the optimiser that moves them


def in_float32(tree: Any) -> Any:
  """The tree with float32 leaves; leaves that are float32 stay as they are."""
  return jax.tree.map(lambda a: a.astype(jnp.float32), tree)


def with_float32_masters(inner: optax.GradientTransformation) -> optax.GradientTransformation:
  """`inner` moves float32 masters, and the update takes the parameters to the rounded masters.

  For parameters that are all float32 it is `inner` itself, and keeps no second copy.

  The update is float32, and `optax.apply_updates` then gives exactly the rounded master: the difference of two bfloat16
  numbers is exact in float32 unless one is 2^16 times the other. A weight that shrinks so far in one step is off by
  less than 2^-24 of what it was, until the next step, which starts from what it finds.

  Args:
    inner: sees float32 gradients and the masters.
  """

  def init(params: Any) -> Any:
    if _all_float32(params):
      return inner.init(params)
    masters = jax.tree.map(lambda a: jnp.array(a, jnp.float32, copy=True), params)
    return Masters(masters, inner.init(masters))

  def update(gradient: Any, state: Any, params: Any) -> tuple[Any, Any]:
    if _all_float32(params):
      return inner.update(gradient, state, params)
    step, inner_state = inner.update(in_float32(gradient), state.inner, state.params)
    masters = optax.apply_updates(state.params, step)
    rounded = round_like(masters, params)
    return jax.tree.map(jnp.subtract, in_float32(rounded), in_float32(params)), Masters(masters, inner_state)

  return optax.GradientTransformation(init, update)


def round_like(masters: Any, params: Any) -> Any:
  """The float32 masters in the dtypes of `params`, each rounded at its own threshold, which its place in the tree sets.

  A master that lies the share x of the way from a number of the dtype up to the next one becomes the upper one where
  its threshold, evenly spread over [0, 1), is below x. So numbers of the dtype stay themselves.
  """
  leaves, structure = jax.tree.flatten(params)
  keys = jax.random.split(jax.random.key(_THRESHOLDS), len(leaves))
  pairs = zip(structure.flatten_up_to(masters), leaves, keys, strict=True)
  return structure.unflatten([_rounded(master, leaf.dtype, key) for master, leaf, key in pairs])


def _rounded(master: jax.Array, dtype: jnp.dtype, key: jax.Array) -> jax.Array:
  if dtype == master.dtype:
    return master
  near = master.astype(dtype)
  towards = jnp.where(master > near.astype(jnp.float32), jnp.inf, -jnp.inf).astype(dtype)
  other = jnp.nextafter(near, towards)
  low, high = jnp.minimum(near, other), jnp.maximum(near, other)
  share = (master - low.astype(jnp.float32)) / (high.astype(jnp.float32) - low.astype(jnp.float32))
  chosen = jnp.where(share > jax.random.uniform(key, master.shape), high, low)
  return jnp.where(jnp.isfinite(master), chosen, near)


def _all_float32(params: Any) -> bool:
  return all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))
