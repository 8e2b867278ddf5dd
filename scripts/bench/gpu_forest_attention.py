"""Forest attention on a GPU: every implementation against float64, then time against what a row leaves to see.

    python scripts/bench/gpu_forest_attention.py                  # all of it, meant to take under 2 minutes on an H200
    python scripts/bench/gpu_forest_attention.py --check-only
    python scripts/bench/gpu_forest_attention.py --sweep          # block sizes of the Triton kernels, 8k causal

cuDNN, through `jax.nn.dot_product_attention`, is the peer on one dense causal row; on other rows it stands for what the
same tokens cost without a forest mask. TFLOP/s count visible pairs alone: 4 C a pair and head forward, 10 backward.
Times are medians of runs of several launches each, with the forms interleaved.
"""

import argparse
import functools
import itertools
import time

import jax
import jax.numpy as jnp
import numpy as np

from agentrl.ops import triton_call
from agentrl.ops.attention.forest import forest_attention
from agentrl.ops.attention.forest.specs import MODELS, ONE_CHAIN, chain, example_rows, visible_pairs
from agentrl.ops.attention.forest.triton import Block, Blocks, default_blocks, triton_forest_attention

FORMS = ("cudnn", "triton", "tiled")
LAUNCHES = 5


def arrays(heads, batch, length, dtype):
  keys = jax.random.split(jax.random.key(0), 4)
  query, key = (batch, length, heads.query, heads.channels), (batch, length, heads.key, heads.channels)
  shapes = (query, key, key, query)
  return [jax.random.normal(k, shape, jnp.float32).astype(dtype) for k, shape in zip(keys, shapes, strict=True)]


def forward(attend):
  return jax.jit(attend)


def training(attend):
  @jax.jit
  def run(q, k, v, d_out, ends):
    out, pull = jax.vjp(lambda q, k, v: attend(q, k, v, ends), q, k, v)
    return out, *pull(d_out)

  return run


def check(name, dtype, length=515):
  """Largest relative error of output and gradients against the reference in float64 (which needs a CPU)."""
  heads = MODELS["qwen3_0_6b"]
  table = example_rows(length)
  chosen = [ONE_CHAIN, "half padding"] if name == "cudnn" else list(table)
  ends = np.stack([table[n] for n in chosen])
  inputs = arrays(heads, len(chosen), length, dtype)
  got = training(functools.partial(forest_attention, implementation=name))(*inputs, jnp.asarray(ends))
  again = training(functools.partial(forest_attention, implementation=name))(*inputs, jnp.asarray(ends))
  wanted = [exact(*(np.asarray(a[b], np.float64) for a in inputs), ends[b]) for b in range(len(chosen))]
  errors = []
  for i, a in enumerate(got):
    b = np.stack([w[i] for w in wanted])
    errors.append(np.linalg.norm(np.asarray(a, np.float64) - b) / np.linalg.norm(b))
  same = all(bool(jnp.array_equal(a, b)) for a, b in zip(got, again, strict=True))
  limit = 2e-2 if dtype != jnp.float32 else 1e-4
  assert max(errors) < limit, f"{name} {dtype.__name__}: relative errors {errors}"
  return max(errors), same


def exact(q, k, v, d_out, ends):
  """Output and gradients of one row from the formulas, float64."""
  index = np.arange(len(ends))
  seen = (index[None] <= index[:, None]) & (index[:, None] < ends[None])
  results = np.zeros_like(q), np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
  out, d_q, d_k, d_v = results
  for h in range(q.shape[1]):
    g = h * k.shape[1] // q.shape[1]
    scores = np.where(seen, q[:, h] @ k[:, g].T * q.shape[2] ** -0.5, -1e30)
    weights = np.exp(scores - scores.max(axis=1, keepdims=True)) * seen
    weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1e-300)
    out[:, h] = weights @ v[:, g]
    d_weights = d_out[:, h] @ v[:, g].T
    d_scores = weights * (d_weights - (d_weights * weights).sum(axis=1, keepdims=True)) * q.shape[2] ** -0.5
    d_q[:, h] = d_scores @ k[:, g]
    d_k[:, g] += d_scores.T @ q[:, h]
    d_v[:, g] += weights.T @ d_out[:, h]
  return results


def milliseconds(forms, repeats):
  """Median milliseconds of each of `{name: function of nothing}`, interleaved."""
  for form in forms.values():
    jax.block_until_ready(form())
  taken = {name: [] for name in forms}
  for _, (name, form) in itertools.product(range(repeats), forms.items()):
    started = time.perf_counter()
    for _ in range(LAUNCHES):
      result = form()
    jax.block_until_ready(result)
    taken[name].append((time.perf_counter() - started) / LAUNCHES * 1e3)
  return {name: float(np.median(times)) for name, times in taken.items()}


