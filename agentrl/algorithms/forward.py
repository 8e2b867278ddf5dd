"""What the policy and the heads say of the action tokens of a batch: one forward pass, which all terms share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from agentrl.algorithms.contract import HeadSpec, Policy
from agentrl.models import transformer
from agentrl.types import Batch


class Outputs(NamedTuple):
  """What the trained params say of the listed tokens of a micro-batch."""

  hidden: jax.Array  # [B, A, D], the state that predicts each token
  logp: jax.Array  # f32 [B, A], at the batch's temperature; 0 on padding
  entropy: jax.Array  # f32 [B, A], nats; 0 on padding
  heads: Mapping[str, jax.Array]  # f32 [B, A] of each declared head, on padding too


def micro_batch(batch: Batch, index: jax.Array) -> Batch:
  """Micro-batch `index`, without the leading axis."""
  return batch.map_rows(lambda array: jax.lax.dynamic_index_in_dim(array, index, keepdims=False))


def action_outputs(params: Any, micro: Batch, policy: Policy) -> tuple[jax.Array, jax.Array, jax.Array]:
  """The policy's (hidden, logp, entropy) of the listed tokens, as in `Outputs`; nothing else is ever unembedded."""
  rows = micro.tokens, micro.positions, micro.subtree_end
  hidden = transformer.forward(params, *rows, config=policy.model, place=policy.place_hidden)
  hidden = jnp.take_along_axis(hidden, micro.action_parent[..., None], axis=1)
  targets = jnp.take_along_axis(micro.tokens, micro.action_index, axis=1)
  flat = policy.linear_logprob(
    hidden.reshape(-1, policy.model.width),
    transformer.unembedding(params, policy.model),
    targets.reshape(-1),
    temperature=micro.temperature,
    mask=micro.listed.reshape(-1),
  )
  return hidden, flat.logp.reshape(targets.shape), flat.entropy.reshape(targets.shape)


def outputs(params: Mapping[str, Any], micro: Batch, policy: Policy, heads: Mapping[str, HeadSpec]) -> Outputs:
  """One forward pass of the policy, and every declared head on it.

  Args:
    params: as in `LearnerState`: "policy", and one entry per head.
  """
  hidden, logp, entropy = action_outputs(params["policy"], micro, policy)
  return Outputs(hidden, logp, entropy, {name: spec.apply(params[name], hidden) for name, spec in heads.items()})


def make_evaluator(
  policy: Policy, heads: Mapping[str, HeadSpec]
) -> Callable[[Mapping[str, Any], Batch, Sequence[str]], dict[str, jax.Array]]:
  """Builds the compiled `(params, batch, names) -> {name: f32 [M, B, A]}` of a whole batch, without gradient.

  A name is "logp", "entropy" or that of a head; values are 0 on padding. Only what is asked for is computed.
  """

  def one(params, batch, names, index, found):
    micro = micro_batch(batch, index)
    out = outputs(params, micro, policy, {name: heads[name] for name in names if name in heads})
    said = {"logp": out.logp, "entropy": out.entropy, **out.heads}
    return {n: found[n].at[index].set(jnp.where(micro.action_mask, said[n], 0.0)) for n in names}

  @functools.partial(jax.jit, static_argnums=2)
  def evaluate(params, batch, names):
    nothing = {name: jnp.zeros(batch.action_mask.shape, jnp.float32) for name in names}
    return jax.lax.fori_loop(
      0, batch.micro_batches, lambda index, found: one(params, batch, names, index, found), nothing
    )

  return lambda params, batch, names: evaluate(params, batch, tuple(names))
