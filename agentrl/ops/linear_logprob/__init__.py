"""Log-probabilities of taken tokens, and entropies, from hidden states, without `[N, V]` logits."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from agentrl.ops.linear_logprob.chunked import chunked
from agentrl.ops.linear_logprob.reference import reference
from agentrl.ops.named import by_name

# (hidden [N, D], unembed [D, V], tokens [N], temperature [N]) -> logp [N], entropy [N]
IMPLEMENTATIONS = {"reference": reference, "chunked": chunked}


class LinearLogprob(NamedTuple):
  """What `linear_logprob` gives."""

  logp: jax.Array  # f32 [N], log-probability of the taken token, in nats
  entropy: jax.Array  # f32 [N], of the whole distribution, in nats


def linear_logprob(
  hidden: jax.Array,
  unembed: jax.Array,
  tokens: jax.Array,
  *,
  temperature: jax.Array | float = 1.0,
  mask: jax.Array | None = None,
  implementation: str | None = None,
) -> LinearLogprob:
  """`logp = z[token] - logsumexp(z)` and `entropy = -sum p log p`, with `z = hidden @ unembed / temperature`.

  Both are differentiable in `hidden` and `unembed`; products accumulate in fp32 whatever the input dtype.

  Args:
    hidden: `[N, D]`, final hidden states, of action tokens alone.
    unembed: `[D, V]`; tied embeddings come as `embed.T`, which "chunked" reads in place; it
      copies any other once, transposed.
    tokens: int `[N]`, in `[0, V)`; any other, unmasked, gives a `logp` of NaN.
    temperature: scalar or `[N]`, positive; a constant.
    mask: bool `[N]`, False on padding: 0 in both results and no gradient, whatever `hidden` holds there.
    implementation: "reference" holds `[N, V]` logits; "chunked" a tile of them at a time; None means "chunked".

  Returns:
    `LinearLogprob`.

  Raises:
    ValueError: shapes or dtypes do not fit together, or no such implementation.
  """
  name = "chunked" if implementation is None else implementation
  compute = by_name(IMPLEMENTATIONS, name, kind="linear_logprob implementation")
  mask = jnp.ones(tokens.shape, bool) if mask is None else mask
  _check(hidden, unembed, tokens, mask)
  temperature = jnp.broadcast_to(jax.lax.stop_gradient(jnp.asarray(temperature, jnp.float32)), tokens.shape)
  hidden = jnp.where(mask[:, None], hidden, jnp.zeros((), hidden.dtype))
  in_range = (tokens >= 0) & (tokens < unembed.shape[1])
  logp, entropy = compute(hidden, unembed, jnp.where(in_range, tokens, 0), jnp.where(mask, temperature, 1.0))
  return LinearLogprob(
    logp=jnp.where(mask, jnp.where(in_range, logp, jnp.nan), 0.0), entropy=jnp.where(mask, entropy, 0.0)
  )


def _check(hidden: jax.Array, unembed: jax.Array, tokens: jax.Array, mask: jax.Array) -> None:
  if hidden.ndim != 2 or unembed.ndim != 2 or hidden.shape[1] != unembed.shape[0]:
    raise ValueError(f"linear_logprob needs hidden [N, D] and unembed [D, V]; got {hidden.shape} and {unembed.shape}")
  if hidden.shape[0] == 0:
    raise ValueError("linear_logprob got no tokens at all: hidden is [0, D]")
  if hidden.dtype != unembed.dtype:
    raise ValueError(f"hidden is {hidden.dtype} and unembed {unembed.dtype}: cast one of them first")
  if tokens.shape != hidden.shape[:1] or not jnp.issubdtype(tokens.dtype, jnp.integer):
    raise ValueError(f"tokens must be integers [N] = {hidden.shape[:1]}; got {tokens.dtype} {tokens.shape}")
  if mask.shape != tokens.shape or mask.dtype != jnp.bool_:
    raise ValueError(f"mask must be bool [N] = {tokens.shape}; got {mask.dtype} {mask.shape}")
