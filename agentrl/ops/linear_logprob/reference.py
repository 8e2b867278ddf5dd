"""The specification of `linear_logprob`: all logits at once, gradients by autodiff."""

import jax
import jax.numpy as jnp


def reference(
  hidden: jax.Array, unembed: jax.Array, tokens: jax.Array, temperature: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """`(logp [N], entropy [N])` by `log_softmax`.

  Args:
    hidden: `[N, D]`.
    unembed: `[D, V]`.
    tokens: int `[N]`, in range.
    temperature: f32 `[N]`.
  """
  logits = jnp.einsum("nd,dv->nv", hidden, unembed, preferred_element_type=jnp.float32) / temperature[:, None]
  log_p = jax.nn.log_softmax(logits, axis=-1)
  logp = jnp.take_along_axis(log_p, tokens[:, None], axis=-1)[:, 0]
  return logp, -jnp.sum(jnp.exp(log_p) * log_p, axis=-1)
