"""Whether slots that were forked from one prompt should read its keys and values once for all of them: a prototype.

  python scripts/bench/shared_prefix.py [--slots 64] [--groups 8 64] [--lengths 160 32 512 64]

Measured, here: attention of one layer of SmolLM2's shapes, in plain XLA, over `prefix + own` positions of every slot
(what the engine does), and the same with the prefix read once per group and the parts joined by their sums. The whole
decode step is measured too, so that the last column says what sharing in all layers would make of it.

Computed, for a GPU whose decode step takes as long as reading takes: bytes of a step of Qwen3-4B, bf16, 128 slots.
"""

import argparse
import functools

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table
from timing import interleaved

from agentrl.models import transformer
from agentrl.ops.attention.cache import cache_attention

SMOLLM2 = transformer.ModelConfig(
  vocab_size=49152, width=576, layers=30, heads=9, kv_heads=3, head_dim=64, ffn=1536, rope_base=100_000.0
)
QWEN3_4B = {"weights": 4.02e9 * 2, "position": 36 * 8 * 128 * 2 * 2}  # bytes


def part(q, k, v):
  """Attention without the last division: weighted values, and maximum and sum of the weights.

  q `[B, K, M, C]`, k `[B, K, C, S]`, v `[B, K, S, C]`; all positions are seen.
  """
  scores = jnp.einsum("bkmc,bkcs->bkms", q, k, preferred_element_type=jnp.float32) * q.shape[-1] ** -0.5
  peak = jnp.max(scores, axis=-1, keepdims=True)
  weights = jnp.exp(scores - peak)
  return jnp.einsum("bkms,bksc->bkmc", weights, v), peak, jnp.sum(weights, axis=-1, keepdims=True)


def shared(q, prefix_k, prefix_v, own_k, own_v, *, group):
  """Prefixes lie once per group, what follows lies per slot: nothing is sliced, which is the best case."""
  slots, _, heads, channels = q.shape
  kv_heads = own_k.shape[1]
  own_q = q.reshape(slots, kv_heads, -1, channels)
  group_q = own_q.reshape(-1, group, kv_heads, heads // kv_heads, channels).swapaxes(1, 2)
  parts = part(group_q.reshape(-1, kv_heads, group * (heads // kv_heads), channels), prefix_k, prefix_v)
  parts = [a.reshape(-1, kv_heads, group, heads // kv_heads, a.shape[-1]).swapaxes(1, 2) for a in parts]
  mixed, peak, total = (a.reshape(slots, kv_heads, -1, a.shape[-1]) for a in parts)
  own_mixed, own_peak, own_total = part(own_q, own_k, own_v)
  higher = jnp.maximum(peak, own_peak)
  shrink, own_shrink = jnp.exp(peak - higher), jnp.exp(own_peak - higher)
  out = (mixed * shrink + own_mixed * own_shrink) / (total * shrink + own_total * own_shrink)
  return out.reshape(q.shape)


def measure(params, slots, group, prefix, own):
  """Milliseconds of a layer's attention, apart and shared, and of a whole decode step."""
  length = prefix + own
  keys = jax.random.split(jax.random.key(0), 3)
  k = jax.random.normal(keys[0], (slots // group, 1, SMOLLM2.kv_heads, SMOLLM2.head_dim, length))
  k = jnp.broadcast_to(k, (slots // group, group, *k.shape[2:])).reshape(slots, *k.shape[2:])
  v = k.swapaxes(2, 3)
  q = jax.random.normal(keys[2], (slots, 1, SMOLLM2.heads, SMOLLM2.head_dim))
  at = jnp.full((slots, 1), length - 1)
  apart, once = jax.jit(cache_attention), jax.jit(functools.partial(shared, group=group))
  split = k[::group, ..., :prefix] + 0, v[::group, :, :prefix] + 0, k[..., prefix:] + 0, v[:, :, prefix:] + 0
  np.testing.assert_allclose(apart(q, k, v, at), once(q, *split), atol=1e-5)
  cache = transformer.empty_cache(SMOLLM2, slots, length)
  step = jax.jit(functools.partial(transformer.decode_step, config=SMOLLM2, live_lengths=(length,)), donate_argnums=1)
  state = [cache]

  def whole_step():
    hidden, state[0] = step(params, state[0], at[:, 0], at[:, 0], jnp.ones(slots, bool), jnp.int32(0))
    return hidden @ params.unembed.T

  return 1e3 * interleaved([lambda: apart(q, k, v, at), lambda: once(q, *split), whole_step], repeats=9)


def main():
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--slots", type=int, default=64)
  parser.add_argument("--groups", type=int, nargs="+", default=[8, 64])
  parser.add_argument("--lengths", type=int, nargs="+", default=[160, 32, 480, 32, 160, 352], help="prefix own ...")
  options = parser.parse_args()
  params = jax.jit(lambda key: transformer.decoding_weights(transformer.init_params(key, SMOLLM2), SMOLLM2))
  params = params(jax.random.key(0))
  table = Table("prefix", "own", "G", "apart ms", "shared ms", "ratio", "decode step ms", "step, apart / shared")
  for prefix, own in zip(options.lengths[::2], options.lengths[1::2], strict=True):
    for group in options.groups:
      apart, once, step = measure(params, options.slots, group, prefix, own)
      gain = step / (step - SMOLLM2.layers * (apart - once))
      table.add_row(
        str(prefix), str(own), str(group), f"{apart:.2f}", f"{once:.2f}", f"{apart / once:.2f}", f"{step:.0f}",
        f"{gain:.2f}",
      )  # fmt: skip
  Console().print(f"SmolLM2-135M shapes, fp32, {options.slots} slots, {jax.devices()[0].device_kind}")
  Console().print(table)
  model = Table("prefix", "own", "G", "GB apart", "GB shared", "apart / shared")
  for prefix, own in ((512, 512), (512, 2048), (2048, 512), (2048, 2048), (8192, 2048)):
    for group in (8, 64):
      apart, once = (
        (QWEN3_4B["weights"] + QWEN3_4B["position"] * positions) / 1e9
        for positions in (128 * (prefix + own), 128 // group * prefix + 128 * own)
      )
      model.add_row(str(prefix), str(own), str(group), f"{apart:.1f}", f"{once:.1f}", f"{apart / once:.2f}")
  Console().print("Bytes of a decode step, Qwen3-4B, bf16, 128 slots: computed, not measured")
  Console().print(model)


if __name__ == "__main__":
  main()
