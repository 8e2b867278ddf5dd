"""Attention over the slot cache: every implementation against one query, head and position at a time.

The Triton kernels run in Triton's interpreter here, which must be chosen before Triton is imported: in a process of its
own, with TRITON_INTERPRET=1, that runs this very file.
"""

import functools
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.models import transformer
from agentrl.ops.attention.cache import BLOCK, IMPLEMENTATIONS, Int8, cache_attention, store

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
NAMES = ["triton"] if INTERPRETED else ["reference", "xla"]
TOLERANCE = {"float32": 1e-5, "bfloat16": 3e-2}


def _numbers(seed, *, slots=3, queries=2, heads=4, kv_heads=2, channels=16, positions=2 * BLOCK, std=1.0):
  """float64 queries, keys and values; the scores have about the given standard deviation."""
  rng = np.random.default_rng(seed)
  q = rng.normal(size=(slots, queries, heads, channels), scale=std)
  k = rng.normal(size=(slots, kv_heads, channels, positions))
  v = rng.normal(size=(slots, kv_heads, positions, channels))
  return q, k, v


def _arrays(seed, *, dtype=jnp.float32, **sizes):
  return tuple(jnp.asarray(a, dtype) for a in _numbers(seed, **sizes))


def _stored(k, v):
  """Keys `[B, K, C, S]` and values as the cache holds them, with something large in the rest of the last block."""
  missing = -k.shape[3] % BLOCK
  k = jnp.pad(k, ((0, 0), (0, 0), (0, 0), (0, missing)), constant_values=1e9)
  v = jnp.pad(v, ((0, 0), (0, 0), (0, missing), (0, 0)), constant_values=1e9)
  return k.reshape(*k.shape[:3], -1, BLOCK).swapaxes(2, 3), v


def _attend(q, k, v, positions, name):
  return cache_attention(q, *_stored(k, v), positions, implementation=name)


