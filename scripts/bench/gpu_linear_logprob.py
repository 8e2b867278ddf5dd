"""`linear_logprob` on a GPU: kernels against the reference, then rates against GEMM, XLA tiles and Liger's fused loss.

    python scripts/bench/gpu_linear_logprob.py              # both parts, each meant for two minutes on an H200
    python scripts/bench/gpu_linear_logprob.py --all        # every shape: longer

Everything is measured in this run, one call after another, the median of repeats. `GEMM` is the rate of the product
hidden @ unembed.T of the same shape, over 32,768 columns; shares are of it, forward for one product and forward with
backward for four. Liger's loss needs torch and liger-kernel, and is left out where they are not installed.
"""

import argparse
import functools
import itertools
import statistics
import time

import jax
import jax.numpy as jnp

from agentrl.ops import triton_call
from agentrl.ops.linear_logprob import available, linear_logprob

WIDTHS, VOCABULARIES, COUNTS = (1024, 2048, 4096), (32_768, 128_256, 151_936), (8192, 65_536)
FEW = [(1024, 151_936, 8192), (2048, 128_256, 8192), (4096, 151_936, 8192), (1024, 151_936, 65_536)]
PIECE = 32_768  # columns of the product that the rate is measured with


def kernels():
  return [name for name in available() if name != "reference"]


def arrays_of(width, vocabulary, count, dtype=jnp.bfloat16):
  keys = jax.random.split(jax.random.key(0), 3)
  hidden = jax.random.normal(keys[0], (count, width), dtype)
  embed = jax.random.normal(keys[1], (vocabulary, width), dtype) * jnp.asarray(3 * width**-0.5, dtype)
  return hidden, embed, jax.random.randint(keys[2], (count,), 0, vocabulary)


def loss(hidden, embed, tokens, mask=None, *, name, with_entropy=True):
  out = linear_logprob(hidden, embed.T, tokens, mask=mask, implementation=name)
  return jnp.sum(out.logp) + (0.1 * jnp.sum(out.entropy) if with_entropy else 0.0), out


def check():
  """Errors of each kernel against the reference, for sizes one off the tiles, with padding."""
  print("| implementation | dtype | T, D, V | logp | entropy | hidden gradient | unembedding gradient |")
  print("|---|---|---|---|---|---|---|")
  worst = 0.0
  for dtype, (count, width, vocabulary) in itertools.product(
    (jnp.float32, jnp.bfloat16), ((257, 64, 1025), (1000, 576, 49_152), (129, 1024, 8193))
  ):
    hidden, embed, tokens = arrays_of(width, vocabulary, count, dtype)
    mask = jnp.arange(count) % 3 > 0

    def run(name, arrays=(hidden, embed, tokens, mask)):
      return jax.jit(jax.value_and_grad(functools.partial(loss, name=name), (0, 1), has_aux=True))(*arrays)

    (_, exact), exact_bars = run("reference")
    for name in kernels():
      (_, out), bars = run(name)
      pairs = [(out.logp, exact.logp), (out.entropy, exact.entropy), *zip(bars, exact_bars, strict=True)]
      errors = [float(jnp.max(jnp.abs(jnp.float32(x) - jnp.float32(y)))) for x, y in pairs]
      errors[2:] = [
        e / float(jnp.max(jnp.abs(jnp.float32(y)))) for e, (_, y) in zip(errors[2:], pairs[2:], strict=True)
      ]
      allowed = 1.0 if dtype == jnp.bfloat16 else 5e-3
      worst = max(worst, max(errors[:2]) / 1e-3, max(errors[2:]) / (2e-2 * allowed))
      shown = " | ".join(f"{e:.1e}" for e in errors)
      print(f"| {name} | {jnp.dtype(dtype).name} | {count}, {width}, {vocabulary} | {shown} |", flush=True)
  if not worst <= 1.0:
    raise SystemExit("a kernel differs from the reference")


def median_seconds(call, budget=3.0):
  """Median of at least 3 calls, more where the budget of seconds allows."""
  jax.block_until_ready(call())
  taken = []
  while len(taken) < 3 or (sum(taken) < budget and len(taken) < 20):
    start = time.perf_counter()
    jax.block_until_ready(call())
    taken.append(time.perf_counter() - start)
  return statistics.median(taken)


@jax.jit
def product(hidden, embed):
  """A part of the logits, long enough to time."""
  return hidden @ embed[:PIECE].T


def liger_seconds(width, vocabulary, count):
  """Forward and backward of the mean NLL alone, which is all it has; None where it is not installed."""
  try:
    import torch
    from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss
  except ImportError:
    return None
  torch.manual_seed(0)
  hidden, weight = (torch.randn(n, width, device="cuda", dtype=torch.bfloat16) for n in (count, vocabulary))
  weight = weight * 3 * width**-0.5
  hidden.requires_grad_(), weight.requires_grad_()
  tokens = torch.randint(0, vocabulary, (count,), device="cuda")
  fused = LigerFusedLinearCrossEntropyLoss()

  def call():
    hidden.grad = weight.grad = None
    fused(weight, hidden, tokens).backward()
    torch.cuda.synchronize()
    return jnp.zeros(())

  return median_seconds(call)


def speed(shapes):
  """Times and shares, a shape at a time."""
  print("| D | V | T | form | forward ms | share of GEMM | forward, backward ms | share of GEMM | Liger / logp alone |")
  print("|---|---|---|---|---|---|---|---|---|")
  for width, vocabulary, count in shapes:
    arrays = arrays_of(width, vocabulary, count)
    rate = 2 * count * width * PIECE / median_seconds(lambda a=arrays: product(*a[:2]))
    flops = 2 * count * width * vocabulary
    liger = liger_seconds(width, vocabulary, count)
    for name in kernels():
      forward = jax.jit(lambda *a, n=name: loss(*a, name=n)[1])
      both = jax.jit(jax.grad(lambda *a, n=name: loss(*a, name=n)[0], argnums=(0, 1)))
      alone = jax.jit(jax.grad(lambda *a, n=name: loss(*a, name=n, with_entropy=False)[0], argnums=(0, 1)))
      times = [median_seconds(lambda f=f, a=arrays: f(*a)) for f in (forward, both)]
      against = "" if liger is None else f"{liger / median_seconds(lambda a=arrays, f=alone: f(*a)):.2f}"
      one, four = times[0] * 1e3, times[1] * 1e3
      shares = flops / times[0] / rate, 4 * flops / times[1] / rate
      print(
        f"| {width} | {vocabulary} | {count} | {name} | {one:.2f} | {shares[0]:.2f} | {four:.2f} | {shares[1]:.2f} "
        f"| {against} |",
        flush=True,
      )
    print(f"GEMM {rate / 1e12:.0f} TFLOP/s at D={width}, T={count}", flush=True)


def main():
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--part", choices=["check", "speed"], help="one of the two")
  parser.add_argument("--all", action="store_true", help="every shape")
  parser.add_argument("--shape", type=int, nargs=3, metavar=("D", "V", "T"), help="one shape in place of those")
  args = parser.parse_args()
  triton_call.require("scripts/bench/gpu_linear_logprob.py")
  print(f"{jax.devices()[0].device_kind}, JAX {jax.__version__}, implementations: {', '.join(kernels())}")
  if args.part != "speed":
    check()
  if args.part != "check":
    shapes = list(itertools.product(WIDTHS, VOCABULARIES, COUNTS)) if args.all else FEW
    speed([tuple(args.shape)] if args.shape else shapes)


if __name__ == "__main__":
  main()
