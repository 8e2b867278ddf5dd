"""Whether slots that were forked from one prompt should read its keys and values once for all of them: two prototypes.

  python scripts/bench/shared_prefix.py [--slots 64] [--groups 8 64] [--lengths 192 64 448 64]

Measured, here: attention of one layer of SmolLM2's shapes, in plain XLA, over `prefix + own` positions of every slot
(what the engine does), and the same with the prefix read once per group and the parts joined by their sums. Prefixes
and what follows them lie in arrays of their own: cutting them out of the slots is not timed. "Best" has whole groups in
neighbouring slots. "Blocks" is what an engine could do, as slots of a group lie anywhere and some of them have ended: 8
queries read one prefix, and there are a quarter as many blocks of 8 as slots, padding among them. The whole decode step
is measured too, so that the last columns say what sharing in all layers would make of it.

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
from agentrl.ops.attention.cache import BLOCK, cache_attention

SMOLLM2 = transformer.ModelConfig(
  vocab_size=49152, width=576, layers=30, heads=9, kv_heads=3, head_dim=64, ffn=1536, rope_base=100_000.0
)
TOGETHER = 8  # slots whose queries read one prefix as a block
QWEN3_4B = {"weights": 4.02e9 * 2, "position": 36 * 8 * 128 * 2 * 2}  # bytes


def part(q, k, v):
  """Attention without the last division: weighted values, and maximum and sum of the weights.

  q `[B, K, M, C]`, k `[B, K, S / T, C, T]`, v `[B, K, S, C]`; all positions are seen.
  """
  blocks = k.shape[2]
  queries = jnp.broadcast_to(q[:, :, None], (*q.shape[:2], blocks, *q.shape[2:]))
  scores = jnp.einsum("bknmc,bkncs->bknms", queries, k) * q.shape[-1] ** -0.5
  peak = jnp.max(scores, axis=(2, 4), keepdims=True)
  weights = jnp.exp(scores - peak)
  values = v.reshape(*v.shape[:2], blocks, -1, v.shape[3])
  mixed = jnp.sum(jnp.einsum("bknms,bknsc->bknmc", weights, values), axis=2)
  return mixed, peak[:, :, 0], jnp.sum(jnp.sum(weights, axis=-1), axis=2)[..., None]


def shared(q, prefix_k, prefix_v, own_k, own_v, *, group):
  """Prefixes lie once per group, what follows lies per slot: nothing is sliced, which is the best case."""
  slots, _, heads, channels = q.shape
  kv_heads = own_k.shape[1]
  own_q = q.reshape(slots, kv_heads, -1, channels)
  group_q = own_q.reshape(-1, group, kv_heads, heads // kv_heads, channels).swapaxes(1, 2)
  parts = part(group_q.reshape(-1, kv_heads, group * (heads // kv_heads), channels), prefix_k, prefix_v)
  parts = [a.reshape(-1, kv_heads, group, heads // kv_heads, a.shape[-1]).swapaxes(1, 2) for a in parts]
  mixed, peak, total = (a.reshape(slots, kv_heads, -1, a.shape[-1]) for a in parts)
  return joined((mixed, peak, total), part(own_q, own_k, own_v)).reshape(q.shape)


def in_blocks(q, prefix_k, prefix_v, own_k, own_v, rows, block, lane):
  """Prefixes lie once per block; `rows [N, 8]` are its slots, `block, lane [B]` where a slot is among them."""
  slots, kv_heads, channels = q.shape[0], own_k.shape[1], q.shape[3]
  own_q = q.reshape(slots, kv_heads, -1, channels)
  block_q = own_q[rows].swapaxes(1, 2).reshape(rows.shape[0], kv_heads, -1, channels)
  parts = (a.reshape(*a.shape[:2], TOGETHER, -1, a.shape[-1]) for a in part(block_q, prefix_k, prefix_v))
  mixed, peak, total = (a[block, :, lane] for a in parts)
  return joined((mixed, peak, total), part(own_q, own_k, own_v)).reshape(q.shape)


def joined(one, other):
  """Attention over two pieces, from the parts of both."""
  (mixed, peak, total), (own_mixed, own_peak, own_total) = one, other
  higher = jnp.maximum(peak, own_peak)
  shrink, own_shrink = jnp.exp(peak - higher), jnp.exp(own_peak - higher)
  return (mixed * shrink + own_mixed * own_shrink) / (total * shrink + own_total * own_shrink)


def blocks_of(slots, group, blocks):
  """Slots, block and lane as `in_blocks` takes them: groups lie anywhere, and fill a quarter of the slots' number."""
  rows = np.zeros((blocks, TOGETHER), np.int32)
  block, lane = np.zeros(slots, np.int32), np.zeros(slots, np.int32)
  order = np.random.default_rng(0).permutation(slots)
  taken = 0
  for start in range(0, slots, group):
    for piece in range(start, min(start + group, slots), TOGETHER):
      members = order[piece : piece + TOGETHER]
      rows[taken, : len(members)] = members
      block[members], lane[members] = taken, np.arange(len(members))
      taken += 1
  return rows, block, lane, order


