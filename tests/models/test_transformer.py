import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.models import transformer
from agentrl.models.transformer import ModelConfig, RopeScaling
from agentrl.ops.attention.cache import BLOCK

PLAIN = ModelConfig(vocab_size=13, width=12, layers=2, heads=6, kv_heads=2, head_dim=4, ffn=18, rope_base=50.0)
FAMILIES = {
  "llama": dataclasses.replace(PLAIN, rope_scaling=RopeScaling(8.0, 1.0, 4.0, 16), tied=False),
  "qwen2": dataclasses.replace(PLAIN, qkv_bias=True),
  "qwen3": dataclasses.replace(PLAIN, qk_norm=True, kv_heads=1),
}


def random_params(config):
  """Params in which no weight is constant, so that a forgotten bias or norm shows."""
  rng = np.random.default_rng(0)

  def draw(path, weight):
    mean = 1.0 if "norm" in path[-1].key else 0.0
    std = 0.3 if mean or "bias" in path[-1].key else config.width**-0.5
    return jnp.asarray(rng.normal(mean, std, weight.shape), config.param_dtype)

  return jax.tree_util.tree_map_with_path(draw, transformer.weight_specs(config), is_leaf=transformer.is_weight)


def tokens_of(seed, *shape):
  return jnp.asarray(np.random.default_rng(seed).integers(0, PLAIN.vocab_size, shape), jnp.int32)


ROW = 16  # one length for all rows, so that a configuration compiles once

forward = jax.jit(transformer.forward, static_argnames="config")


def padded(params, tokens, positions, ends, config):
  """Hidden states `[T, D]` of one row `[T]`, padded to `ROW` tokens on the way."""
  row = [jnp.pad(jnp.asarray(a), (0, ROW - len(a)))[None] for a in (tokens, positions, ends)]
  hidden = forward(params, *row, config=config)[0]
  return hidden[: len(tokens)]


def alone(params, tokens, config):
  """Hidden states `[T, D]` of one sequence `[T]` in a row of its own."""
  length = len(tokens)
  return padded(params, tokens, jnp.arange(length), jnp.full(length, length), config)


# ---- rows -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_sequences_are_as_separate_ones(family):
  config, params = FAMILIES[family], random_params(FAMILIES[family])
  lengths = (5, 1, 7)
  sequences = [tokens_of(i, n) for i, n in enumerate(lengths)]
  positions = jnp.concatenate([jnp.arange(n) for n in lengths])
  ends = jnp.array([5] * 5 + [6] + [13] * 7)
  packed = padded(params, jnp.concatenate(sequences), positions, ends, config)
  for sequence, start in zip(sequences, (0, 5, 6), strict=True):
    np.testing.assert_allclose(
      packed[start : start + len(sequence)], alone(params, sequence, config), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_branches_of_a_shared_prompt_are_as_separate_sequences(family):
  config, params = FAMILIES[family], random_params(FAMILIES[family])
  prompt, left, right = tokens_of(0, 4), tokens_of(1, 3), tokens_of(2, 5)
  positions = jnp.array([0, 1, 2, 3, 4, 5, 6, 4, 5, 6, 7, 8])
  ends = jnp.array([12] * 4 + [7] * 3 + [12] * 5)
  forest = padded(params, jnp.concatenate([prompt, left, right]), positions, ends, config)
  with_left = alone(params, jnp.concatenate([prompt, left]), config)
  with_right = alone(params, jnp.concatenate([prompt, right]), config)
  np.testing.assert_allclose(forest[:7], with_left, rtol=0, atol=1e-5)
  np.testing.assert_allclose(forest[7:], with_right[4:], rtol=0, atol=1e-5)
  assert float(jnp.max(jnp.abs(forest[7] - with_left[4]))) > 1e-2  # the branches do differ


def test_padding_changes_nothing():
  params, tokens = random_params(PLAIN), tokens_of(0, 1, 6)
  unpadded = forward(params, tokens, jnp.arange(6)[None], jnp.full((1, 6), 6), config=PLAIN)
  np.testing.assert_allclose(unpadded[0], alone(params, tokens[0], PLAIN), rtol=0, atol=1e-5)


def test_a_token_moves_no_earlier_state():
  params = random_params(PLAIN)
  tokens = tokens_of(0, 6)
  before, after = alone(params, tokens, PLAIN), alone(params, tokens.at[4].add(1) % PLAIN.vocab_size, PLAIN)
  np.testing.assert_array_equal(before[:4], after[:4])
  assert float(jnp.min(jnp.max(jnp.abs(before[4:] - after[4:]), axis=-1))) > 1e-3


def test_states_depend_on_distance_alone():
  params = random_params(PLAIN)
  tokens, ends = tokens_of(0, 6), jnp.full(6, 6)
  near, far = (padded(params, tokens, start + jnp.arange(6), ends, PLAIN) for start in (0, 100))
  np.testing.assert_allclose(near, far, rtol=0, atol=1e-4)


@pytest.mark.parametrize("remat", sorted({*transformer.REMAT_POLICIES} - {"none"}))
def test_remat_changes_neither_states_nor_gradients(remat):
  params, tokens = random_params(PLAIN), tokens_of(0, 5)
  target = np.random.default_rng(3).normal(size=(5, PLAIN.width)).astype(np.float32)

  def loss(params, config):
    return jnp.sum(target * alone(params, tokens, config))

  value, gradient = jax.value_and_grad(loss)(params, dataclasses.replace(PLAIN, remat=remat))
  wanted_value, wanted = jax.value_and_grad(loss)(params, PLAIN)
  np.testing.assert_allclose(value, wanted_value, rtol=1e-6)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), gradient, wanted)


