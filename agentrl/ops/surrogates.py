"""What the policy losses of `ops/losses.py` are made of: clipped surrogates, and what a loss declares of itself."""

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

Diagnostics = dict[str, jax.Array]
PolicyLoss = Callable[..., tuple[jax.Array, Diagnostics]]
TAKES = ("logp", "old_logp", "advantages", "mask", "sequence", "sequence_length")  # what a policy loss is called with


class Declared(NamedTuple):
  """What others must know of a policy loss.

  Attributes:
    turns: its `sequence` and `sequence_length` are to be those of turns.
    ratio: it reads `old_logp`, the denominator of its ratio; without, a correction can change its weights alone.
    marks: of a whole batch, once an update: `(logp, advantages, mask, draw, **settings) -> bool [M, B, A]`, from the
      log-probs with which the tokens were sampled, and numbers `draw` in [0, 1) that are drawn for each token. Its
      settings are those of the loss that it has too; the loss is handed the marks `[B, A]` behind `sequence_length`.
  """

  turns: bool = False
  ratio: bool = True
  marks: Callable[..., jax.Array] | None = None


def declares(**what: Any) -> Callable[[PolicyLoss], PolicyLoss]:
  """Decorates a policy loss, ours or a fork's, with attributes of `Declared` that are not the default."""
  declared = Declared(**what)

  def mark(function: PolicyLoss) -> PolicyLoss:
    function.declared = declared
    return function

  return mark


def declared_by(function: PolicyLoss) -> Declared:
  """What a policy loss declares; the default where it declares nothing."""
  return vars(function).get("declared", Declared())


def clipped_surrogate(
  log_ratio: jax.Array, advantages: jax.Array, *, clip_low: float, clip_high: float, dual_clip: float | None = None
) -> jax.Array:
  """PPO's loss, `-min(r A, clip(r, 1 - clip_low, 1 + clip_high) A)`.

  Schulman et al., 2017 (https://arxiv.org/abs/1707.06347), eq. 7; unequal bounds as in DAPO, Yu et al., 2025
  (https://arxiv.org/abs/2503.14476). With `dual_clip` c, a loss with A < 0 is at most `-c A`: Ye et al., 2020
  (https://arxiv.org/abs/1912.09729), eq. 5.

  Args:
    log_ratio: `[B, A]` log r, 0 where masked; carries the gradient.
    advantages: `[B, A]`, treated as constants.
    clip_low: 0.2 is usual.
    clip_high: 0.2 is usual, 0.28 in DAPO.
    dual_clip: a ratio above 1, 3 is usual; None leaves the loss unbounded above.

  Returns:
    `[B, A]`.
  """
  chex.assert_equal_shape([log_ratio, advantages])
  advantages = jax.lax.stop_gradient(advantages)
  ratio = jnp.exp(log_ratio)
  clipped = jnp.clip(ratio, 1 - clip_low, 1 + clip_high)
  loss = -jnp.minimum(ratio * advantages, clipped * advantages)
  if dual_clip is None:
    return loss
  return jnp.where(advantages < 0, jnp.minimum(loss, -dual_clip * advantages), loss)


def clipped(
  log_ratio: jax.Array,
  advantages: jax.Array,
  mask: jax.Array,
  *,
  clip_low: float,
  clip_high: float,
  dual_clip: float | None,
) -> tuple[jax.Array, Diagnostics]:
  """`clipped_surrogate` of log-ratios and advantages `[B, A]`, 0 where masked, and what it clipped.

  Raises:
    ValueError: a bound that clips the ratio 1 itself.
  """
  check_bounds(clip_low, clip_high, dual_clip)
  advantages = constant(advantages, mask)
  loss = clipped_surrogate(log_ratio, advantages, clip_low=clip_low, clip_high=clip_high, dual_clip=dual_clip)
  log_ratio = jax.lax.stop_gradient(log_ratio)
  ratio = jnp.exp(log_ratio)
  diagnostics = {
    "log_ratio": log_ratio,
    "clipped_low": indicator((ratio < 1 - clip_low) & (advantages < 0), mask),
    "clipped_high": indicator((ratio > 1 + clip_high) & (advantages > 0), mask),
  }
  if dual_clip is not None:
    diagnostics["clipped_dual"] = indicator((ratio > dual_clip) & (advantages < 0), mask)
  ways = [flag for name, flag in diagnostics.items() if name.startswith("clipped_")]
  return loss, {**diagnostics, "clipped": sum(ways[1:], ways[0])}


def constant(advantages: jax.Array, mask: jax.Array) -> jax.Array:
  """The advantages without gradient, 0 where masked."""
  return jax.lax.stop_gradient(jnp.where(mask, advantages, 0.0))


def indicator(condition: jax.Array, mask: jax.Array) -> jax.Array:
  """1 where an unmasked token meets the condition, else 0."""
  return (condition & mask).astype(jnp.float32)


def check_bounds(clip_low: float, clip_high: float, dual_clip: float | None) -> None:
  """Raises ValueError for a bound that clips the ratio 1 itself."""
  if clip_low < 0 or clip_high < 0:
    raise ValueError(f"clip_low={clip_low} and clip_high={clip_high} are distances from ratio 1 and cannot be negative")
  if dual_clip is not None and dual_clip <= 1:
    raise ValueError(f"dual_clip={dual_clip} bounds the ratio from above and must exceed 1; None switches it off")
