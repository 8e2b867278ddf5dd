"""Log-prob and entropy of T tokens, forward and backward, by several forms: memory, time, and where the time goes.

    python scripts/bench/linear_logprob.py                       # SmolLM2-135M, T = 4,096, fp32, timed on this machine
    python scripts/bench/linear_logprob.py --entropy             # the same with the gradient of the entropy
    python scripts/bench/linear_logprob.py --masked 0.5          # half of the tokens are padding
    python scripts/bench/linear_logprob.py --memory              # what compiled programs need, D = 1,024, V = 151,936
    python scripts/bench/linear_logprob.py --policy-loss         # a PPO loss on top: what but the products matters
    python scripts/bench/linear_logprob.py --error               # against float64

Memory is what a compiled program takes beyond its inputs and outputs; nothing is run, so it also answers for sizes that
do not fit. Time is processor seconds, which other load disturbs least, the least of interleaved runs. `GEMM share` is
the time of the four products that the tiled form needs, measured by themselves in the same run, over the whole time.
"""

import argparse
import functools
import time

import jax
import jax.numpy as jnp
import numpy as np

from agentrl.ops.linear_logprob import LinearLogprob, linear_logprob
from agentrl.ops.linear_logprob.specs import MODELS, Spec
from agentrl.ops.losses import clipped_surrogate
from agentrl.ops.reduce import token_mean

ROWS = 1024  # of the checkpointed form
PRODUCTS = 4  # logits, logits again, and the gradients of hidden states and unembedding


def log_softmax(hidden, unembed, tokens, mask=None):
  """What most code does: all logits at once."""
  log_p = jax.nn.log_softmax(jnp.matmul(hidden, unembed, preferred_element_type=jnp.float32), axis=-1)
  logp = jnp.take_along_axis(log_p, tokens[:, None], axis=-1)[:, 0]
  entropy = -jnp.sum(jnp.exp(log_p) * log_p, axis=-1)
  return LinearLogprob(*(x if mask is None else jnp.where(mask, x, 0.0) for x in (logp, entropy)))


def checkpointed(hidden, unembed, tokens, mask=None):
  """The plain form over blocks of rows, recomputed in the backward pass."""
  block = jax.checkpoint(lambda x: log_softmax(x[0], unembed, x[1]))
  rows = min(ROWS, tokens.shape[0])
  parts = jax.lax.map(block, (hidden.reshape(-1, rows, hidden.shape[1]), tokens.reshape(-1, rows)))
  logp, entropy = parts.logp.reshape(-1), parts.entropy.reshape(-1)
  return LinearLogprob(*(x if mask is None else jnp.where(mask, x, 0.0) for x in (logp, entropy)))


def chunked(hidden, unembed, tokens, mask=None):
  """Ours."""
  return linear_logprob(hidden, unembed, tokens, mask=mask, implementation="chunked")


FORMS = {"log_softmax": log_softmax, "checkpointed": checkpointed, "chunked": chunked}


def training(form, with_entropy):
  """Value and gradients for hidden states and the tied embedding `[V, D]`."""

  def loss(hidden, embed, tokens, mask=None):
    out = form(hidden, embed.T, tokens, mask)
    return jnp.sum(out.logp) + (jnp.sum(out.entropy) if with_entropy else 0.0)

  return jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))


def policy_training(hidden, embed, tokens, old_logp, advantages, mask):
  """Gradients of a PPO loss with an entropy bonus, as the algorithms write it."""

  def loss(hidden, embed):
    out = linear_logprob(hidden, embed.T, tokens, mask=mask, implementation="chunked")
    log_ratio = jnp.where(mask, out.logp - old_logp, 0.0)[None]
    losses = clipped_surrogate(log_ratio, advantages[None], clip_low=0.2, clip_high=0.28)
    return token_mean(losses - 0.01 * out.entropy[None], mask[None], jnp.float32(tokens.shape[0]))

  return jax.grad(loss, argnums=(0, 1))(hidden, embed)


