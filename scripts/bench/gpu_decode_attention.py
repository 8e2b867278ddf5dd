"""Decoding attention on an NVIDIA GPU against the copy bandwidth measured in the same run.

  python scripts/bench/gpu_decode_attention.py [--slots 128] [--positions 2048 8192 32768] [--heads 32 8 128]

A slot's length is drawn from 1 to half of its positions, so that the mean is a quarter ("uniform"), or all are a
quarter ("equal"), or one slot is full and the others share what is left of the same sum ("one long"). What counts as
read is the live keys and values (and scales), once. Every kernel is compared with the reference first, and with itself
among slots of other lengths, bit by bit. Meant to take under two minutes on an H200.
"""

import argparse
import functools
import time

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from agentrl.ops import triton_call
from agentrl.ops.attention import cache as cache_ops
from agentrl.ops.attention.cache import store

TOLERANCE = 2e-2  # bf16 results of order 1


def seconds(function, *arguments, repeats):
  """Wall time of one of `repeats` calls in a row, the best of three rows; compiled before."""
  jax.block_until_ready(function(*arguments))
  best = np.inf
  for _ in range(3):
    started = time.perf_counter()
    for _ in range(repeats):
      out = function(*arguments)
    jax.block_until_ready(out)
    best = min(best, (time.perf_counter() - started) / repeats)
  return best


def copy_bandwidth():
  """Bytes per second read and written by `x + 1` over 4 GiB."""
  x = jnp.zeros((2**30,), jnp.float32)
  return 2 * x.nbytes / seconds(jax.jit(lambda x: x + 1), x, repeats=10)


@functools.partial(jax.jit, static_argnames=("slots", "kv_heads", "channels", "positions", "dtype"))
def filled_cache(key, *, slots, kv_heads, channels, positions, dtype):
  """A cache of random numbers, made in place."""

  def fill(i, a):
    numbers = jax.random.normal(jax.random.fold_in(key, i), (1, *a.shape[1:]), jnp.float32)
    if a.dtype == jnp.int8:
      numbers = jnp.clip(jnp.round(numbers * 40), -127, 127)
    if a.ndim == 3:
      numbers = jnp.full_like(numbers, 1 / 40)
    return jax.lax.dynamic_update_slice_in_dim(a, numbers.astype(a.dtype), i, axis=0)

  empty = store.empty(slots, kv_heads, channels, positions, dtype)
  return jax.tree.map(lambda a: jax.lax.fori_loop(0, slots, fill, a), empty)


def lengths_of(kind, slots, positions):
  """int64 `[B]`, a quarter of `positions` in the mean."""
  quarter = positions // 4
  if kind == "uniform":
    return np.random.default_rng(0).integers(1, positions // 2 + 1, slots)
  if kind == "equal":
    return np.full(slots, quarter)
  return np.array([positions] + [(slots * quarter - positions) // (slots - 1)] * (slots - 1))


@functools.cache
def attend(implementation, positions):
  """Attention over the first positions of every slot, compiled."""

  def read(q, cache, at):
    return cache_ops.cache_attention(q, *store.first_positions(cache, positions), at, implementation=implementation)

  return jax.jit(read)


@functools.cache
def repeated(implementation, positions, repeats):
  """The same several times in one program, each fed by the last, so that launching from Python costs nothing."""
  read = attend(implementation, positions)
  return jax.jit(lambda q, cache, at: jax.lax.fori_loop(0, repeats, lambda _, x: q + 0 * read(x, cache, at), q))


def check(q, cache, at):
  """The first slots against the reference, and alone against among the others."""
  first = slice(0, 4)
  few = jax.tree.map(lambda a: a[first], (q, cache, at))
  ours = attend("triton", positions_of(cache))
  among = np.asarray(ours(q, cache, at), np.float32)[first]
  error = np.max(np.abs(among - np.asarray(attend("reference", positions_of(cache))(*few), np.float32)))
  assert error < TOLERANCE, error
  np.testing.assert_array_equal(np.asarray(ours(*few), np.float32), among)
  return error


def positions_of(cache):
  """Positions of a slot."""
  return jax.tree.leaves(cache.v)[0].shape[2]


def main():
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--slots", type=int, default=128)
  parser.add_argument("--positions", type=int, nargs="+", default=[2048, 8192, 32768])
  parser.add_argument("--heads", type=int, nargs=3, default=[32, 8, 128], metavar=("H", "K", "C"))
  parser.add_argument("--repeats", type=int, default=20)
  options = parser.parse_args()
  triton_call.require("scripts/bench/gpu_decode_attention.py")
  heads, kv_heads, channels = options.heads
  copy = copy_bandwidth()
  table = Table("positions", "cache", "lengths", "error", "XLA us", "triton us", "XLA / triton", "GB/s", "of copy")
  for positions in options.positions:
    for dtype in ("bfloat16", "int8"):
      cache = filled_cache(
        jax.random.key(0), slots=options.slots, kv_heads=kv_heads, channels=channels, positions=positions, dtype=dtype
      )
      q = jax.random.normal(jax.random.key(1), (options.slots, 1, heads, channels), jnp.bfloat16)
      for kind in ("uniform", "equal", "one long"):
        lengths = lengths_of(kind, options.slots, positions)
        at = jnp.asarray(lengths - 1, jnp.int32)[:, None]
        error = check(q, cache, at)
        live = -(-int(lengths.max()) // 64) * 64
        xla, ours = (
          seconds(repeated(name, length, options.repeats), q, cache, at, repeats=1) / options.repeats
          for name, length in (("xla", live), ("triton", positions))
        )
        per_position = sum(a.nbytes for a in jax.tree.leaves(cache)) / options.slots / positions
        rate = lengths.sum() * per_position / ours
        table.add_row(
          str(positions), dtype, kind, f"{error:.0e}", f"{xla * 1e6:.0f}", f"{ours * 1e6:.0f}", f"{xla / ours:.2f}",
          f"{rate / 1e9:.0f}", f"{rate / copy:.2f}",
        )  # fmt: skip
      del cache
  Console().print(f"{options.slots} slots, H K C = {options.heads}, bf16 queries; {jax.devices()[0].device_kind}")
  Console().print(f"copy bandwidth {copy / 1e9:.0f} GB/s")
  Console(width=110).print(table)


if __name__ == "__main__":
  main()
