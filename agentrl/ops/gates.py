"""A policy loss that leaves single tokens out: those that were improbable when sampled, and those whose ratio grew.

  "algo": {"policy_loss": "agentrl.ops.gates:gated_ppo", "loss": {"least_logp": -7.0}}

They are the two token filters that SimpleTIR (Xue et al., 2025, https://arxiv.org/abs/2509.02479) is compared with.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from agentrl.ops.losses import Diagnostics, ppo
from agentrl.ops.ratios import masked_log_ratio


def gated_ppo(
  logp: jax.Array,
  old_logp: jax.Array,
  advantages: jax.Array,
  mask: jax.Array,
  sequence: jax.Array,
  sequence_length: jax.Array,
  *,
  least_logp: float | None = None,
  most_ratio: float | None = None,
  clip_low: float = 0.2,
  clip_high: float = 0.2,
  dual_clip: float | None = None,
) -> tuple[jax.Array, Diagnostics]:
  """`ppo`, with loss 0 where `old_logp < least_logp` or `r > most_ratio`, whatever the sign of the advantage.

  A token that is left out is still counted by the reduction. The paper gives no bounds.

  Args:
    logp, old_logp, advantages, mask, sequence, sequence_length: as every policy loss, see `ops/losses.py`.
    least_logp: in nats, at the start of the update; None: no token is too improbable.
    most_ratio: above 1; None: no ratio is too large. PPO's own clipping bounds none where the advantage is negative.
    clip_low, clip_high, dual_clip: as `ppo`.

  Raises:
    ValueError: `most_ratio` is not above 1, or a bound clips the ratio 1 itself.
  """
  if most_ratio is not None and most_ratio <= 1:
    raise ValueError(f"algo.loss.most_ratio={most_ratio} must be above 1, where every ratio begins")
  log_ratio = jax.lax.stop_gradient(masked_log_ratio(logp, old_logp, mask))
  inside = mask
  if least_logp is not None:
    inside &= old_logp >= least_logp
  if most_ratio is not None:
    inside &= log_ratio <= math.log(most_ratio)
  bounds = {"clip_low": clip_low, "clip_high": clip_high, "dual_clip": dual_clip}
  loss, diagnostics = ppo(logp, old_logp, advantages, inside, sequence, sequence_length, **bounds)
  left_out = (mask & ~inside).astype(jnp.float32)
  return loss, {**diagnostics, "log_ratio": log_ratio, "left_out": left_out}
