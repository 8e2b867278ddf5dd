"""Corrections for a sampler that is not the policy that learns: other numerics, older weights, another choice.

With pi_s the policy that sampled, pi_o the policy at the start of the update, r = pi_o / pi_s, and a policy loss of the
ratio pi / pi_d, a correction says which policy stands in the denominator d, and what multiplies the loss of each token.

  name         denominator  weight
  none         pi_o         1
  sampler      pi_s         1                            the sampler is what the policy may not leave far
  decoupled    pi_o         r                            behaviour pi_s, proximal policy pi_o
  truncated    pi_o         min(r, cap)
  masked       pi_o         r where r <= cap, else 0
  banded       pi_o         r where low <= r <= high, else 0

The last three take r of a token. With the prefix `sequence_` they take the product of r over the sequence, the exact
weight of a whole trajectory, and with `geometric_` its geometric mean, which does not shrink or grow with the length.
A sequence that branches from another is weighed by the tokens behind its fork alone: those before it are its parent's,
stand once in a batch, and have the parent's weight.

All share one signature, and have their settings as keyword-only arguments:

  Corrected(denominator [B, A], weight [B, A]) = correction(
    old_logp [B, A], sampler_logp [B, A], mask [B, A], sequence [B, A], sequence_length [N], **settings)

Everything they give is a constant; the weight is 0 where masked. A token whose weight is 0 stays in the denominators of
the reduction: what is not trusted makes a step smaller, not the other tokens louder.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from agentrl.ops.ratios import masked_log_ratio, sequence_log_ratio
from agentrl.settings import above, at_least

# Of the settings, by name.
RANGES = {
  "cap": above(0, "it is the largest ratio that is trusted"),
  "low": at_least(0, "it is the smallest ratio that is trusted"),
  "high": above(0, "it is the largest ratio that is trusted"),
}


class Corrected(NamedTuple):
  """What a correction makes of a policy loss."""

  denominator: jax.Array  # f32 [B, A], log-probs of the policy that the loss takes its ratio to
  weight: jax.Array  # f32 [B, A], what multiplies the loss


Correction = Callable[..., Corrected]
TAKES = ("old_logp", "sampler_logp", "mask", "sequence", "sequence_length")  # what a correction is called with


def by_denominator(function: Correction) -> Correction:
  """Marks a correction that gives every token the weight 1: it does nothing for a loss without a ratio."""
  function.by_denominator = True
  return function


def is_by_denominator(function: Correction) -> bool:
  """Whether a correction, ours or a fork's, is marked with `by_denominator`."""
  return vars(function).get("by_denominator", False)


def none(
  old_logp: jax.Array, sampler_logp: jax.Array, mask: jax.Array, sequence: jax.Array, sequence_length: jax.Array
) -> Corrected:
  """Takes what was sampled for the policy's own at the start of the update."""
  del sampler_logp, sequence, sequence_length
  return Corrected(jax.lax.stop_gradient(old_logp), mask.astype(jnp.float32))


@by_denominator
def sampler(
  old_logp: jax.Array, sampler_logp: jax.Array, mask: jax.Array, sequence: jax.Array, sequence_length: jax.Array
) -> Corrected:
  """The ratio of the loss is to the policy that sampled: it corrects, and its clipping bounds both at once."""
  del old_logp, sequence, sequence_length
  return Corrected(jax.lax.stop_gradient(sampler_logp), mask.astype(jnp.float32))


def decoupled(
  old_logp: jax.Array, sampler_logp: jax.Array, mask: jax.Array, sequence: jax.Array, sequence_length: jax.Array
) -> Corrected:
  """`pi_o / pi_s` before a loss of the ratio `pi / pi_o`: behaviour and proximal policy are two.

  Hilton et al., 2022, "Batch size-invariance for policy optimization" (https://arxiv.org/abs/2110.00641), section 3.1;
  Fu et al., 2025, "AReaL" (https://arxiv.org/abs/2505.24298), eq. 5.
  """
  del sequence, sequence_length
  ratio = jnp.exp(jax.lax.stop_gradient(masked_log_ratio(old_logp, sampler_logp, mask)))
  return Corrected(jax.lax.stop_gradient(old_logp), jnp.where(mask, ratio, 0.0))


# ---- ratios of tokens, of sequences, and what is made of them ------------------------------------------------------


