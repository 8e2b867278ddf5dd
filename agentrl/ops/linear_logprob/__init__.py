"""Log-probabilities of taken tokens, and entropies, from hidden states, without `[N, V]` logits."""

import jax
import jax.numpy as jnp

from agentrl.ops.linear_logprob.backends import IMPLEMENTATIONS, available
from agentrl.ops.linear_logprob.check import check, check_range
from agentrl.ops.linear_logprob.compute import LinearLogprob, compute
from agentrl.ops.linear_logprob.sharded import sharded_linear_logprob

__all__ = ["IMPLEMENTATIONS", "LinearLogprob", "available", "linear_logprob", "sharded_linear_logprob"]


def linear_logprob(
  hidden: jax.Array,
  unembed: jax.Array,
  tokens: jax.Array,
  *,
  temperature: jax.Array | float = 1.0,
  mask: jax.Array | None = None,
  with_logsumexp: bool = False,
  implementation: str | None = None,
) -> LinearLogprob:
  """`logp = z[token] - logsumexp(z)` and `entropy = -sum p log p`, with `z = hidden @ unembed / temperature`.

  All results have gradients in `hidden` and `unembed`, of first order and in reverse mode; products accumulate in fp32
  whatever the input dtype. In a `jax.shard_map` of your own it needs `check_vma=False`, and jit around.
  Tokens that lie on several devices under automatic partitioning are moved between them, which changes no result: use
  `sharded_linear_logprob`, in which they stay.

  Args:
    hidden: `[N, D]`, final hidden states, of action tokens alone.
    unembed: `[D, V]`; tied embeddings come as `embed.T`, which is read in place; any other is copied once, transposed.
    tokens: int `[N]`, in `[0, V)`; any other, unmasked, gives a `logp` of NaN (its gradient is finite and means
      nothing), and under `jax_debug_nans` an error.
    temperature: scalar or `[N]`, positive; a constant.
    mask: bool `[N]`, False on padding: 0 in all results and no gradient, whatever `hidden` holds there. Padding is
      not computed: outside jit it is dropped, and under jit tokens are sorted and tiles of nothing else skipped.
    with_logsumexp: gives the third result.
    implementation: "reference" holds `[N, V]` logits; "chunked" a tile of them at a time, on every platform; "triton"
      and "pallas" are kernels for NVIDIA GPUs and for TPUs, which have not run on one yet: their numbers are tested in
      interpreters. None takes the fastest that was recorded on this kind of device, else "chunked"; tiles come from
      the same table, `table.py`, which `scripts/bench/tune_linear_logprob.py --write` extends.

  Returns:
    `LinearLogprob`.

  Raises:
    ValueError: shapes or dtypes do not fit together, or the implementation is unknown, not for this device, or in need
      of a package that is not installed.
  """
  check(hidden, unembed, tokens, temperature, mask)
  check_range(tokens, mask, unembed.shape[1])
  mask = None if mask is None else jnp.asarray(mask)
  return compute(
    hidden,
    unembed.T,
    tokens,
    temperature,
    mask,
    with_logsumexp=with_logsumexp,
    implementation=implementation,
  )
