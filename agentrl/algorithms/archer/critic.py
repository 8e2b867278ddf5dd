"""The critics: twin Q and V heads on an encoder, their targets, and their steps on replayed dialogues."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from agentrl.algorithms.archer.rows import Rows, lay_out
from agentrl.algorithms.contract import Policy
from agentrl.batching.replay import Dialogues
from agentrl.models import heads, transformer
from agentrl.named import by_name
from agentrl.ops import value_losses
from agentrl.ops.finite import NonFinite, all_true, finite_flags, first_of, paths_of_false
from agentrl.ops.precision import in_float32, with_float32_masters

LIKELIHOODS = 2  # features of an utterance: a tenth of its log-likelihood in nats, and its likelihood


class Encoder(NamedTuple):
  """What turns tokens into the hidden states that the heads read.

  Attributes:
    init: `policy params -> {name: params}` of what the critics learn besides their heads.
    trunk: `(critic, policy params) -> params` of the transformer to use.
  """

  init: Callable[[Any], dict[str, Any]]
  trunk: Callable[[Any, Any], Any]


ENCODERS = {
  "own": Encoder(lambda params: {"encoder": jax.tree.map(jnp.copy, params)}, lambda critic, policy: critic["encoder"]),
  "policy": Encoder(lambda params: {}, lambda critic, policy: jax.lax.stop_gradient(policy)),
}


class Critics(NamedTuple):
  """The critics' functions, each compiled once. `critic` are the learner's params "critic": `learned | frozen`.

  Attributes:
    init: `(key, policy params) -> (learned, frozen)`.
    rows: `(critic, dialogues, fresh) -> Rows` with all that a critic sees; `fresh` as in `rows.lay_out`.
    judge: `(critic, policy params, rows) -> (min Q, min V)` of what was said, f32 `[N, U]` each.
    train: `(learned, opt_state, target, policy params, rows, order)`, see `_train`.
    optimizer: of what they learn.
  """

  init: Callable[[jax.Array, Any], tuple[dict[str, Any], dict[str, Any]]]
  rows: Callable[[Any, Dialogues, Sequence[np.ndarray] | None], Rows]
  judge: Callable[[Any, Any, Rows], tuple[jax.Array, jax.Array]]
  train: Callable[..., tuple]
  optimizer: optax.GradientTransformation


def make_critics(policy: Policy, cfg: ConfigDict) -> Critics:
  """Builds them from the settings of the algorithm.

  Raises:
    ValueError: `critic.encoder` is none of `ENCODERS`.
  """
  encoder = by_name(ENCODERS, cfg.critic.encoder, kind="encoder (algo.critic.encoder)")
  encoded = functools.partial(encode, policy, encoder)
  optimizer = with_float32_masters(
    optax.chain(optax.clip_by_global_norm(cfg.critic.max_grad_norm), optax.adam(cfg.critic.learning_rate))
  )
  likelihoods = jax.jit(functools.partial(with_likelihoods, policy))
  loss = functools.partial(critic_loss, encoded, cfg)
  train = jax.jit(functools.partial(_train, loss, optimizer, cfg.critic.target_rate), donate_argnums=(0, 1, 2))

  def init(key, params):
    features = LIKELIHOODS if cfg.critic.likelihood else 0
    own_heads = {"heads": heads.init_utterance_critic(key, policy.model, cfg.critic.hidden, features)}
    frozen = {"prior": jax.tree.map(jnp.copy, params)} if cfg.critic.likelihood else {}
    return encoder.init(params) | own_heads, frozen

  def rows(critic, dialogues: Dialogues, fresh: Sequence[np.ndarray] | None) -> Rows:
    laid = lay_out(dialogues, fresh)
    return likelihoods(critic["prior"], laid) if cfg.critic.likelihood else laid

  return Critics(init, rows, jax.jit(functools.partial(_judge, encoded)), train, optimizer)


def encode(
  policy: Policy, encoder: Encoder, critic: Any, policy_params: Any, rows: Rows, *at: jax.Array
) -> list[jax.Array]:
  """Hidden states `[N, U, D]` at the tokens `at` `[N, U]`, of one pass over the rows."""
  trunk = encoder.trunk(critic, policy_params)
  hidden = transformer.forward(trunk, rows.tokens, rows.positions, rows.subtree_end, config=policy.model)
  return [jnp.take_along_axis(hidden, index[..., None], axis=1) for index in at]


def with_likelihoods(policy: Policy, prior: Any, rows: Rows) -> Rows:
  """The rows with `said` and `fresh`, `[N, U, LIKELIHOODS]`, by a policy's params `prior`."""
  hidden = transformer.forward(prior, rows.tokens, rows.positions, rows.subtree_end, config=policy.model)
  in_front = jnp.take_along_axis(hidden, rows.before[..., None], axis=1)
  flat = in_front.reshape(-1, in_front.shape[-1])
  unembed = transformer.unembedding(prior, policy.model)
  logp = policy.linear_logprob(flat, unembed, rows.tokens.reshape(-1), mask=rows.part_of.reshape(-1) > 0).logp
  parts = 1 + 2 * rows.taken.shape[1]
  sums = jax.vmap(functools.partial(jax.ops.segment_sum, num_segments=parts))(
    logp.reshape(rows.tokens.shape), rows.part_of
  )
  features = jnp.stack([0.1 * sums, jnp.exp(sums)], axis=-1)
  said, fresh = jnp.split(features[:, 1:], 2, axis=1)
  return rows._replace(said=said, fresh=fresh)