def test_gradient_against_finite_differences():
  params = random_params(PLAIN)
  tokens = tokens_of(0, 5)
  target = np.random.default_rng(3).normal(size=(5, PLAIN.width)).astype(np.float32)
  loss = lambda params: jnp.sum(target * alone(params, tokens, PLAIN))
  rng = np.random.default_rng(4)
  direction = jax.tree.map(lambda a: rng.normal(size=a.shape).astype(np.float32), params)
  step = 1e-3
  above = loss(jax.tree.map(lambda a, d: a + step * d, params, direction))
  below = loss(jax.tree.map(lambda a, d: a - step * d, params, direction))
  slope = sum(map(jnp.vdot, jax.tree.leaves(jax.grad(loss)(params)), jax.tree.leaves(direction)))
  np.testing.assert_allclose((above - below) / (2 * step), slope, rtol=1e-2)


@pytest.mark.parametrize("family", FAMILIES)
def test_bfloat16_stays_near_fp32(family):
  config = FAMILIES[family]
  params, tokens = random_params(config), tokens_of(0, 9)
  half = dataclasses.replace(config, param_dtype="bfloat16")
  low = alone(jax.tree.map(lambda a: a.astype(jnp.bfloat16), params), tokens, half)
  assert low.dtype == jnp.bfloat16
  error = np.abs(np.asarray(low, np.float32) - np.asarray(alone(params, tokens, config)))
  assert np.max(error) < 0.25  # states are of order 1, and bf16 has 8 bits
  assert np.mean(error) < 0.03


# ---- the cache ---------------------------------------------------------------------------------------------------

prefill = jax.jit(transformer.prefill_chunk, static_argnames="config")
step = jax.jit(transformer.decode_step, static_argnames=("config", "live_lengths"))


@pytest.mark.parametrize("family", FAMILIES)
def test_cached_decoding_is_as_one_forward(family):
  config, params = FAMILIES[family], random_params(FAMILIES[family])
  length, chunk = 11, 4
  tokens = tokens_of(0, 3, length)
  wanted = jnp.stack([alone(params, row, config) for row in tokens])

  weights = transformer.decoding_weights(params, config)
  # Slot 1 gets two chunks, slot 2 one and a half (the second one padded), slot 0 nothing.
  cache = transformer.empty_cache(config, 3, 2 * BLOCK)
  slots = jnp.array([2, 1])
  for start in (0, chunk):
    given = tokens[slots, start : start + chunk]
    chunk_tokens = given if start == 0 else given.at[0, 2:].set(0)
    cache = prefill(weights, cache, slots, chunk_tokens, jnp.full(2, start), config=config)

  position = jnp.array([0, 2 * chunk, chunk + 2])
  for _ in range(length):
    at = jnp.minimum(position, length - 1)
    hidden, cache = step(
      weights,
      cache,
      tokens[jnp.arange(3), at],
      at,
      jnp.ones(3, bool),
      jnp.int32(1),
      config=config,
      live_lengths=(BLOCK, 2 * BLOCK),
    )
    running = np.asarray(position < length)
    np.testing.assert_allclose(hidden[running], wanted[jnp.arange(3), at][running], rtol=0, atol=1e-5)
    position += 1


def test_live_length_changes_nothing_while_it_covers_the_slots():
  weights = transformer.decoding_weights(random_params(PLAIN), PLAIN)
  tokens = tokens_of(0, 2, 4)
  cache = transformer.empty_cache(PLAIN, 2, 2 * BLOCK)
  cache = prefill(weights, cache, jnp.arange(2), tokens, jnp.zeros(2, jnp.int32), config=PLAIN)
  last = tokens[:, 3], jnp.array([4, 4])
  short, long = (
    step(weights, cache, *last, jnp.ones(2, bool), jnp.int32(live), config=PLAIN, live_lengths=(BLOCK, 2 * BLOCK))[0]
    for live in (0, 1)
  )
  np.testing.assert_allclose(short, long, rtol=0, atol=1e-6)