def token_ratio(
  old_logp: jax.Array, sampler_logp: jax.Array, mask: jax.Array, sequence: jax.Array, sequence_length: jax.Array
) -> jax.Array:
  """`r_t`, f32 `[B, A]`."""
  del sequence, sequence_length
  return jnp.exp(masked_log_ratio(old_logp, sampler_logp, mask))


def sequence_ratio(
  old_logp: jax.Array, sampler_logp: jax.Array, mask: jax.Array, sequence: jax.Array, sequence_length: jax.Array
) -> jax.Array:
  """`prod_t r_t` over the sequence, at each of its tokens, f32 `[B, A]`."""
  ones = jnp.ones_like(sequence_length)
  return jnp.exp(sequence_log_ratio(old_logp, sampler_logp, mask, sequence, ones))


def geometric_ratio(
  old_logp: jax.Array, sampler_logp: jax.Array, mask: jax.Array, sequence: jax.Array, sequence_length: jax.Array
) -> jax.Array:
  """`(prod_t r_t)^(1 / L)` over the L tokens of the sequence, at each of them, f32 `[B, A]`."""
  return jnp.exp(sequence_log_ratio(old_logp, sampler_logp, mask, sequence, sequence_length))


def _truncated(ratio_of: Callable[..., jax.Array], default: float) -> Correction:
  def truncated(
    old_logp: jax.Array,
    sampler_logp: jax.Array,
    mask: jax.Array,
    sequence: jax.Array,
    sequence_length: jax.Array,
    *,
    cap: float = default,
  ) -> Corrected:
    """`min(r, cap)`: of bounded variance, and biased towards 0.

    Yao et al., 2025, "Your efficient RL framework secretly brings you off-policy RL training"; Ionides, 2008
    (https://doi.org/10.1198/106186008X320456). Of sequences: Liu et al., 2025, "When speed kills stability".
    """
    ratio = ratio_of(old_logp, sampler_logp, mask, sequence, sequence_length)
    return _weighed(old_logp, mask, jnp.minimum(ratio, cap))

  return truncated


def _masked(ratio_of: Callable[..., jax.Array], default: float) -> Correction:
  def masked(
    old_logp: jax.Array,
    sampler_logp: jax.Array,
    mask: jax.Array,
    sequence: jax.Array,
    sequence_length: jax.Array,
    *,
    cap: float = default,
  ) -> Corrected:
    """`r` where it is at most `cap`, else 0: what was sampled too rarely is not learned from.

    Liu et al., 2025, "When speed kills stability: demystifying RL collapse from the training-inference mismatch".
    """
    ratio = ratio_of(old_logp, sampler_logp, mask, sequence, sequence_length)
    return _weighed(old_logp, mask, jnp.where(ratio <= cap, ratio, 0.0))

  return masked


def _banded(ratio_of: Callable[..., jax.Array], default: tuple[float, float]) -> Correction:
  def banded(
    old_logp: jax.Array,
    sampler_logp: jax.Array,
    mask: jax.Array,
    sequence: jax.Array,
    sequence_length: jax.Array,
    *,
    low: float = default[0],
    high: float = default[1],
  ) -> Corrected:
    """`r` inside `[low, high]`, else 0: IcePop.

    Ling Team, 2025, "Every step evolves" (https://arxiv.org/abs/2510.18855), section on IcePop.
    """
    if low > high:
      raise ValueError(f"low={low} and high={high}: no ratio lies between them")
    ratio = ratio_of(old_logp, sampler_logp, mask, sequence, sequence_length)
    return _weighed(old_logp, mask, jnp.where((ratio >= low) & (ratio <= high), ratio, 0.0))

  return banded


def _weighed(old_logp: jax.Array, mask: jax.Array, weight: jax.Array) -> Corrected:
  return Corrected(jax.lax.stop_gradient(old_logp), jax.lax.stop_gradient(jnp.where(mask, weight, 0.0)))


CORRECTIONS: dict[str, Correction] = {
  "none": none,
  "sampler": sampler,
  "decoupled": decoupled,
  "truncated": _truncated(token_ratio, 2.0),
  "masked": _masked(token_ratio, 2.0),
  "banded": _banded(token_ratio, (0.5, 5.0)),
  "sequence_truncated": _truncated(sequence_ratio, 2.0),
  "sequence_masked": _masked(sequence_ratio, 2.0),
  "sequence_banded": _banded(sequence_ratio, (0.5, 2.0)),
  "geometric_truncated": _truncated(geometric_ratio, 1.001),
  "geometric_masked": _masked(geometric_ratio, 1.001),
  "geometric_banded": _banded(geometric_ratio, (0.999, 1.001)),
}
