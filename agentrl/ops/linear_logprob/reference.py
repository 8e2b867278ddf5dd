"""The specification of `linear_logprob`: all logits at once, forward and backward."""

import jax
import jax.numpy as jnp

from agentrl.ops.linear_logprob.differentiable import Implementation, Rows, Statistics, Tile


def forward(tokens: Rows, rows: jax.Array, tile: Tile | None = None) -> Statistics:
  """Statistics by `log_softmax` and `logsumexp`."""
  del tile
  logits = _logits(tokens, rows)
  log_p = jax.nn.log_softmax(logits, axis=-1)
  return Statistics(
    taken=jnp.sum(_one_hot(tokens, rows) * logits, axis=-1),
    logsumexp=jax.nn.logsumexp(logits, axis=-1),
    entropy=-jnp.sum(jnp.exp(log_p) * log_p, axis=-1),
  )


def backward(
  tokens: Rows, rows: jax.Array, out: Statistics, bars: Statistics, tile: Tile | None = None, train_rows: bool = True
) -> tuple[jax.Array, jax.Array | None]:
  """`dL/dz_v = t 1[v = token] + p_v (l - h (log p_v + entropy))`, then the two products with it."""
  del tile
  taken, logsumexp, entropy = (0.0 if bar is None else bar[..., None] for bar in bars)
  log_p = _logits(tokens, rows) - out.logsumexp[..., None]
  from_softmax = jnp.exp(log_p) * (logsumexp - entropy * (log_p + out.entropy[..., None]))
  logits_bar = (taken * _one_hot(tokens, rows) + from_softmax) * tokens.scale[..., None]
  logits_bar = logits_bar.astype(rows.dtype)
  hidden_bar = jnp.einsum("rv,vd->rd", logits_bar, rows, preferred_element_type=jnp.float32)
  rows_bar = jnp.einsum("rv,rd->vd", logits_bar, tokens.hidden, preferred_element_type=jnp.float32)
  return hidden_bar.astype(rows.dtype), rows_bar.astype(rows.dtype) if train_rows else None


def _logits(tokens: Rows, rows: jax.Array) -> jax.Array:
  logits = jnp.einsum("rd,vd->rv", tokens.hidden, rows, preferred_element_type=jnp.float32)
  return logits * tokens.scale[..., None]


def _one_hot(tokens: Rows, rows: jax.Array) -> jax.Array:
  return jax.nn.one_hot(tokens.tokens, rows.shape[0], dtype=jnp.float32)


REFERENCE = Implementation(forward, backward)