def time_rows(spec, length, repeats):
  heads = MODELS[spec]
  inputs = arrays(heads, 1, length, jnp.bfloat16)
  attends = {name: functools.partial(forest_attention, implementation=name) for name in FORMS}
  passes = {name: (forward(attend), training(attend)) for name, attend in attends.items()}
  print(f"\n{spec} {tuple(heads)}, T={length}, bf16, one row\n")
  print("| row | visible | form | forward ms | TFLOP/s | both ms | TFLOP/s | cuDNN dense / this | over causal |")
  print("|---|---|---|---|---|---|---|---|---|")
  causal, dense = {}, jnp.asarray(chain(length))[None]
  for name, ends in example_rows(length).items():
    ends = jnp.asarray(ends)[None]
    # cuDNN knows no forest: its time is that of the dense row, taken again beside each of the others.
    of = {form: dense if form == "cudnn" else ends for form in FORMS}
    only = milliseconds({f: functools.partial(passes[f][0], *inputs[:3], of[f]) for f in FORMS}, repeats)
    both = milliseconds({f: functools.partial(passes[f][1], *inputs, of[f]) for f in FORMS}, repeats)
    causal = causal or both
    for form in FORMS:
      pairs = visible_pairs(np.asarray(of[form][0])) * heads.query * heads.channels
      print(
        f"| {name} | {visible_pairs(np.asarray(ends[0])) / length**2:.3f} | {form} | {only[form]:.3f} "
        f"| {4 * pairs / only[form] / 1e9:.0f} | {both[form]:.3f} | {14 * pairs / both[form] / 1e9:.0f} "
        f"| {both['cudnn'] / both[form]:.2f} | {both[form] / causal[form]:.2f} |", flush=True,
      )  # fmt: skip


def sweep(spec, length, repeats):
  """Forward, and both passes, of one causal row for a few block sizes."""
  heads = MODELS[spec]
  inputs, ends = arrays(heads, 1, length, jnp.bfloat16), jnp.asarray(chain(length))[None]
  scale, base = heads.channels**-0.5, default_blocks(heads.channels, jnp.dtype(jnp.bfloat16))
  print(f"\n{spec}, T={length}: blocks of the Triton kernels\n\n| kernel | block | forward ms | both ms |")
  print("|---|---|---|---|")
  for kernel, block in _candidates(base):
    blocks = base._replace(**{kernel: block})
    attend = functools.partial(triton_forest_attention, scale=scale, blocks=blocks)
    run, train = forward(attend), training(attend)
    passes = {"forward": functools.partial(run, *inputs[:3], ends), "both": functools.partial(train, *inputs, ends)}
    taken = milliseconds(passes, repeats)
    print(f"| {kernel} | {tuple(block)} | {taken['forward']:.3f} | {taken['both']:.3f} |", flush=True)


def _candidates(base: Blocks):
  for keys, warps, stages in itertools.product((64, 128), (4, 8), (2, 3)):
    yield "forward", Block(128, keys, warps, stages)
  for queries, stages in itertools.product((32, 64), (2, 3)):
    yield "keys", Block(queries, base.tile, 8, stages)
  for keys, stages in itertools.product((32, 64), (2, 3)):
    yield "queries", Block(128, keys, 8, stages)


def main():
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--specs", nargs="+", choices=MODELS, default=["qwen3_0_6b", "llama3_2_1b"])
  parser.add_argument("--tokens", type=int, default=8192)
  parser.add_argument("--repeats", type=int, default=7)
  parser.add_argument("--check-only", action="store_true")
  parser.add_argument("--sweep", action="store_true")
  a = parser.parse_args()
  triton_call.require("scripts/bench/gpu_forest_attention.py")
  print(f"{jax.devices()[0].device_kind}, JAX {jax.__version__}\n")
  print("| form | dtype | largest relative error | same bits twice |\n|---|---|---|---|")
  for name, dtype in [(f, jnp.bfloat16) for f in FORMS] + [("triton", jnp.float32), ("tiled", jnp.float32)]:
    error, same = check(name, dtype)
    print(f"| {name} | {dtype.__name__} | {error:.1e} | {'yes' if same else 'no'} |", flush=True)
  for spec in [] if a.check_only else a.specs:
    (sweep if a.sweep else time_rows)(spec, a.tokens, a.repeats)


if __name__ == "__main__":
  main()