# ---- pieces --------------------------------------------------------------------------------------------------------


def test_llama3_frequencies_by_hand():
  # base 16, 4 channels: unscaled frequencies 1 and 16^(-1/2) = 1/4; wavelengths 6.28 and 25.13.
  config = dataclasses.replace(PLAIN, rope_base=16.0, rope_scaling=RopeScaling(8.0, 1.0, 4.0, 64))
  # 64 / 6.28 = 10.19 turns, more than 4: kept. 64 / 25.13 = 2.546 turns: ramp (2.546 - 1) / (4 - 1) = 0.5155,
  # so 1/4 * (0.5155 + 0.4845 / 8) = 0.1440.
  np.testing.assert_allclose(transformer.rope_frequencies(config), [1.0, 0.14402], atol=1e-5)
  # 8 positions of training: 8 / 6.28 = 1.273 turns, ramp 0.0911, 0.0911 + 0.9089 / 8 = 0.2047;
  # 8 / 25.13 = 0.318 turns, fewer than 1: 1/4 / 8.
  short = dataclasses.replace(config, rope_scaling=RopeScaling(8.0, 1.0, 4.0, 8))
  np.testing.assert_allclose(transformer.rope_frequencies(short), [0.20469, 0.03125], atol=1e-5)


def test_plain_frequencies_by_hand():
  config = dataclasses.replace(PLAIN, rope_base=81.0, head_dim=8)
  # 81^(-2c / 8) for c = 0..3: 1, 1/3, 1/9, 1/27
  np.testing.assert_allclose(transformer.rope_frequencies(config), [1, 1 / 3, 1 / 9, 1 / 27], rtol=1e-6)


def test_rotation_turns_channel_pairs_half_a_head_apart():
  x = jnp.array([[1.0, 0.0, 0.0, 2.0]])  # one head; pairs (0, 2) and (1, 3)
  quarter = jnp.array([[math.pi / 2, math.pi]])
  turned = transformer.rotate(x, (jnp.cos(quarter), jnp.sin(quarter)))
  np.testing.assert_allclose(turned, [[0.0, 0.0, 1.0, -2.0]], atol=1e-6)


def test_rms_norm_by_hand():
  # mean square (9 + 16) / 2 = 12.5; eps makes it 16
  found = transformer.rms_norm(jnp.array([3.0, 4.0]), jnp.array([1.0, 2.0]), 3.5)
  np.testing.assert_allclose(found, [0.75, 2.0])


@pytest.mark.parametrize("family", FAMILIES)
def test_specs_are_those_of_the_params(family):
  config = FAMILIES[family]
  specs = transformer.weight_specs(config)
  params = jax.eval_shape(lambda key: transformer.init_params(key, config), jax.random.key(0))
  assert jax.tree.map(lambda w: w.shape, specs, is_leaf=transformer.is_weight) == jax.tree.map(jnp.shape, params)
  assert all(len(w.axes) == len(w.shape) for w in jax.tree.leaves(specs, is_leaf=transformer.is_weight))
  assert transformer.parameter_count(config) == sum(a.size for a in jax.tree.leaves(params))
  assert transformer.unembedding(random_params(config), config).shape == (config.width, config.vocab_size)


def test_init_is_of_the_stated_spread_and_dtype():
  config = ModelConfig(300, 64, 2, 4, 2, 16, 100, param_dtype="bfloat16")
  params = transformer.init_params(jax.random.key(0), config)
  assert {a.dtype for a in jax.tree.leaves(params)} == {jnp.dtype("bfloat16")}
  # 1 / sqrt(64), and 1 / sqrt(2 * 2 layers * 64) for what adds to the residual stream
  np.testing.assert_allclose(np.std(np.asarray(params["embed"], np.float32)), 0.125, rtol=0.03)
  np.testing.assert_allclose(np.std(np.asarray(params["layers"]["down"], np.float32)), 0.0625, rtol=0.03)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"kv_heads": 4}, "multiple of kv_heads=4"),
    ({"head_dim": 5}, "must be even"),
    ({"remat": "some"}, "choose one of"),
    ({"attention": "flash"}, "attention='flash'; choose None or one of"),
  ],
)
def test_impossible_configs_are_refused(changes, message):
  with pytest.raises(ValueError, match=message):
    dataclasses.replace(PLAIN, **changes)
