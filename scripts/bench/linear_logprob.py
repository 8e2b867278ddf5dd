"""Time and memory of log-prob and entropy of N tokens, forward and backward: all logits, checkpointed rows, ours.

    python scripts/bench/linear_logprob.py                        # SmolLM2-135M, fp32, timed on this machine
    python scripts/bench/linear_logprob.py --spec qwen3_0_6b --dtype bfloat16 --compile-only

Memory is what the compiled program takes beyond its inputs and outputs; --compile-only prints that alone, and so can
ask about sizes that do not fit. `cpu` is processor seconds, which other load on the machine disturbs least.
"""

import argparse
import time

import jax
import jax.numpy as jnp

from agentrl.ops.linear_logprob import LinearLogprob, linear_logprob
from agentrl.ops.linear_logprob.reference import reference
from agentrl.ops.linear_logprob.specs import MODELS

ROWS = 1024  # of the checkpointed form


def checkpointed(hidden, unembed, tokens):
  """The plain form over blocks of rows, recomputed in the backward pass."""
  block = jax.checkpoint(lambda x: reference(x[0], unembed, x[1], jnp.ones(x[1].shape)))
  rows = min(ROWS, tokens.shape[0])
  logp, entropy = jax.lax.map(block, (hidden.reshape(-1, rows, hidden.shape[1]), tokens.reshape(-1, rows)))
  return LinearLogprob(logp.reshape(-1), entropy.reshape(-1))


FORMS = {
  "log_softmax": lambda *x: linear_logprob(*x, implementation="reference"),
  "checkpointed": checkpointed,
  "chunked": lambda *x: linear_logprob(*x, implementation="chunked"),
}


def training(form, with_entropy):
  """Value and gradients for hidden states and the tied embedding `[V, D]`."""

  def loss(hidden, embed, tokens):
    out = form(hidden, embed.T, tokens)
    return jnp.sum(out.logp) + (jnp.sum(out.entropy) if with_entropy else 0.0)

  return jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))


def seconds(function, arrays, repeats):
  """Best wall and processor time of a call."""
  jax.block_until_ready(function(*arrays))
  wall, cpu = [], []
  for _ in range(repeats):
    start = time.perf_counter(), time.process_time()
    jax.block_until_ready(function(*arrays))
    wall.append(time.perf_counter() - start[0])
    cpu.append(time.process_time() - start[1])
  return min(wall), min(cpu)


def main():
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--spec", choices=MODELS, default="smollm2_135m")
  parser.add_argument("--tokens", type=int, help="in place of the spec's own number; a multiple of 1024 above it")
  parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
  parser.add_argument("--entropy", action="store_true", help="differentiate the entropy too")
  parser.add_argument("--compile-only", action="store_true")
  parser.add_argument("--repeats", type=int, default=3)
  args = parser.parse_args()
  spec = MODELS[args.spec]
  count = spec.tokens if args.tokens is None else args.tokens
  print(f"{args.spec} N={count} D={spec.width} V={spec.vocabulary} {args.dtype} on {jax.devices()[0].device_kind}")
  shapes = [
    jax.ShapeDtypeStruct((count, spec.width), args.dtype),
    jax.ShapeDtypeStruct((spec.vocabulary, spec.width), args.dtype),
    jax.ShapeDtypeStruct((count,), jnp.int32),
  ]
  if not args.compile_only:
    keys = jax.random.split(jax.random.key(0), 3)
    arrays = [jax.random.normal(k, s.shape, s.dtype) * 0.1 for k, s in zip(keys[:2], shapes[:2], strict=True)]
    arrays.append(jax.random.randint(keys[2], (count,), 0, spec.vocabulary))
  print(f"{'form':<14}{'temp MiB':>10}{'wall s':>10}{'cpu s':>10}{'cpu ratio':>11}")
  first = None
  for name, form in FORMS.items():
    function = training(form, args.entropy)
    memory = function.lower(*shapes).compile().memory_analysis().temp_size_in_bytes / 2**20
    line = f"{name:<14}{memory:>10.0f}"
    if not args.compile_only:
      wall, cpu = seconds(function, arrays, args.repeats)
      first = cpu if first is None else first
      line += f"{wall:>10.3f}{cpu:>10.3f}{cpu / first:>11.2f}"
    print(line, flush=True)


if __name__ == "__main__":
  main()