def critic_loss(
  encode: Callable[..., list[jax.Array]], cfg: ConfigDict, critic: Any, target: Any, policy_params: Any, rows: Rows
) -> tuple[jax.Array, dict[str, jax.Array]]:
  """Mean over turns of the twins' four squared errors, and metrics."""
  state, action = encode(critic, policy_params, rows, rows.at_state, rows.at_action)
  q, v = heads.apply_q(critic["heads"], state, action, rows.said), heads.apply_v(critic["heads"], state)
  state, fresh, following = encode(target, policy_params, rows, rows.at_state, rows.at_fresh, rows.at_next)
  continues = cfg.discount * (1.0 - rows.done.astype(jnp.float32))
  q_target = rows.reward[None] + continues[None] * heads.apply_v(target["heads"], following)
  v_target = heads.apply_q(target["heads"], state, fresh, rows.fresh)
  if cfg.critic.clipped_double_q:
    v_target = jnp.min(v_target, axis=0, keepdims=True)
  q_error, v_error = jax.lax.stop_gradient(q_target) - q, jax.lax.stop_gradient(v_target) - v

  def mean(values):  # over turns, of the sum over twins
    return jnp.sum(jnp.where(rows.taken[None], values, 0.0)) / jnp.sum(rows.taken, dtype=jnp.float32)

  q_loss, v_loss = mean(jnp.square(q_error)), mean(value_losses.expectile_loss(v_error, expectile=cfg.critic.expectile))
  metrics = {"critic/q_loss": q_loss, "critic/v_loss": v_loss, "critic/q": mean(q) / 2, "critic/v": mean(v) / 2}
  return q_loss + v_loss, {**metrics, "critic/twins_apart": mean(jnp.abs(q[:1] - q[1:]))}


def _train(
  loss: Callable[..., tuple[jax.Array, dict[str, jax.Array]]],
  optimizer: optax.GradientTransformation,
  target_rate: float,
  critic: Any,
  opt_state: Any,
  target: Any,
  policy_params: Any,
  rows: Rows,
  order: jax.Array,
) -> tuple[Any, Any, Any, dict[str, jax.Array], Any]:
  """One critic step per line of `order` `[updates, batch]`, indices of rows.

  Returns:
    (critic, optimiser state, target, metrics, flags), the flags for `require_finite`.
  """
  gradient = jax.value_and_grad(loss, has_aux=True)

  def step(carry, chosen):
    critic, opt_state, target = carry
    batch = jax.tree.map(lambda a: jnp.asarray(a)[chosen], rows)
    narrow = jax.tree.map(lambda wide, like: wide.astype(like.dtype), target, critic)
    (_, metrics), grads = gradient(critic, narrow, policy_params, batch)
    grads = in_float32(grads)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes its integer counts with floats, and updates are float32
      updates, opt_state = optimizer.update(grads, opt_state, critic)
      critic = optax.apply_updates(critic, updates)
    target = optax.incremental_update(in_float32(critic), target, target_rate)
    norm = {"critic/grad_norm": optax.tree.norm(grads)}
    flags = finite_flags(_CriticFlags(batch.reward, metrics, grads, norm, critic))
    return (critic, opt_state, target), ({**metrics, **norm}, flags)

  carry, (history, flags) = jax.lax.scan(step, (critic, opt_state, target), order)
  flags = jax.tree.map(lambda fine: jnp.all(fine, axis=0), flags)
  return (*carry, jax.tree.map(jnp.mean, history), (all_true(flags), flags))


class _CriticFlags(NamedTuple):
  """What a critic step computes, in this order; a bool [] for each leaf says that it was finite in every step."""

  reward: Any
  loss: Any
  gradient: Any
  norm: Any
  params: Any


def require_finite(flags: tuple[jax.Array, _CriticFlags]) -> None:
  """Raises NonFinite where a critic step was not all finite; `flags` are one bool for all, and the bools."""
  fine, each = flags
  if not fine:
    raise NonFinite(f"the critic's steps: {first_of(paths_of_false(each))}")


def _judge(
  encode: Callable[..., list[jax.Array]], critic: Any, policy_params: Any, rows: Rows
) -> tuple[jax.Array, jax.Array]:
  """(min Q, min V) of what was said, f32 `[N, U]` each."""
  state, action = encode(critic, policy_params, rows, rows.at_state, rows.at_action)
  q, v = heads.apply_q(critic["heads"], state, action, rows.said), heads.apply_v(critic["heads"], state)
  return jnp.min(q, axis=0), jnp.min(v, axis=0)


def calibration(some: Dialogues, q: jax.Array, v: jax.Array) -> dict[str, Any]:
  """What the critics said of turns before they learned from them, against the returns that followed."""
  q, v = (np.asarray(x)[some.taken] for x in (q, v))
  observed = some.observed_return[some.taken]
  variance = max(float(np.var(observed)), 1e-8)
  return {
    "critic/observed_return": np.mean(observed),
    "critic/q_bias": np.mean(q - observed),
    "critic/v_bias": np.mean(v - observed),
    "critic/q_explained_variance": 1.0 - np.var(observed - q) / variance,
    "critic/v_explained_variance": 1.0 - np.var(observed - v) / variance,
  }
