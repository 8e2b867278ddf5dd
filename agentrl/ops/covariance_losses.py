"""Policy losses that hold back the few tokens which lower the entropy most: Clip-Cov and KL-Cov.

Under a policy gradient the entropy falls as fast as log-probs and advantages covary, and a few tokens make up most of
that: likely ones with a high advantage, unlikely ones with a low one. Cui et al., 2025, "The entropy mechanism of
reinforcement learning for reasoning language models" (https://arxiv.org/abs/2505.22617), section 4; constants quoted
from memory. Unlike the paper, which looks at every minibatch under the current policy, tokens are marked once an
update, over the whole batch, by the log-probs with which they were sampled: no split of the batch changes the marks.
"""

import jax
import jax.numpy as jnp

from agentrl.ops.ratios import masked_log_ratio
from agentrl.ops.surrogates import Diagnostics, clipped, constant, declares, indicator


def covariances(logp: jax.Array, advantages: jax.Array, mask: jax.Array) -> jax.Array:
  """`(log pi - mean log pi) (A - mean A)` of every token of a batch, of any shape; 0 where masked."""
  count = jnp.maximum(jnp.sum(mask, dtype=jnp.float32), 1.0)

  def centred(values: jax.Array) -> jax.Array:
    return jnp.where(mask, values - jnp.sum(jnp.where(mask, values, 0.0)) / count, 0.0)

  return centred(logp) * centred(advantages)


def drawn_between(
  logp: jax.Array, advantages: jax.Array, mask: jax.Array, draw: jax.Array, *, share: float, low: float, high: float
) -> jax.Array:
  """Marks a `share` of all tokens, drawn among those whose covariance lies in `[low, high]`; at least one of them."""
  covariance = covariances(logp, advantages, mask)
  return _first(jnp.where(mask & (covariance >= low) & (covariance <= high), draw, jnp.inf), mask, share)


def most_covariant(
  logp: jax.Array, advantages: jax.Array, mask: jax.Array, draw: jax.Array, *, share: float
) -> jax.Array:
  """Marks the `share` of all tokens with the largest covariance; at least one."""
  del draw  # nothing is left to chance
  return _first(jnp.where(mask, -covariances(logp, advantages, mask), jnp.inf), mask, share)


def _first(order: jax.Array, mask: jax.Array, share: float) -> jax.Array:
  """Marks the entries that come first, so many as are a share of the unmasked ones; infinity is never marked."""
  count = jnp.maximum(share * jnp.sum(mask, dtype=jnp.float32), 1.0).astype(jnp.int32)
  last = jnp.sort(order.ravel())[count - 1]
  return (order <= last) & jnp.isfinite(order)


@declares(marks=drawn_between)
def clip_cov(
  logp: jax.Array,
  old_logp: jax.Array,
  advantages: jax.Array,
  mask: jax.Array,
  sequence: jax.Array,
  sequence_length: jax.Array,
  marked: jax.Array,
  *,
  share: float = 2e-4,
  low: float = 1.0,
  high: float = 5.0,
  clip_low: float = 0.2,
  clip_high: float = 0.2,
) -> tuple[jax.Array, Diagnostics]:
  """`ppo`, of which the tokens that `drawn_between` marks are left out: Clip-Cov.

  Args:
    marked: bool `[B, A]`.
    share: of all tokens, to be left out. low, high: covariances among which they are drawn.
    clip_low, clip_high: as in `ppo`.
  """
  del sequence, sequence_length, share, low, high  # the ratio is per token; the others say which tokens are marked
  log_ratio = masked_log_ratio(logp, old_logp, mask)
  loss, diagnostics = clipped(log_ratio, advantages, mask, clip_low=clip_low, clip_high=clip_high, dual_clip=None)
  return jnp.where(marked, 0.0, loss), {**diagnostics, "marked": indicator(marked, mask)}


@declares(marks=most_covariant)
def kl_cov(
  logp: jax.Array,
  old_logp: jax.Array,
  advantages: jax.Array,
  mask: jax.Array,
  sequence: jax.Array,
  sequence_length: jax.Array,
  marked: jax.Array,
  *,
  share: float = 2e-3,
  beta: float = 1.0,
) -> tuple[jax.Array, Diagnostics]:
  """`-r A`, plus `beta |log r|` of the tokens that `most_covariant` marks: KL-Cov. Nothing is clipped.

  In the first step of an update the penalty has no gradient: it holds the later ones back.

  Args:
    marked: bool `[B, A]`.
    share: of all tokens, to be held back.
    beta: weight of the penalty.
  """
  del sequence, sequence_length, share  # the ratio is per token; the share says which tokens are marked
  log_ratio = masked_log_ratio(logp, old_logp, mask)
  penalty = beta * jnp.where(marked & mask, jnp.abs(log_ratio), 0.0)
  loss = penalty - jnp.exp(log_ratio) * constant(advantages, mask)
  return loss, {"log_ratio": jax.lax.stop_gradient(log_ratio), "marked": indicator(marked, mask)}
