"""The decoder against `transformers`; scripts/goldens/run.sh writes the values and says how they come about."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.models import transformer
from agentrl.models.weights import hf
from agentrl.ops.attention.cache import whole_blocks

GOLDENS = Path(__file__).parent / "goldens"
NAMES = ("llama", "llama3", "qwen2", "qwen2_untied", "qwen3", "qwen3_untied")
PROMPT = 5  # greedy tokens continue that many of the first row


@functools.partial(jax.jit, static_argnames=("config", "steps"))
def greedy(params, prompt, *, config, steps):
  """The most likely continuation `[steps]` of `prompt [T]`, decoded over the cache."""
  capacity = prompt.shape[0] + steps
  read = whole_blocks(capacity)
  cache, weights = transformer.empty_cache(config, 1, read), transformer.decoding_weights(params, config)
  if prompt.shape[0] > 1:
    cache = transformer.prefill_chunk(weights, cache, jnp.array([0]), prompt[None, :-1], jnp.array([0]), config=config)

  def step(carry, position):
    cache, token = carry
    hidden, cache = transformer.decode_step(
      weights,
      cache,
      token[None],
      position[None],
      jnp.ones(1, bool),
      jnp.int32(0),
      config=config,
      live_lengths=(read,),
    )
    token = jnp.argmax(hidden[0] @ transformer.unembedding(params, config)).astype(jnp.int32)
    return (cache, token), token

  positions = jnp.arange(prompt.shape[0] - 1, capacity - 1, dtype=jnp.int32)
  return jax.lax.scan(step, (cache, prompt[-1]), positions)[1]


@pytest.mark.parametrize("name", NAMES)
def test_logits_and_greedy_tokens_are_those_of_transformers(name):
  config, params = hf.load(GOLDENS / name)
  golden = np.load(GOLDENS / name / "golden.npz")
  tokens = jnp.asarray(golden["tokens"], jnp.int32)
  rows, length = tokens.shape
  positions = jnp.tile(jnp.arange(length)[None], (rows, 1))
  hidden = transformer.forward(params, tokens, positions, jnp.full_like(tokens, length), config=config)
  logits = hidden @ transformer.unembedding(params, config)
  np.testing.assert_allclose(logits, golden["logits"], rtol=0, atol=2e-5)

  found = greedy(params, tokens[0, :PROMPT], config=config, steps=len(golden["greedy"]))
  np.testing.assert_array_equal(found, golden["greedy"])


def test_the_goldens_cover_what_the_decoder_can_do():
  configs = {name: hf.load(GOLDENS / name)[0] for name in NAMES}
  assert configs["llama3"].rope_scaling is not None
  assert {c.tied for c in configs.values()} == {True, False}
  assert all(c.heads > c.kv_heads for c in configs.values())
  assert configs["qwen2"].qkv_bias and configs["qwen3"].qk_norm
  assert configs["qwen3"].head_dim * configs["qwen3"].heads != configs["qwen3"].width
