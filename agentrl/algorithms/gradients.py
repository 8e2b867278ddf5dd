"""What all algorithms share on the device: gradients summed over micro-batches, and the steps taken with them.

One function compiles per algorithm: it runs micro-batches `first` to `last` of a batch, whatever their number, and
takes one optimiser step. Losses are shares of the global objective (see `ops/reduce.py`), so that they add up.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from agentrl.algorithms.contract import LearnerState
from agentrl.algorithms.forward import micro_batch
from agentrl.batching.minibatches import deal
from agentrl.ops.finite import NonFinite, all_true, finite_flags, first_of, paths_of_false
from agentrl.ops.precision import in_float32
from agentrl.settings import at_least
from agentrl.types import Batch

# Of the settings of `run_minibatches`.
RANGES = {"epochs": at_least(1), "minibatches": at_least(1)}


class Checked(NamedTuple):
  """What an optimiser step computes, in this order; NaN and infinity are named by where they stand in it."""

  batch: Any
  loss: Any
  gradient: Any
  norm: Any
  params: Any


class LossOutput(NamedTuple):
  """A micro-batch's share of the loss, and of metrics that are sums over the batch or maxima over it."""

  loss: jax.Array
  sums: Mapping[str, jax.Array]
  maxima: Mapping[str, jax.Array]


# (params, micro-batch, lengths [N] under each mask of the step) -> its share of the loss.
Loss = Callable[[Any, Batch, Sequence[jax.Array]], LossOutput]
Mask = Callable[[Batch], jax.Array]  # bool of the shape of `action_mask`, False on padding: which listed tokens count


def lengths_of(batch: Batch, mask: jax.Array, first: jax.Array, last: jax.Array) -> jax.Array:
  """Tokens of each trajectory under a mask `[M, B, A]` in micro-batches `first <= m < last`, f32 [N].

  These are the global denominators of one optimiser step: with them, losses of micro-batches are shares that add up.
  """
  m = jnp.arange(mask.shape[0])[:, None, None]
  used = mask & (m >= first) & (m < last)
  counts = jnp.zeros((batch.sequence_length.shape[0] + 1,), jnp.float32)
  return counts.at[batch.action_sequence].add(used.astype(jnp.float32))[:-1]


def make_step(
  loss: Loss, optimizer: optax.GradientTransformation, masks: Sequence[Mask] = ()
) -> Callable[[LearnerState, Batch, int, int], tuple[LearnerState, dict[str, jax.Array]]]:
  """Builds the compiled `(state, batch, first, last) -> (state, metrics)`: one optimiser step; `state` is donated.

  It compiles once for steps of one micro-batch, which need no sum of gradients, and once for all others. Gradients are
  added up, measured and handed to the optimiser in float32, whatever the dtype of the params.

  A step whose numbers are not all finite raises `NonFinite`, which names the first of them in the order in which they
  are computed: a column of the batch, a part of the loss, a leaf of the gradient, its norm, a leaf of the new params.
  Until then one scalar a step is all that the check takes from the device.

  Args:
    loss: of one micro-batch, whose `sequence_length` counts what the whole optimiser step sees of each trajectory.
    optimizer: takes the summed gradient.
    masks: of terms that do not count every action token; the loss gets the lengths `[N]` under each, in order.
  """

  def value_and_grad(params, micro, lengths):
    def scalar(params):
      output = loss(params, micro, lengths)
      return output.loss, output

    (_, output), gradient = jax.value_and_grad(scalar, has_aux=True)(params)
    return gradient, output

  def total(params, batch, lengths, first, last):
    shapes = jax.eval_shape(value_and_grad, params, micro_batch(batch, jnp.int32(0)), lengths)
    gradient, output = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)
    return jax.lax.fori_loop(
      first,
      last,
      lambda index, carry: _add(carry, value_and_grad(params, micro_batch(batch, index), lengths)),
      (in_float32(gradient), output),
    )

  @functools.partial(jax.jit, static_argnames="single", donate_argnums=0)
  def step(state, batch, first, last, *, single):
    batch = batch._replace(sequence_length=lengths_of(batch, batch.action_mask, first, last))
    lengths = tuple(lengths_of(batch, mask(batch), first, last) for mask in masks)
    if single:
      gradient, output = value_and_grad(state.params, micro_batch(batch, first), lengths)
    else:
      gradient, output = total(state.params, batch, lengths, first, last)
    gradient = in_float32(gradient)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes its integer counts with floats, and updates are float32
      updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
      params = optax.apply_updates(state.params, updates)
    state = state._replace(params=params, opt_state=opt_state, updates=state.updates + 1)
    losses = {"policy/loss": output.loss, **output.sums, **output.maxima}
    norm = {"optimizer/grad_norm": optax.tree.norm(gradient)}
    flags = finite_flags(Checked(_columns(batch), losses, gradient, norm, params))
    return state, {**losses, **norm}, all_true(flags), flags

  return functools.partial(_checked_step, step)


