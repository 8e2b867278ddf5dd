"""Times implementations and tiles of `linear_logprob` on this device, and writes the table that `None` chooses by.

    python scripts/bench/tune_linear_logprob.py             # prints what it finds
    python scripts/bench/tune_linear_logprob.py --write     # and puts it in agentrl/ops/linear_logprob/table.py

For each shape class: forward and backward of both results, the candidates taking turns. A kernel that fails or differs
from "chunked" is left out, with what it said. Run it on an otherwise idle device; entries of other devices stay.
"""

import argparse
import pathlib
import pprint
import time

import jax
import jax.numpy as jnp

from agentrl.ops.linear_logprob import available, table
from agentrl.ops.linear_logprob.backends import load
from agentrl.ops.linear_logprob.choose import shape_class
from agentrl.ops.linear_logprob.differentiable import Rows, Tile, statistics
from agentrl.ops.linear_logprob.specs import Spec

# On a CPU a part of the vocabulary tells as much as all of it.
CPU_SPECS = [Spec(2048, 576, 8192)]
CPU_TILES = [(512, 2048), (1024, 1024), (1024, 2048), (2048, 2048), (512, 4096)]
ACCELERATOR_SPECS = [Spec(n, d, 151_936) for d in (1024, 4096) for n in (8192, 65_536)]
ACCELERATOR_TILES = [(4096, 8192), (8192, 8192), (4096, 16_384), (16_384, 8192)]
HEADER = table.__doc__


def step(name, tile):
  """Compiled statistics and gradients."""
  implementation = load(name)

  def loss(hidden, rows, tokens):
    scale = jnp.ones(tokens.shape, jnp.float32)
    out = statistics(implementation, Tile(*tile), Rows(hidden, tokens, scale, tokens.shape[0]), rows)
    return jnp.sum(out.taken - out.logsumexp) + jnp.sum(out.entropy)

  return jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))


def timed(spec, dtype, tiles, repeats):
  """`{(implementation, tile): least wall seconds}`, fastest first."""
  keys = jax.random.split(jax.random.key(0), 3)
  hidden = jax.random.normal(keys[0], (spec.tokens, spec.width), dtype)
  rows = jax.random.normal(keys[1], (spec.vocabulary, spec.width), dtype) * jnp.asarray(spec.width**-0.5, dtype)
  tokens = jax.random.randint(keys[2], (spec.tokens,), 0, spec.vocabulary)
  steps, best, value = {}, {}, None
  for name in available():
    for tile in tiles if name != "reference" else []:
      candidate = step(name, tile)
      try:
        loss = float(jax.block_until_ready(candidate(hidden, rows, tokens))[0])
      except Exception as error:
        print(f"{name} {tile}: {error}")
        continue
      value = loss if value is None else value
      if abs(loss - value) > 1e-3 * abs(value):
        print(f"{name} {tile}: gives {loss}, not {value}")
        continue
      steps[name, tile], best[name, tile] = candidate, float("inf")
  for _ in range(repeats):
    for key, candidate in steps.items():
      start = time.perf_counter()
      jax.block_until_ready(candidate(hidden, rows, tokens))
      best[key] = min(best[key], time.perf_counter() - start)
  return dict(sorted(best.items(), key=lambda item: item[1]))


def main():
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--write", action="store_true")
  parser.add_argument("--repeats", type=int, default=5)
  args = parser.parse_args()
  device = jax.devices()[0]
  cpu = device.platform == "cpu"
  found = {}
  for spec in CPU_SPECS if cpu else ACCELERATOR_SPECS:
    best = timed(spec, jnp.float32 if cpu else jnp.bfloat16, CPU_TILES if cpu else ACCELERATOR_TILES, args.repeats)
    entry = found[device.device_kind, shape_class(spec.tokens, spec.width)] = {}
    for (name, tile), seconds in best.items():
      print(f"{device.device_kind} {spec} {name} {tile}: {seconds:.4f} s")
      entry.setdefault(name, tile)
  if args.write:
    text = pprint.pformat(table.TABLE | found, indent=2, width=110, sort_dicts=False)
    pathlib.Path(table.__file__).write_text(f'"""{HEADER}"""\n\nTABLE = {text}\n')
    print(f"wrote {table.__file__}; run ruff format over it")


if __name__ == "__main__":
  main()
