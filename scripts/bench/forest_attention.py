"""Time of attention over one row against what there is to see in it, forward and backward, on this machine.

    python scripts/bench/forest_attention.py                 # SmolLM2-135M's heads, fp32, rows of about 2,048 tokens
    python scripts/bench/forest_attention.py --tiles 64 128 256 512
    python scripts/bench/forest_attention.py --tokens 512 --repeats 3 --heads qwen3_0_6b

`visible` is the share of the T x T pairs that a row's mask leaves; `live` the share in tiles that are not
skipped. `reference` holds all scores. Forms are interleaved; `cpu` is processor time, which other load on the machine
disturbs least, and the ratios are those of its medians.
"""

import argparse
import functools
import time

import jax
import jax.numpy as jnp
import numpy as np

from agentrl.ops.attention import forest
from agentrl.ops.attention.forest.reference import reference_forest_attention
from agentrl.ops.attention.forest.specs import MODELS, example_rows, visible_pairs
from agentrl.ops.attention.forest.tiled import tiled_forest_attention
from agentrl.ops.attention.forest.tiles import find_tiles


def training(attend):
  """Compiled gradients for q, k and v of one row."""

  @jax.jit
  def run(q, k, v, ends):
    return jax.grad(lambda *x: jnp.sum(attend(*x, ends)), argnums=(0, 1, 2))(q, k, v)

  return run


def interleaved(forms, arguments, repeats):
  """Median wall and processor seconds of each form."""
  for form in forms.values():
    jax.block_until_ready(form(*arguments))
  taken = {name: [] for name in forms}
  for _ in range(repeats):
    for name, form in forms.items():
      wall, cpu = time.perf_counter(), time.process_time()
      jax.block_until_ready(form(*arguments))
      taken[name].append((time.perf_counter() - wall, time.process_time() - cpu))
  return {name: np.median(times, axis=0) for name, times in taken.items()}


def main():
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--heads", choices=MODELS, default="smollm2_135m")
  parser.add_argument("--tokens", type=int, default=2048)
  parser.add_argument("--tiles", type=int, nargs="+", default=[forest.TILE["cpu"]])
  parser.add_argument("--repeats", type=int, default=7)
  a = parser.parse_args()
  heads, rng = MODELS[a.heads], np.random.default_rng(0)
  q = jnp.asarray(rng.normal(size=(1, a.tokens, heads.query, heads.channels)), jnp.float32)
  k, v = (jnp.asarray(x, jnp.float32) for x in rng.normal(size=(2, 1, a.tokens, heads.key, heads.channels)))
  scale = heads.channels**-0.5
  forms = {"reference": training(functools.partial(reference_forest_attention, scale=scale))}
  for tile in a.tiles:
    forms[f"tiled {tile}"] = training(functools.partial(tiled_forest_attention, scale=scale, tile=tile))
  print(f"{a.heads} {tuple(heads)}, T={a.tokens}, fp32, forward and backward, {jax.devices()[0].device_kind}\n")
  print("| row | visible | form | live | wall ms | cpu ms | cpu ratio | against one causal sequence |")
  print("|---|---|---|---|---|---|---|---|")
  dense = {}
  for name, ends in example_rows(a.tokens).items():
    seconds = interleaved(forms, (q, k, v, jnp.asarray(ends)[None]), a.repeats)
    dense = dense or seconds
    visible = visible_pairs(ends) / a.tokens**2
    for form, (wall, cpu) in seconds.items():
      live = 1.0 if form == "reference" else _live(ends, int(form.split()[1]))
      print(
        f"| {name} | {visible:.3f} | {form} | {live:.3f} | {wall * 1e3:.0f} | {cpu * 1e3:.0f} "
        f"| {cpu / seconds['reference'][1]:.2f} | {cpu / dense[form][1]:.2f} |", flush=True,
      )  # fmt: skip


def _live(ends, tile):
  tiles = -(-len(ends) // tile)  # "tiled" makes its tiles equal
  found = find_tiles(jnp.asarray(ends)[None], -(-len(ends) // tiles))
  return float(jnp.sum(found.live)) / tiles**2


if __name__ == "__main__":
  main()