def _naive(q, k, v, positions):
  q, k, v = (np.asarray(a, np.float64) for a in (q, k, v))
  group, out = q.shape[2] // k.shape[1], np.zeros(q.shape)
  for b, i, h in np.ndindex(*q.shape[:3]):
    seen = int(positions[b, i]) + 1
    scores = q[b, i, h] @ k[b, h // group, :, :seen] / np.sqrt(q.shape[3])
    weights = np.exp(scores - scores.max())
    out[b, i, h] = weights @ v[b, h // group, :seen] / weights.sum()
  return out


def _int8(k, v):
  """The `Int8` keys and values of whole blocks, and the numbers that they stand for."""
  keys, values = store.quantize(k.swapaxes(2, 3)), store.quantize(v)
  numbers = [np.asarray(a.values, np.float64) * np.asarray(a.scale)[..., None] for a in (keys, values)]
  stored = _stored(keys.values.swapaxes(2, 3), values.values)[0]
  return Int8(stored, keys.scale), values, numbers[0].swapaxes(2, 3), numbers[1]


@pytest.mark.parametrize("name", NAMES)
class TestImplementations:
  @pytest.mark.parametrize("std", [0.3, 3.0, 30.0])
  @pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
  def test_matches_the_naive_loop(self, name, dtype, std):
    q, k, v = _arrays(0, dtype=jnp.dtype(dtype), std=std)
    at = jnp.asarray([[0, 1], [126, 127], [3, 2]])
    got = _attend(q, k, v, at, name)
    assert got.dtype == q.dtype
    np.testing.assert_allclose(np.asarray(got, np.float64), _naive(q, k, v, at), atol=TOLERANCE[dtype])

  @pytest.mark.parametrize("positions", [5, 63, 64, 65, 300])
  def test_any_length_one_off_the_block(self, name, positions):
    q, k, v = _arrays(1, queries=1, heads=3, kv_heads=1, positions=positions)
    at = jnp.asarray([[0], [positions - 1], [positions // 2]])
    np.testing.assert_allclose(_attend(q, k, v, at, name), _naive(q, k, v, at), atol=1e-5)

  def test_a_slot_of_one_position_beside_long_ones(self, name):
    """Also across the pieces that long slots are split into, whose borders lie at multiples of 256."""
    q, k, v = _arrays(2, slots=6, queries=1, kv_heads=1, heads=2, positions=800)
    at = jnp.asarray([[0], [799], [255], [256], [257], [511]])
    np.testing.assert_allclose(_attend(q, k, v, at, name), _naive(q, k, v, at), atol=1e-5)

  def test_many_queries_of_a_slot_see_up_to_their_own_position(self, name):
    q, k, v = _arrays(3, slots=2, queries=24, heads=6, kv_heads=2, positions=300)
    at = jnp.stack([240 + jnp.arange(24), jnp.arange(24)])
    np.testing.assert_allclose(_attend(q, k, v, at, name), _naive(q, k, v, at), atol=1e-5)

  def test_queries_past_the_end_of_the_cache_see_all_of_it(self, name):
    """Padding of a prefill chunk; its result is not used, and reads nothing that is not there."""
    q, k, v = _arrays(4)
    got = _attend(q, k, v, jnp.full((3, 2), 5 * BLOCK), name)
    np.testing.assert_allclose(got, _naive(q, k, v, np.full((3, 2), 2 * BLOCK - 1)), atol=1e-5)

  @pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
  def test_int8_matches_the_naive_loop_over_what_is_stored(self, name, dtype):
    q, k, v = _arrays(5)
    keys, values, k, v = _int8(k, v)
    q, at = q.astype(dtype), jnp.asarray([[0, 1], [62, 99], [3, 2]])
    got = cache_attention(q, keys, values, at, implementation=name)
    np.testing.assert_allclose(np.asarray(got, np.float64), _naive(q, k, v, at), atol=TOLERANCE[dtype])

  def test_a_bfloat16_cache_under_float32_queries_is_read_as_it_is(self, name):
    q, k, v = _arrays(6)
    k, v, at = k.astype(jnp.bfloat16), v.astype(jnp.bfloat16), jnp.full((3, 2), 50)
    got = _attend(q, k, v, at, name)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, _naive(q, k, v, at), atol=1e-5)

  def test_what_lies_behind_a_query_is_never_seen(self, name):
    q, k, v = _arrays(7)
    at = jnp.full((3, 2), 9)
    junk = jnp.arange(2 * BLOCK) > 9
    got = _attend(q, jnp.where(junk, 1e9, k), jnp.where(junk[:, None], 1e9, v), at, name)
    np.testing.assert_allclose(got, _naive(q, k, v, at), atol=1e-5)

  def test_other_slots_lengths_change_no_bit(self, name):
    q, k, v = _arrays(8, slots=6, queries=1, heads=6, kv_heads=2, positions=10 * BLOCK)
    at = jnp.asarray(np.random.default_rng(0).integers(0, 10 * BLOCK, (6, 1)))
    attend = jax.jit(functools.partial(_attend, name=name))
    alone = attend(q, k, v, at.at[1:].set(0))[0]
    np.testing.assert_array_equal(attend(q, k, v, at)[0], alone)
    np.testing.assert_array_equal(attend(q, k, v, at.at[1:].set(10 * BLOCK - 1))[0], alone)

  @pytest.mark.parametrize("dtype", ["float32", "int8"])
  def test_a_cache_written_token_by_token(self, name, dtype):
    rng = np.random.default_rng(9)
    k, v = rng.normal(size=(2, 3, 5, 2, 16)).astype(np.float32)  # [R, T, K, C] twice
    slots, at = jnp.asarray([[2], [0], [1]]), jnp.asarray([[0, 1, 2, 3, 4]] * 3)
    cache = store.empty(3, 2, 16, 2 * BLOCK, dtype)
    for t in range(5):
      cache = store.write(cache, slots, at[:, t : t + 1], k[:, t : t + 1], v[:, t : t + 1])
    # Past the end: nothing may change.
    cache = store.write(cache, slots, jnp.full((3, 1), 2 * BLOCK), k[:, :1], v[:, :1])
    q = jnp.asarray(rng.normal(size=(3, 1, 4, 16)), jnp.float32)
    got = cache_attention(q, *store.of_slots(cache, slots[:, 0]), at[:, 4:], implementation=name)
    wanted = _naive(q, k.transpose(0, 2, 3, 1), v.transpose(0, 2, 1, 3), at[:, 4:])
    np.testing.assert_allclose(got, wanted, atol=1e-5 if dtype == "float32" else 0.03)


@pytest.mark.skipif(not INTERPRETED, reason="runs in the interpreter")
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_a_model_decodes_through_triton_as_through_xla(dtype):
  """A chunk of prefill, then one token; the second slot does not run."""
  model = transformer.ModelConfig(vocab_size=11, width=16, layers=2, heads=4, kv_heads=2, head_dim=16, ffn=16)
  weights = transformer.decoding_weights(transformer.init_params(jax.random.key(0), model), model)
  tokens, slots = jnp.asarray([[1, 2, 3], [4, 5, 6]]), jnp.asarray([1, 0])
  runs, at = jnp.asarray([True, False]), jnp.asarray([3, 3])

  @functools.partial(jax.jit, static_argnames="attention")
  def decode(cache, *, attention):
    starts = jnp.zeros(2, jnp.int32)
    cache = transformer.prefill_chunk(weights, cache, slots, tokens, starts, config=model, attention=attention)
    return transformer.decode_step(
      weights, cache, tokens[:, 0], at, runs, jnp.int32(0), config=model, live_lengths=(BLOCK,), attention=attention
    )

  cache = transformer.empty_cache(model, 2, BLOCK, dtype=dtype)
  (hidden, ours), (wanted, theirs) = (decode(cache, attention=name) for name in ("triton", "xla"))
  np.testing.assert_allclose(hidden[0], wanted[0], atol=1e-5 if dtype == "float32" else 2e-2)
  if dtype == "float32":
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), ours, theirs)


@pytest.mark.skipif(INTERPRETED, reason="of the XLA implementation")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_reading_more_of_the_cache_changes_no_bit(dtype):
  q, k, v = _arrays(2, slots=32, queries=1, heads=6, kv_heads=2, positions=6 * BLOCK)
  at = jnp.asarray(np.random.default_rng(0).integers(0, BLOCK, (32, 1)))
  cache = store.LayerCache(*(_int8(k, v)[:2] if dtype == "int8" else _stored(k.astype(dtype), v.astype(dtype))))

  @functools.partial(jax.jit, static_argnames="length")
  def read(q, cache, *, length):
    return cache_attention(q, *store.first_positions(cache, length), at)

  for blocks in (1, 2, 3, 4):
    np.testing.assert_array_equal(read(q, cache, length=blocks * BLOCK), read(q, cache, length=6 * BLOCK))


def test_a_cache_of_another_dtype_is_refused():
  assert store.empty(1, 1, 1, 64, jnp.int8).k.scale.dtype == jnp.float32
  with pytest.raises(ValueError, match="a cache is float32, bfloat16, int8; got float16"):
    store.empty(1, 1, 1, 64, "float16")


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"slots": jnp.arange(2)}, r"slots \[R, 1\] and positions \[R, T\]; got \(2,\) and \(2, 3\)"),
    ({"positions": jnp.arange(3)}, r"got \(2, 1\) and \(3,\)"),
    ({"k": jnp.zeros((2, 1, 1, 4))}, r"k must be \[R, T, K, C\] = \(2, 3, 1, 4\); got \(2, 1, 1, 4\)"),
    ({"v": jnp.zeros((2, 3, 1, 1))}, r"v must be \[R, T, K, C\]"),
  ],
)
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_what_does_not_fit_is_not_written(dtype, change, message):
  new = jnp.zeros((2, 3, 1, 4))
  given = {"slots": jnp.arange(2)[:, None], "positions": jnp.tile(jnp.arange(3)[None], (2, 1)), "k": new, "v": new}
  with pytest.raises(ValueError, match=message):
    store.write(store.empty(2, 1, 4, 64, dtype), **given | change)


