"""What `linear_logprob` refuses, by the name of the argument."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import checkify

DTYPES = ("float32", "bfloat16", "float16")


def check(hidden, unembed, tokens, temperature, mask) -> None:
  """Raises ValueError where shapes or dtypes do not fit together."""
  if hidden.ndim != 2 or unembed.ndim != 2 or hidden.shape[1] != unembed.shape[0]:
    hint = "; hidden.reshape(-1, D) makes one axis of rows and time" if hidden.ndim > 2 else ""
    raise ValueError(
      f"linear_logprob needs hidden [N, D] and unembed [D, V]; got {hidden.shape} and {unembed.shape}{hint}"
    )
  if hidden.shape[0] == 0:
    raise ValueError("linear_logprob got no tokens at all: hidden is [0, D]")
  if unembed.size == 0:
    raise ValueError(f"unembed [D, V] must not be empty; got {unembed.shape}")
  if hidden.dtype not in DTYPES:
    raise ValueError(f"hidden is {hidden.dtype}; accepted: {', '.join(DTYPES)}")
  if hidden.dtype != unembed.dtype:
    raise ValueError(f"hidden is {hidden.dtype} and unembed {unembed.dtype}: cast one of them first")
  if tokens.shape != hidden.shape[:1] or not jnp.issubdtype(tokens.dtype, jnp.integer):
    raise ValueError(f"tokens must be integers [N] = {hidden.shape[:1]}; got {tokens.dtype} {tokens.shape}")
  if jnp.shape(temperature) not in ((), tokens.shape):
    raise ValueError(f"temperature must be a scalar or [N] = {tokens.shape}; got {jnp.shape(temperature)}")
  if mask is not None and (mask.shape != tokens.shape or mask.dtype != jnp.bool_):
    raise ValueError(f"mask must be bool [N] = {tokens.shape}; got {mask.dtype} {mask.shape}")
  _check_temperature(temperature, mask)


def _check_temperature(temperature, mask) -> None:
  """Where its values are known: on rows that count it is positive."""
  if isinstance(temperature, jax.core.Tracer) or isinstance(mask, jax.core.Tracer):
    return
  refused = ~(np.asarray(temperature) > 0) & (True if mask is None else np.asarray(mask))
  if np.any(refused):
    least = np.min(np.broadcast_to(temperature, refused.shape)[refused])
    raise ValueError(f"temperature must be positive; got {least}")


def check_range(tokens: jax.Array, mask: jax.Array | None, vocabulary: int) -> None:
  """Refuses tokens outside `[0, vocabulary)`, in debug mode alone.

  Under `jax_debug_nans` where values are known, and under `checkify.checkify` where they are traced.
  """
  outside = (tokens < 0) | (tokens >= vocabulary)
  outside = outside if mask is None else outside & mask
  if isinstance(outside, jax.core.Tracer):
    message = f"linear_logprob: tokens must be in [0, {vocabulary}), of unembed [D, V]"
    checkify.debug_check(~jnp.any(outside), message)
  elif jax.config.jax_debug_nans and np.any(outside):
    first = int(np.argmax(outside))
    raise ValueError(f"tokens[{first}] is {int(tokens[first])}; unembed [D, V] accepts 0 to {vocabulary - 1}")