def measure(params, slots, group, prefix, own):
  """Milliseconds of a layer's attention, apart, shared in both ways, and of a whole decode step."""
  length = prefix + own
  keys = jax.random.split(jax.random.key(0), 3)
  sizes = slots // group, 1, SMOLLM2.kv_heads
  k = jax.random.normal(keys[0], (*sizes, length // BLOCK, SMOLLM2.head_dim, BLOCK))
  v = jax.random.normal(keys[1], (*sizes, length, SMOLLM2.head_dim))
  k, v = (jnp.broadcast_to(a, (a.shape[0], group, *a.shape[2:])).reshape(slots, *a.shape[2:]) for a in (k, v))
  q = jax.random.normal(keys[2], (slots, 1, SMOLLM2.heads, SMOLLM2.head_dim))
  at = jnp.full((slots, 1), length - 1)
  compiled = jax.jit(cache_attention)
  apart = functools.partial(compiled, q, k, v, at)
  once = functools.partial(
    jax.jit(functools.partial(shared, group=group)), q, *cut(k[::group], v[::group], k, v, prefix)
  )
  np.testing.assert_allclose(apart(), once(), atol=1e-5)
  rows, block, lane, order = blocks_of(slots, group, slots // 4)
  where = np.argsort(order)  # slot b holds what `order` says: any group's
  q, k, v = q[where], k[where], v[where]
  pieces = cut(k[rows[:, 0]], v[rows[:, 0]], k, v, prefix)
  blocks = functools.partial(jax.jit(in_blocks), q, *pieces, jnp.asarray(rows), jnp.asarray(block), jnp.asarray(lane))
  np.testing.assert_allclose(compiled(q, k, v, at), blocks(), atol=1e-5)
  step = functools.partial(transformer.decode_step, config=SMOLLM2, live_lengths=(length,))
  step, state = jax.jit(step, donate_argnums=1), [transformer.empty_cache(SMOLLM2, slots, length)]

  def whole_step():
    hidden, state[0] = step(params, state[0], at[:, 0], at[:, 0], jnp.ones(slots, bool), jnp.int32(0))
    return hidden @ params.unembed.T

  return 1e3 * interleaved([apart, once, blocks, whole_step], repeats=9)


def cut(prefix_k, prefix_v, k, v, prefix):
  """Keys and values of prefixes, and of what follows them, in arrays of their own."""
  blocks = prefix // BLOCK
  return tuple(a + 0 for a in (prefix_k[:, :, :blocks], prefix_v[:, :, :prefix], k[:, :, blocks:], v[:, :, prefix:]))


def main():
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--slots", type=int, default=64)
  parser.add_argument("--groups", type=int, nargs="+", default=[8, 64])
  parser.add_argument(
    "--lengths", type=int, nargs="+", default=[192, 64, 448, 64, 192, 320], help="prefix own ..., whole blocks"
  )
  options = parser.parse_args()
  params = jax.jit(lambda key: transformer.decoding_weights(transformer.init_params(key, SMOLLM2), SMOLLM2))
  params = params(jax.random.key(0))
  table = Table("prefix", "own", "G", "apart ms", "best ms", "blocks ms", "step ms", "step / best", "step / blocks")
  for prefix, own in zip(options.lengths[::2], options.lengths[1::2], strict=True):
    for group in options.groups:
      apart, *forms, step = measure(params, options.slots, group, prefix, own)
      gains = [step / (step - SMOLLM2.layers * (apart - form)) for form in forms]
      times = [f"{t:.2f}" for t in (apart, *forms)]
      table.add_row(str(prefix), str(own), str(group), *times, f"{step:.0f}", *(f"{gain:.2f}" for gain in gains))
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
