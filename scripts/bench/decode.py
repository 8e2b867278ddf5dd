"""Decoding rate of the slot engine against what the matmuls of the same shapes allow on this machine.

  python scripts/bench/decode.py [--slots 1 8 32 128] [--positions 256] [--prompt 160] [--live-step 64]

The bound runs only the weight matmuls of one decode step (all layers, weights apart per layer, and the unembedding).
The engine's row is a whole tick: attention over the live cache, norms, sampling, log-probs and entropy included.
"""

import argparse
import functools
import time

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from agentrl.models import transformer
from agentrl.rollout import engine as slot_engine

SMOLLM2 = transformer.ModelConfig(
  vocab_size=49152, width=576, layers=30, heads=9, kv_heads=3, head_dim=64, ffn=1536, rope_base=100_000.0
)


def seconds(function, *args, repeats=5):
  """Median wall time of a call, after one to compile."""
  jax.block_until_ready(function(*args))
  times = []
  for _ in range(repeats):
    started = time.perf_counter()
    jax.block_until_ready(function(*args))
    times.append(time.perf_counter() - started)
  return float(np.median(times))


def matmul_seconds(params, slots):
  """One decode step's weight matmuls and nothing else."""
  layers = [jax.tree.map(lambda a, i=i: jnp.array(a[i]), params["layers"]) for i in range(SMOLLM2.layers)]

  def step(layers, embed, x):
    for w in layers:
      q, k, v = x @ w["q"], x @ w["k"], x @ w["v"]
      x = x + q @ w["o"] + 0.0 * (jnp.sum(k) + jnp.sum(v))
      x = (x + ((x @ w["gate"]) * (x @ w["up"])) @ w["down"]) * 0.1
    return x @ embed.T

  return seconds(jax.jit(step), layers, params["embed"], jnp.ones((slots, SMOLLM2.width)))


def engine_seconds(params, slots, positions, prompt, live_step, decode_tokens=16):
  """Seconds per decode step of the engine, all slots active, averaged over the ticks from the prompt to the end."""
  sizes = slot_engine.EngineConfig(
    slots=slots, positions=positions, decode_tokens=decode_tokens, feed_tokens=prompt, prefill_tokens=32,
    live_step=live_step,
  )  # fmt: skip
  make = slot_engine.make_tick(SMOLLM2, sizes, np.zeros(SMOLLM2.vocab_size, bool))
  tick = jax.jit(make, donate_argnums=2)
  params = jax.jit(functools.partial(slot_engine.tick_params, model=SMOLLM2))({"policy": params})
  step = functools.partial(tick, params, jax.random.key(1))
  state = jax.jit(lambda: slot_engine.empty_slots(SMOLLM2, sizes))()
  idle = slot_engine.no_commands(sizes)
  uid, limit = np.arange(slots, dtype=np.uint32), np.full(slots, positions, np.int32)
  feed = np.random.default_rng(0).integers(0, SMOLLM2.vocab_size, (slots, prompt)).astype(np.int32)
  fed = np.where(np.arange(slots) == 0, prompt, 0).astype(np.int32)
  state, _ = step(state, idle._replace(feed=feed, feed_count=fed, uid=uid, limit=limit))
  state, _ = step(state, idle._replace(fork_from=np.zeros(slots, np.int32), uid=uid, limit=limit))
  decode = idle._replace(active=np.ones(slots, bool), uid=uid, limit=limit)
  state, events = step(state, decode)
  jax.block_until_ready(events)
  ticks = (positions - prompt) // decode_tokens - 1
  started = time.perf_counter()
  for _ in range(ticks):
    state, events = step(state, decode)
  jax.block_until_ready(events)
  assert int(events.count.sum()) == slots * decode_tokens
  return (time.perf_counter() - started) / (ticks * decode_tokens)


def main():
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--slots", type=int, nargs="+", default=[1, 8, 32, 128])
  parser.add_argument("--positions", type=int, default=256)
  parser.add_argument("--prompt", type=int, default=160)
  parser.add_argument("--live-step", type=int, default=64, help="of positions: attention always reads whole slots")
  arguments = parser.parse_args()
  params = jax.jit(lambda key: transformer.init_params(key, SMOLLM2))(jax.random.key(0))
  table = Table("slots", "matmuls ms/step", "engine ms/step", "matmuls tokens/s", "engine tokens/s", "ratio")
  for slots in arguments.slots:
    bound = matmul_seconds(params, slots)
    ours = engine_seconds(params, slots, arguments.positions, arguments.prompt, arguments.live_step)
    table.add_row(
      str(slots), f"{bound * 1e3:.1f}", f"{ours * 1e3:.1f}", f"{slots / bound:.0f}", f"{slots / ours:.0f}",
      f"{bound / ours:.2f}",
    )  # fmt: skip
  device = jax.devices()[0]
  Console().print(f"SmolLM2-135M shapes, fp32, JAX {jax.__version__}, {device.platform} {device.device_kind}")
  Console().print(table)


if __name__ == "__main__":
  main()