@pytest.mark.skipif(INTERPRETED, reason="it is what runs")
def test_triton_in_its_interpreter(run_interpreted):
  pytest.importorskip("triton")
  run_interpreted(__file__, "")


def _change(**change):
  q, k, v = _arrays(4)
  k, v = _stored(k, v)
  return {"q": q, "k": k, "v": v, "positions": jnp.zeros((3, 2), jnp.int32)} | change


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"q": jnp.zeros((3, 2, 4, 5))}, "cache_attention needs q"),
    ({"q": jnp.zeros((3, 2, 3, 16))}, "3 query heads cannot share 2"),
    ({"q": jnp.zeros((3, 2, 4, 16), jnp.int32)}, "q must be float32 or bfloat16; got int32"),
    ({"v": jnp.zeros((3, 2, 63, 16))}, "v must be"),
    ({"k": jnp.zeros((3, 2, 16, 128))}, r"k \[B, K, S / 64, C, 64\]; got \(3, 2, 4, 16\) and \(3, 2, 16, 128\)"),
    ({"v": jnp.zeros((3, 2, 128, 16), jnp.int8)}, "v must be float32, bfloat16 or Int8; got int8"),
    ({"v": Int8(jnp.zeros((3, 2, 128, 16), jnp.int8), jnp.zeros((3, 2, 128)))}, "both be Int8"),
    ({"positions": jnp.zeros((3, 1), jnp.int32)}, r"positions must be integers \[B, T\]"),
    ({"positions": jnp.zeros((3, 2))}, "positions must be integers"),
    ({"implementation": "tirton"}, "did you mean 'triton'"),
  ],
)
def test_bad_input_is_named(change, message):
  with pytest.raises(ValueError, match=message):
    cache_attention(**_change(**change))


def test_scales_must_fit():
  keys, values, *_ = _int8(*_arrays(4)[1:])
  with pytest.raises(ValueError, match=r"k.scale must be float32 \[B, K, S\] = \(3, 2, 128\)"):
    cache_attention(**_change(k=keys._replace(scale=keys.scale[:, :, 1:]), v=values))


@pytest.mark.skipif(INTERPRETED, reason="runs there")
def test_triton_needs_its_device():
  assert "triton" in IMPLEMENTATIONS
  with pytest.raises(ValueError, match=r"cache_attention: implementation='triton'.* needs an NVIDIA GPU"):
    cache_attention(**_change(implementation="triton"))