def products(hidden, embed, columns=2048):
  """One of the products, in pieces that stay near the caches; the fastest way that this machine has to do it."""
  starts = jnp.arange(0, embed.shape[0] - columns + 1, columns)

  def one(_, start):
    return hidden @ jax.lax.dynamic_slice_in_dim(embed, start, columns).T, None

  return jax.lax.scan(one, jnp.zeros((hidden.shape[0], columns), hidden.dtype), starts)[0]


def seconds(calls, repeats):
  """Least processor and wall time of each call; they take turns."""
  for call in calls.values():
    jax.block_until_ready(call())
  best = {name: (float("inf"), float("inf")) for name in calls}
  for _ in range(repeats):
    for name, call in calls.items():
      cpu, wall = time.process_time(), time.perf_counter()
      jax.block_until_ready(call())
      taken = time.process_time() - cpu, time.perf_counter() - wall
      best[name] = tuple(map(min, best[name], taken))
  return best


def arrays_of(spec, dtype, masked):
  keys = jax.random.split(jax.random.key(0), 4)
  hidden = jax.random.normal(keys[0], (spec.tokens, spec.width), dtype)
  embed = jax.random.normal(keys[1], (spec.vocabulary, spec.width), dtype) * jnp.asarray(spec.width**-0.5, dtype)
  tokens = jax.random.randint(keys[2], (spec.tokens,), 0, spec.vocabulary)
  mask = jax.random.uniform(keys[3], (spec.tokens,)) >= masked if masked else None
  return hidden, embed, tokens, mask


def print_memory():
  """The table of temporary memory, bf16, gradients of both results."""
  width, vocabulary = 1024, 151_936
  print(f"temporary MiB, D={width} V={vocabulary} bfloat16, gradients of both results; nothing is run")
  print("| form | T=8,192 | T=32,768 | T=131,072 |\n|---|---|---|---|")
  for name, form in FORMS.items():
    line = f"| {name} |"
    for count in (8192, 32_768, 131_072):
      shapes = [jax.ShapeDtypeStruct(s, jnp.bfloat16) for s in ((count, width), (vocabulary, width))]
      shapes.append(jax.ShapeDtypeStruct((count,), jnp.int32))
      memory = training(form, True).lower(*shapes).compile().memory_analysis()
      line += f" {memory.temp_size_in_bytes / 2**20:,.0f} |"
    print(line, flush=True)


def print_time(spec, dtype, with_entropy, masked, repeats):
  arrays = arrays_of(spec, dtype, masked)
  calls = {name: functools.partial(training(form, with_entropy), *arrays) for name, form in FORMS.items()}
  one_product = jax.jit(products)
  calls["four products"] = lambda: [one_product(*arrays[:2]) for _ in range(PRODUCTS)]
  best = seconds(calls, repeats)
  flops = 2 * PRODUCTS * spec.tokens * spec.width * spec.vocabulary
  print("| form | cpu s | wall s | against log_softmax | GEMM share |\n|---|---|---|---|---|")
  for name, (cpu, wall) in best.items():
    ratio, share = cpu / best["log_softmax"][0], best["four products"][0] / cpu
    print(f"| {name} | {cpu:.2f} | {wall:.2f} | {ratio:.2f} | {share:.2f} |")
  print(f"four products: {flops / best['four products'][0] / 1e9:.0f} GFLOP per processor second")


def print_policy_loss(spec, dtype, repeats):
  """The same gradients with a policy loss on top and without."""
  hidden, embed, tokens, _ = arrays_of(spec, dtype, 0.0)
  mask, old = jnp.ones(tokens.shape, bool), jnp.full(tokens.shape, -10.0)
  advantages = jnp.sin(jnp.arange(spec.tokens, dtype=jnp.float32))
  policy = jax.jit(policy_training)
  plain, one_product = training(chunked, True), jax.jit(products)
  calls = {
    "policy loss and gradients": lambda: policy(hidden, embed, tokens, old, advantages, mask),
    "sum of logp and entropy": lambda: plain(hidden, embed, tokens, mask),
    "four products": lambda: [one_product(hidden, embed) for _ in range(PRODUCTS)],
  }
  best = seconds(calls, repeats)
  whole = best["policy loss and gradients"][0]
  print("| part | cpu s | of the whole |\n|---|---|---|")
  for name, (cpu, _) in best.items():
    print(f"| {name} | {cpu:.3f} | {cpu / whole:.3f} |")


