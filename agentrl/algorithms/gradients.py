"""What all algorithms share on the device: log-probs of action tokens, and gradients summed over micro-batches.

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

from agentrl.algorithms.contract import LearnerState, Policy
from agentrl.batching.minibatches import deal
from agentrl.models import transformer
from agentrl.named import by_name
from agentrl.ops.finite import NonFinite, all_true, finite_flags, first_of, paths_of_false
from agentrl.ops.precision import in_float32
from agentrl.ops.reduce import REDUCTIONS, token_mean
from agentrl.settings import above, at_least
from agentrl.types import Batch

# Of the settings that several algorithms share.
RANGES = {"reduction_constant": above(0), "epochs": at_least(1), "minibatches": at_least(1)}


class ActionOutputs(NamedTuple):
  """What the policy says of the action tokens of a micro-batch."""

  hidden: jax.Array  # [B, A, D], the state that predicts each token
  logp: jax.Array  # f32 [B, A], at the batch's temperature; 0 on padding
  entropy: jax.Array  # f32 [B, A], nats; 0 on padding


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


def micro_batch(batch: Batch, index: jax.Array) -> Batch:
  """Micro-batch `index`, without the leading axis."""
  return batch.map_rows(lambda array: jax.lax.dynamic_index_in_dim(array, index, keepdims=False))


def action_outputs(params: Any, micro: Batch, policy: Policy) -> ActionOutputs:
  """Hidden states, log-probs and entropies of the action tokens; nothing else is ever unembedded."""
  rows = micro.tokens, micro.positions, micro.subtree_end
  hidden = transformer.forward(params, *rows, config=policy.model, place=policy.place_hidden)
  hidden = jnp.take_along_axis(hidden, micro.action_parent[..., None], axis=1)
  targets = jnp.take_along_axis(micro.tokens, micro.action_index, axis=1)
  flat = policy.linear_logprob(
    hidden.reshape(-1, policy.model.width),
    transformer.unembedding(params, policy.model),
    targets.reshape(-1),
    temperature=micro.temperature,
    mask=micro.action_mask.reshape(-1),
  )
  return ActionOutputs(hidden, flat.logp.reshape(targets.shape), flat.entropy.reshape(targets.shape))


def reduction(cfg: ConfigDict) -> Callable[..., jax.Array]:
  """The reduction that `cfg.reduction` names, with its setting."""
  chosen = by_name(REDUCTIONS, cfg.reduction, kind="reduction")
  takes_constant = cfg.reduction == "sequence_sum_norm"
  return functools.partial(chosen, constant=cfg.reduction_constant) if takes_constant else chosen


def make_scorer(policy: Policy) -> Callable[[Any, Batch], jax.Array]:
  """Builds the compiled `(policy params, batch) -> logp [M, B, A]` of the whole batch, without gradient."""

  def one(params, batch, index, out):
    return out.at[index].set(action_outputs(params, micro_batch(batch, index), policy).logp)

  @jax.jit
  def score(params, batch):
    out = jnp.zeros(batch.action_mask.shape, jnp.float32)
    return jax.lax.fori_loop(0, batch.micro_batches, lambda i, out: one(params, batch, i, out), out)

  return score


def lengths_of(batch: Batch, first: jax.Array, last: jax.Array) -> jax.Array:
  """Action tokens of each trajectory that micro-batches `first <= m < last` hold, f32 [N]; 0 for all others.

  These are the global denominators of one optimiser step: with them, losses of micro-batches are shares that add up.
  """
  m = jnp.arange(batch.action_mask.shape[0])[:, None, None]
  used = batch.action_mask & (m >= first) & (m < last)
  present = jnp.zeros((batch.sequence_length.shape[0] + 1,), bool).at[batch.action_sequence].max(used)
  return jnp.where(present[:-1], batch.sequence_length, 0.0)


def policy_metrics(out: ActionOutputs, micro: Batch, flags: Mapping[str, jax.Array]):
  """Sums and maxima that every policy update reports.

  Args:
    flags: bool or float `[B, A]` diagnostics of the policy loss by name; their token means are reported.

  Returns:
    (sums, maxima): the entropy, the flags, and how far the sampler's log-probs are from the trainer's at
    the start of the update.
  """
  mask = micro.action_mask
  tokens = jnp.sum(micro.sequence_length)
  columns = {"old_logp": out.logp, **micro.columns}
  difference = jnp.where(mask, columns["old_logp"] - micro.columns["sampler_logp"], 0.0)
  off = jnp.abs(jnp.expm1(difference)) > 0.1

  def mean(values):
    return token_mean(jax.lax.stop_gradient(values).astype(jnp.float32), mask, tokens)

  sums = {f"policy/{name}": mean(value) for name, value in flags.items()}
  sums["policy/entropy"] = mean(out.entropy)
  sums["sampler/logp_diff_mean"] = mean(jnp.abs(difference))
  sums["sampler/outside_0.9_1.1"] = mean(off)
  return sums, {"sampler/logp_diff_max": jax.lax.stop_gradient(jnp.max(jnp.abs(difference)))}


def make_step(
  loss: Callable[[Any, Any, Batch], LossOutput], optimizer: optax.GradientTransformation
) -> Callable[[LearnerState, Batch, int, int], tuple[LearnerState, dict[str, jax.Array]]]:
  """Builds the compiled `(state, batch, first, last) -> (state, metrics)`: one optimiser step; `state` is donated.

  It compiles once for steps of one micro-batch, which need no sum of gradients, and once for all others. Gradients are
  added up, measured and handed to the optimiser in float32, whatever the dtype of the params.

  A step whose numbers are not all finite raises `NonFinite`, which names the first of them in the order in which they
  are computed: a column of the batch, a part of the loss, a leaf of the gradient, its norm, a leaf of the new params.
  Until then one scalar a step is all that the check takes from the device.

  Args:
    loss: `(params, reference, micro) -> LossOutput` of one micro-batch, whose `sequence_length` counts what the whole
      optimiser step sees of each trajectory.
    optimizer: takes the summed gradient.
  """

  def value_and_grad(params, reference, micro):
    def scalar(params):
      output = loss(params, reference, micro)
      return output.loss, output

    (_, output), gradient = jax.value_and_grad(scalar, has_aux=True)(params)
    return gradient, output

  def accumulate(state, batch, index, carry):
    return _add(carry, value_and_grad(state.params, state.reference, micro_batch(batch, index)))

  def total(state, batch, first, last):
    shapes = jax.eval_shape(value_and_grad, state.params, state.reference, micro_batch(batch, jnp.int32(0)))
    gradient, output = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)
    carry = in_float32(gradient), output
    return jax.lax.fori_loop(first, last, lambda i, carry: accumulate(state, batch, i, carry), carry)

  @functools.partial(jax.jit, static_argnames="single", donate_argnums=0)
  def step(state, batch, first, last, *, single):
    batch = batch._replace(sequence_length=lengths_of(batch, first, last))
    if single:
      gradient, output = value_and_grad(state.params, state.reference, micro_batch(batch, first))
    else:
      gradient, output = total(state, batch, first, last)
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


def _add(a, b):
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


def _summary(name, values):
  return functools.reduce(jnp.maximum, values) if name.endswith("_max") else sum(values) / len(values)
