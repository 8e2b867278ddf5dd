"""Attention of one token per slot over the slot cache: time by how much of it is read and how it is stored.

  python scripts/bench/decode_attention.py [--slots 32] [--positions 512 2048] [--heads 9 3 64]

The lengths of the slots are drawn from 1 to half of a slot, a quarter in the mean. The baseline reads the whole slots
from an fp32 cache; "live" reads up to the longest slot, as the engine does, rounded up to 64 positions. Where it runs,
"triton" reads what each slot needs. Results are compared with the reference first; times are medians of interleaved
calls. Meant for CPUs: `gpu_decode_attention.py` compares with the bandwidth of a GPU.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table
from timing import interleaved

from agentrl.ops.attention import cache as cache_ops
from agentrl.ops.attention.cache import store


def filled_cache(rng, slots, kv_heads, channels, positions, dtype):
  """A cache of random numbers."""
  shape = (slots, positions, kv_heads, channels)
  k, v = (jnp.asarray(rng.normal(size=shape), jnp.float32) for _ in range(2))
  everywhere = jnp.broadcast_to(jnp.arange(positions), (slots, positions))
  empty = store.empty(slots, kv_heads, channels, positions, dtype)
  return jax.jit(store.write)(empty, jnp.arange(slots)[:, None], everywhere, k, v)


def attend(length, implementation):
  """Attention over the first positions of every slot, compiled."""

  def read(q, cache, at):
    return cache_ops.cache_attention(q, *store.first_positions(cache, length), at, implementation=implementation)

  return jax.jit(read)


def measure(options, positions):
  """One row per way of reading: name, MiB of the cache, milliseconds, largest difference from the reference."""
  heads, kv_heads, channels = options.heads
  rng = np.random.default_rng(0)
  q = jnp.asarray(rng.normal(size=(options.slots, 1, heads, channels)), jnp.float32)
  at = jnp.asarray(rng.integers(0, positions // 2, (options.slots, 1)), jnp.int32)
  live = -(-(int(at.max()) + 1) // 64) * 64
  ways = [("whole slots", "float32", positions, "xla")]
  ways += [(f"live, {dtype}", dtype, live, "xla") for dtype in cache_ops.CACHE_DTYPES]
  if jax.default_backend() == "gpu":
    ways += [(f"triton, {dtype}", dtype, positions, "triton") for dtype in cache_ops.CACHE_DTYPES]
  rows, calls, wanted = [], [], None
  for name, dtype, length, implementation in ways:
    cache = filled_cache(np.random.default_rng(1), options.slots, kv_heads, channels, positions, dtype)
    function = attend(length, implementation)
    wanted = attend(positions, "reference")(q, cache, at) if wanted is None else wanted
    error = float(jnp.max(jnp.abs(function(q, cache, at) - wanted)))
    assert error < (1e-4 if dtype == "float32" else 0.05), (name, error)
    rows.append((name, sum(a.nbytes for a in jax.tree.leaves(cache)) / 2**20, error))
    calls.append(lambda function=function, cache=cache: function(q, cache, at))
  seconds = interleaved(calls, options.repeats)
  return [(name, mib, ms * 1e3, error) for (name, mib, error), ms in zip(rows, seconds, strict=True)]


def main():
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--slots", type=int, default=32)
  parser.add_argument("--positions", type=int, nargs="+", default=[512, 2048])
  parser.add_argument("--heads", type=int, nargs=3, default=[9, 3, 64], metavar=("H", "K", "C"))
  parser.add_argument("--repeats", type=int, default=15)
  options = parser.parse_args()
  table = Table("positions", "read", "MiB of a layer", "ms", "against whole slots", "largest difference")
  for positions in options.positions:
    rows = measure(options, positions)
    for name, mib, ms, error in rows:
      table.add_row(str(positions), name, f"{mib:.1f}", f"{ms:.2f}", f"{ms / rows[0][2]:.2f}", f"{error:.1e}")
  device = jax.devices()[0]
  Console().print(f"{options.slots} slots, H K C = {options.heads}; JAX {jax.__version__}, {device.device_kind}")
  Console().print(table)


if __name__ == "__main__":
  main()