def print_error():
  """Largest errors at T = 512, D = 576, V = 8,192, against float64 on the same inputs."""
  head = "| dtype | logit std | form | logp | entropy | hidden gradient | unembedding gradient |"
  print(head + "\n|---|---|---|---|---|---|---|")
  for dtype in (jnp.float32, jnp.bfloat16):
    for std in (0.3, 3.0, 30.0):
      hidden, embed, tokens, _ = arrays_of(Spec(512, 576, 8192), dtype, 0.0)
      embed = embed * jnp.asarray(std, dtype)
      exact = _float64(*(np.asarray(x.astype(jnp.float32), np.float64) for x in (hidden, embed)), np.asarray(tokens))
      for name in ("log_softmax", "chunked"):
        errors = _errors(FORMS[name], exact, hidden, embed, tokens)
        print(f"| {jnp.dtype(dtype).name} | {std} | {name} | " + " | ".join(f"{e:.1e}" for e in errors) + " |")


def _errors(form, exact, hidden, embed, tokens):
  """Of logp and entropy absolute, of the gradients relative to the largest."""

  def sum_of_both(hidden, embed):
    out = form(hidden, embed.T, tokens)
    return jnp.sum(out.logp) + jnp.sum(out.entropy), out

  (_, out), bars = jax.jit(jax.value_and_grad(sum_of_both, argnums=(0, 1), has_aux=True))(hidden, embed)
  ours = [np.asarray(x.astype(jnp.float32), np.float64) for x in (out.logp, out.entropy, *bars)]
  errors = [np.abs(x - y).max() for x, y in zip(ours[:2], exact[:2], strict=True)]
  return errors + [np.abs(x - y).max() / np.abs(y).max() for x, y in zip(ours[2:], exact[2:], strict=True)]


def _float64(hidden, embed, tokens):
  z = hidden @ embed.T
  z -= z.max(axis=1, keepdims=True)
  log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
  p = np.exp(log_p)
  entropy = -(p * log_p).sum(axis=1)
  bar = np.eye(len(embed))[tokens] - p - p * (log_p + entropy[:, None])
  return log_p[np.arange(len(tokens)), tokens], entropy, bar @ embed, bar.T @ hidden


def main():
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--spec", choices=MODELS, default="smollm2_135m")
  parser.add_argument("--tokens", type=int, default=4096, help="a multiple of 1024 where it is above it")
  parser.add_argument("--vocabulary", type=int, help="in place of the spec's own")
  parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
  parser.add_argument("--entropy", action="store_true", help="differentiate the entropy too")
  parser.add_argument("--masked", type=float, default=0.0, help="share of the tokens that are padding")
  parser.add_argument("--memory", action="store_true")
  parser.add_argument("--policy-loss", action="store_true")
  parser.add_argument("--error", action="store_true")
  parser.add_argument("--repeats", type=int, default=3)
  args = parser.parse_args()
  model = MODELS[args.spec]
  spec = model._replace(tokens=args.tokens, vocabulary=args.vocabulary or model.vocabulary)
  dtype = jnp.dtype(args.dtype)
  if args.memory:
    print_memory()
    return
  if args.error:
    print_error()
    return
  print(f"{args.spec} T={spec.tokens} D={spec.width} V={spec.vocabulary} {dtype} on {jax.devices()[0].device_kind}")
  if args.policy_loss:
    print_policy_loss(spec, dtype, args.repeats)
  else:
    print_time(spec, dtype, args.entropy, args.masked, args.repeats)


if __name__ == "__main__":
  main()
