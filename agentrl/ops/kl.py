"""Per-token estimators of KL(pi || ref) from tokens that pi sampled.

Schulman, 2020 (http://joschu.net/blog/kl-approx.html). With `d = logp - ref_logp`, tokens sampled from pi:

  estimator  value             expected value  expected gradient, samples held fixed
  k1         d                 KL(pi || ref)   0
  k2         d^2 / 2           not the KL      that of KL(pi || ref)
  k3         exp(-d) + d - 1   KL(pi || ref)   that of KL(ref || pi)
  k3_plus    that of k3        KL(pi || ref)   that of KL(pi || ref)

So k1 belongs in the reward, and k2 or k3_plus in the loss; k3 in the loss is GRPO's choice and a forward-KL gradient.
Each takes `logp [...]` (carries the gradient), `ref_logp [...]` (a constant) and `mask` bool `[...]`, and gives
`[...]`, in nats, 0 where masked, with log-ratios held within +-20.
"""

import jax
import jax.numpy as jnp

from agentrl.ops.ratios import masked_log_ratio


def k1(logp: jax.Array, ref_logp: jax.Array, mask: jax.Array) -> jax.Array:
  """`d`: unbiased, of either sign, and without any gradient in expectation."""
  return masked_log_ratio(logp, ref_logp, mask)


def k2(logp: jax.Array, ref_logp: jax.Array, mask: jax.Array) -> jax.Array:
  """`d^2 / 2`: biased as a value, the gradient of KL(pi || ref)."""
  return jnp.square(masked_log_ratio(logp, ref_logp, mask)) / 2


def k3(logp: jax.Array, ref_logp: jax.Array, mask: jax.Array) -> jax.Array:
  """`exp(-d) + d - 1`: unbiased, never negative, the gradient of KL(ref || pi)."""
  difference = masked_log_ratio(logp, ref_logp, mask)
  return jnp.expm1(-difference) + difference


def k3_plus(logp: jax.Array, ref_logp: jax.Array, mask: jax.Array) -> jax.Array:
  """The value of `k3` with the gradient of `k2`."""
  gradient = k2(logp, ref_logp, mask)
  return jax.lax.stop_gradient(k3(logp, ref_logp, mask) - gradient) + gradient


KL_ESTIMATORS = {"k1": k1, "k2": k2, "k3": k3, "k3_plus": k3_plus}
