"""Times implementations and tiles of `linear_logprob` on this device, and writes the table that `None` chooses by.

    python scripts/bench/tune_linear_logprob.py             # prints what it finds
    python scripts/bench/tune_linear_logprob.py --write     # and puts it in agentrl/ops/linear_logprob/backends.py
    python scripts/bench/tune_linear_logprob.py --shapes 4096,896,151936 --tiles 1024,2048 2048,4096

For each shape class: forward and backward of both results, the candidates taking turns. One that fails, or whose loss
or gradients differ from those of "chunked", is left out, with what it said. Run it on an otherwise idle device; entries
of other devices and of other shape classes stay.
"""

import argparse
import ast
import itertools
import pathlib
import pprint
import time

import jax
import jax.numpy as jnp

from agentrl.ops.linear_logprob import available, backends
from agentrl.ops.linear_logprob.backends import DEFAULT, TABLE, load, shape_class
from agentrl.ops.linear_logprob.differentiable import Rows, Tile, statistics
from agentrl.ops.linear_logprob.specs import Spec

LIMITS = 1e-3, 2e-2, 2e-2  # of differences in the loss and the two gradients, each relative to its largest entry
# On a CPU a part of the vocabulary tells as much as all of it.
CPU_SPECS = [Spec(2048, 576, 8192)]
CPU_TILES = [(512, 2048), (1024, 1024), (1024, 2048), (2048, 2048), (512, 4096)]
ACCELERATOR_SPECS = [Spec(n, d, 151_936) for d in (1024, 4096) for n in (8192, 65_536)]
ACCELERATOR_TILES = [(4096, 8192), (8192, 8192), (4096, 16_384), (16_384, 8192)]


def step(name, tile):
  """Compiled statistics and gradients."""
  implementation = load(name)

  def loss(hidden, rows, tokens):
    scale = jnp.ones(tokens.shape, jnp.float32)
    out = statistics(implementation, Tile(*tile), Rows(hidden, tokens, scale, tokens.shape[0]), rows)
    return jnp.sum(out.taken - out.logsumexp) + jnp.sum(out.entropy)

  return jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))


@jax.jit
def differences(value, other):
  """The largest of the loss and of each gradient, over the largest entry of the other."""
  pairs = zip(jax.tree.leaves(value), jax.tree.leaves(other), strict=True)
  return [jnp.max(jnp.abs(jnp.float32(x) - jnp.float32(y))) / jnp.max(jnp.abs(jnp.float32(y))) for x, y in pairs]


def numbers(names):
  """A parser of "1,2,3" for an option."""

  def parse(text):
    parts = text.split(",")
    if len(parts) != len(names) or not all(part.isdecimal() and int(part) > 0 for part in parts):
      raise argparse.ArgumentTypeError(f"{text!r} is not {','.join(names)}: positive integers with commas between")
    return tuple(map(int, parts))

  return parse


def timed(spec, dtype, tiles, repeats):
  """`{(implementation, tile): least wall seconds}`, fastest first."""
  keys = jax.random.split(jax.random.key(0), 3)
  hidden = jax.random.normal(keys[0], (spec.tokens, spec.width), dtype)
  rows = jax.random.normal(keys[1], (spec.vocabulary, spec.width), dtype) * jnp.asarray(spec.width**-0.5, dtype)
  tokens = jax.random.randint(keys[2], (spec.tokens,), 0, spec.vocabulary)
  steps, best, first = {}, {}, None
  kernels = [name for name in available() if name not in ("reference", DEFAULT)]
  for name, tile in itertools.product([DEFAULT, *kernels], tiles):
    if name != DEFAULT and first is None:
      break
    candidate = step(name, tile)
    try:
      value = jax.block_until_ready(candidate(hidden, rows, tokens))
    except Exception as error:
      print(f"{name} {tile}: {error}")
      continue
    first = value if first is None else first
    errors = [float(x) for x in differences(value, first)]
    if not all(error <= limit for error, limit in zip(errors, LIMITS, strict=True)):
      shown = ", ".join(f"{error:.1e}" for error in errors)
      print(f"{name} {tile}: loss and gradients of hidden states and unembedding differ by {shown}")
      continue
    steps[name, tile], best[name, tile] = candidate, float("inf")
  if not steps:
    raise SystemExit(f"{spec}: no tile of {DEFAULT!r} ran, so there is nothing to compare with, and nothing is written")
  for _ in range(repeats):
    for key, candidate in steps.items():
      start = time.perf_counter()
      jax.block_until_ready(candidate(hidden, rows, tokens))
      best[key] = min(best[key], time.perf_counter() - start)
  return dict(sorted(best.items(), key=lambda item: item[1]))


def write(found):
  """Puts a table in the place of the one in the source."""
  file = pathlib.Path(backends.__file__)
  lines = file.read_text().splitlines(keepends=True)
  (old,) = (node for node in ast.parse("".join(lines)).body if ast.unparse(node).startswith("TABLE = "))
  text = pprint.pformat(found, indent=2, width=110, sort_dicts=False)
  file.write_text("".join([*lines[: old.lineno - 1], f"TABLE = {text}\n", *lines[old.end_lineno :]]))


def main():
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--write", action="store_true")
  parser.add_argument("--repeats", type=int, default=5)
  parser.add_argument("--shapes", nargs="+", type=numbers(("T", "D", "V")), help="in place of the usual ones")
  parser.add_argument("--tiles", nargs="+", type=numbers(("ROWS", "COLUMNS")), help="in place of the usual ones")
  args = parser.parse_args()
  device = jax.devices()[0]
  cpu = device.platform == "cpu"
  specs = [Spec(*shape) for shape in args.shapes or (CPU_SPECS if cpu else ACCELERATOR_SPECS)]
  classes = [shape_class(spec.tokens, spec.width) for spec in specs]
  if args.write and len(set(classes)) < len(classes):
    parser.error(f"--write takes one shape of each class; these are of {'; '.join(classes)}")
  tiles = args.tiles or (CPU_TILES if cpu else ACCELERATOR_TILES)
  found = {}
  for spec in specs:
    best = timed(spec, jnp.float32 if cpu else jnp.bfloat16, tiles, args.repeats)
    entry = found[device.device_kind, shape_class(spec.tokens, spec.width)] = {}
    for (name, tile), seconds in best.items():
      print(f"{device.device_kind} {spec} {name} {tile}: {seconds:.4f} s")
      entry.setdefault(name, tile)
  if args.write:
    write(TABLE | found)
    print(f"wrote {backends.__file__}; run ruff format over it")


if __name__ == "__main__":
  main()