def _checked_step(step: Callable, state: LearnerState, batch: Batch, first: int, last: int):
  """Takes a compiled step; raises NonFinite where its numbers are not all finite."""
  single = int(last) - int(first) == 1
  state, metrics, fine, flags = step(state, batch, jnp.int32(first), jnp.int32(last), single=single)
  if not fine:
    where = f"optimiser step {int(state.updates)}, micro-batches {int(first)} to {int(last) - 1}"
    raise NonFinite(f"{where}: {first_of(paths_of_false(flags))}")
  return state, metrics


def _columns(batch: Batch) -> dict[str, jax.Array]:
  """The columns, f32 `[M, B, A]` each; 0 on padding, which nobody reads."""
  return {name: jnp.where(batch.action_mask, a, 0.0) for name, a in batch.columns.items()}


def _add(a: tuple[Any, LossOutput], b: tuple[Any, LossOutput]) -> tuple[Any, LossOutput]:
  (gradient_a, output_a), (gradient_b, output_b) = a, b
  return jax.tree.map(jnp.add, in_float32(gradient_a), in_float32(gradient_b)), LossOutput(
    loss=output_a.loss + output_b.loss,
    sums=jax.tree.map(jnp.add, output_a.sums, output_b.sums),
    maxima=jax.tree.map(jnp.maximum, output_a.maxima, output_b.maxima),
  )


def minibatch_steps(cfg: ConfigDict, updates: int) -> int:
  """Optimiser steps in so many updates of an algorithm that goes over its batch in epochs and minibatches."""
  return updates * cfg.epochs * cfg.minibatches


def run_minibatches(
  step: Callable,
  state: LearnerState,
  key: jax.Array,
  batch: Batch,
  *,
  epochs: int,
  minibatches: int,
  place_batch: Callable[[Batch], Batch],
):
  """One optimiser step per epoch and minibatch, always as many; each epoch deals the batch anew, see `deal`.

  A single minibatch is the batch as it was packed.

  Args:
    step: from `make_step`. key: says how the epochs deal.
    place_batch: as in `Policy`.

  Returns:
    The state, and the steps' `mean_metrics`.
  """
  history, dealt, ranges = [], batch, [(0, int(batch.micro_batches))]
  for epoch in range(epochs):
    if minibatches > 1:
      seed = np.asarray(jax.random.key_data(jax.random.fold_in(key, epoch)))
      dealt, ranges = deal(batch, minibatches, np.random.default_rng(seed))
      dealt = place_batch(dealt)
    for first, last in ranges:
      state, metrics = step(state, dealt, first, last)
      history.append(metrics)
  return state, mean_metrics(history)


def mean_metrics(history: Sequence[Mapping[str, jax.Array]]) -> dict[str, jax.Array]:
  """The mean of several steps' metrics; of those whose name ends in "_max" the maximum."""
  return {name: _summary(name, [metrics[name] for metrics in history]) for name in history[0]}


def _summary(name: str, values: Sequence[jax.Array]) -> jax.Array:
  return functools.reduce(jnp.maximum, values) if name.endswith("_max") else sum(values) / len(values)
