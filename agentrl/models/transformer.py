"""One pure-functional decoder for Llama, Qwen2/2.5 and Qwen3.

Params are a plain pytree; layers are stacked on a leading axis and scanned. A weight's shape, logical axes and
initialiser stand in one place, `weight_specs`. Three entry points share every line of arithmetic:

  `forward`       whole rows under the forest mask, for the update
  `decode_step`   one token per slot over the slot cache
  `prefill_chunk` a chunk of given tokens for a few slots

The last two take the weights as `decoding_weights` lays them out, once per rollout: layers apart, so that none is
copied out of a stack at every token.

Rotary embedding: Su et al., 2021 (https://arxiv.org/abs/2104.09864), in the rotate-half layout of the published
checkpoints; Llama 3 frequency scaling as in https://arxiv.org/abs/2407.21783 and its reference configuration.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from agentrl.ops.attention import forest
from agentrl.ops.attention.cache import cache_attention, store
from agentrl.ops.attention.forest import forest_attention
from agentrl.ops.attention.forest.tiles import SAVED

Params = Any
Rotary = tuple[jax.Array, jax.Array]  # cos and sin, see `rotary_tables`
Layer = Mapping[str, jax.Array]  # weights of one layer, by name
Linear = Callable[[jax.Array, jax.Array], jax.Array]  # (x, matrix) -> x, for matrices as a layer holds them


@dataclasses.dataclass(frozen=True)
class RopeScaling:
  """Llama 3 rotary scaling: wavelengths beyond the original context are stretched by `factor`, with a smooth ramp."""

  factor: float
  low_freq_factor: float
  high_freq_factor: float
  original_positions: int


@dataclasses.dataclass(frozen=True)
class ModelConfig:
  """Shape and switches of a decoder. Llama: the defaults; Qwen2: `qkv_bias`; Qwen3: `qk_norm`.

  `attention` is the update's `implementation` of `forest_attention`.
  """

  vocab_size: int
  width: int
  layers: int
  heads: int
  kv_heads: int
  head_dim: int
  ffn: int
  rope_base: float = 10_000.0
  rope_scaling: RopeScaling | None = None
  norm_eps: float = 1e-5
  tied: bool = True
  qkv_bias: bool = False
  qk_norm: bool = False
  max_positions: int = 8192
  param_dtype: str = "float32"
  remat: str = "none"
  attention: str | None = None

  def __post_init__(self):
    if self.heads % self.kv_heads:
      raise ValueError(f"heads={self.heads} must be a multiple of kv_heads={self.kv_heads}")
    if self.head_dim % 2:
      raise ValueError(f"head_dim={self.head_dim} must be even: rotary embedding turns pairs of channels")
    if self.remat not in REMAT_POLICIES:
      raise ValueError(f"remat={self.remat!r}; choose one of {sorted(REMAT_POLICIES)}")
    if self.attention is not None and self.attention not in forest.IMPLEMENTATIONS:
      raise ValueError(f"attention={self.attention!r}; choose None or one of {sorted(forest.IMPLEMENTATIONS)}")


# What the backward pass keeps of each layer: everything, the outputs of weight matmuls and of attention, or the layer's
# input alone.
REMAT_POLICIES: dict[str, Callable | None] = {
  "none": jax.checkpoint_policies.everything_saveable,
  "dots": jax.checkpoint_policies.save_from_both_policies(
    jax.checkpoint_policies.dots_with_no_batch_dims_saveable, jax.checkpoint_policies.save_only_these_names(*SAVED)
  ),
  "full": jax.checkpoint_policies.nothing_saveable,
}


# ---- weights ----------------------------------------------------------------------------------------------------


class Weight(NamedTuple):
  """Shape, logical axes (one name per dimension; sharding rules map names to mesh axes) and initialiser of a weight."""

  shape: tuple[int, ...]
  axes: tuple[str, ...]
  init: Callable[[jax.Array, tuple[int, ...], Any], jax.Array]


def normal(std: float) -> Callable:
  """Initialiser: normal with the given standard deviation."""
  return lambda key, shape, dtype: (std * jax.random.normal(key, shape)).astype(dtype)


def zeros(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
  """Initialiser: zeros."""
  del key
  return jnp.zeros(shape, dtype)


def ones(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
  """Initialiser: ones."""
  del key
  return jnp.ones(shape, dtype)


def weight_specs(config: ModelConfig) -> Params:
  """The pytree of `Weight`, in the structure of the params."""
  c = config
  n, d, q, kv = c.layers, c.width, c.heads * c.head_dim, c.kv_heads * c.head_dim
  wide, out = normal(d**-0.5), normal((2 * n * d) ** -0.5)
  layers = {
    "attn_norm": Weight((n, d), ("layer", "norm"), ones),
    "q": Weight((n, d, q), ("layer", "width", "heads"), wide),
    "k": Weight((n, d, kv), ("layer", "width", "kv_heads"), wide),
    "v": Weight((n, d, kv), ("layer", "width", "kv_heads"), wide),
    "o": Weight((n, q, d), ("layer", "heads", "width"), out),
    "mlp_norm": Weight((n, d), ("layer", "norm"), ones),
    "gate": Weight((n, d, c.ffn), ("layer", "width", "ffn"), wide),
    "up": Weight((n, d, c.ffn), ("layer", "width", "ffn"), wide),
    "down": Weight((n, c.ffn, d), ("layer", "ffn", "width"), out),
  }
  if c.qkv_bias:
    layers["q_bias"] = Weight((n, q), ("layer", "heads"), zeros)
    layers["k_bias"] = Weight((n, kv), ("layer", "kv_heads"), zeros)
    layers["v_bias"] = Weight((n, kv), ("layer", "kv_heads"), zeros)
  if c.qk_norm:
    layers["q_norm"] = Weight((n, c.head_dim), ("layer", "norm"), ones)
    layers["k_norm"] = Weight((n, c.head_dim), ("layer", "norm"), ones)
  specs = {
    "embed": Weight((c.vocab_size, d), ("vocab", "width"), normal(d**-0.5)),
    "layers": layers,
    "final_norm": Weight((d,), ("norm",), ones),
  }
  if not c.tied:
    specs["unembed"] = Weight((d, c.vocab_size), ("width", "vocab"), normal(d**-0.5))
  return specs


def is_weight(leaf: Any) -> bool:
  """Tells a `Weight` from the containers around it, for `jax.tree.map(..., is_leaf=is_weight)`."""
  return isinstance(leaf, Weight)


def init_from_specs(key: jax.Array, specs: Params, dtype: Any) -> Params:
  """Initialises any pytree of `Weight`."""
  leaves, treedef = jax.tree.flatten(specs, is_leaf=is_weight)
  keys = jax.random.split(key, len(leaves))
  return jax.tree.unflatten(treedef, [w.init(k, w.shape, dtype) for w, k in zip(leaves, keys, strict=True)])


def init_params(key: jax.Array, config: ModelConfig) -> Params:
  """Random params in `config.param_dtype`."""
  return init_from_specs(key, weight_specs(config), jnp.dtype(config.param_dtype))


def unembedding(params: Params, config: ModelConfig) -> jax.Array:
  """The `[D, V]` output matrix; with tied weights a transposed view of the embedding."""
  return params["embed"].T if config.tied else params["unembed"]


def parameter_count(config: ModelConfig) -> int:
  """Number of scalars in the params."""
  return sum(math.prod(w.shape) for w in jax.tree.leaves(weight_specs(config), is_leaf=is_weight))


# ---- arithmetic of one layer --------------------------------------------------------------------------------------


def rms_norm(x: jax.Array, weight: jax.Array, eps: float) -> jax.Array:
  """x / rms(x) * weight over the last axis, computed in fp32 (Zhang and Sennrich, 2019)."""
  x32 = x.astype(jnp.float32)
  scale = jax.lax.rsqrt(jnp.mean(x32 * x32, axis=-1, keepdims=True) + eps)
  return _per_channel((x32 * scale).astype(x.dtype), weight, jnp.multiply)


def _per_channel(x: jax.Array, vector: jax.Array, op: Callable[[jax.Array, jax.Array], jax.Array]) -> jax.Array:
  return op(x, vector.reshape((1,) * (x.ndim - 1) + vector.shape))


def rope_frequencies(config: ModelConfig) -> np.ndarray:
  """Angular frequency of each channel pair, f32 `[C / 2]`, in radians per position."""
  exponent = np.arange(0, config.head_dim, 2, dtype=np.float64) / config.head_dim
  frequency = config.rope_base**-exponent
  if config.rope_scaling is None:
    return frequency.astype(np.float32)
  s = config.rope_scaling
  turns = s.original_positions * frequency / (2 * np.pi)
  ramp = np.clip((turns - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor), 0.0, 1.0)
  return (frequency * (ramp + (1.0 - ramp) / s.factor)).astype(np.float32)


def rotary_tables(positions: jax.Array, config: ModelConfig) -> tuple[jax.Array, jax.Array]:
  """cos and sin, f32 `[..., 1, C / 2]`, ready to broadcast over heads."""
  frequency = rope_frequencies(config).reshape((1,) * positions.ndim + (-1,))
  angle = positions[..., None].astype(jnp.float32) * frequency
  return jnp.cos(angle)[..., None, :], jnp.sin(angle)[..., None, :]


def rotate(x: jax.Array, rotary: tuple[jax.Array, jax.Array]) -> jax.Array:
  """Turns the pairs (c, c + C / 2) of `x [..., heads, C]`."""
  cos, sin = rotary
  first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
  return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1).astype(x.dtype)


def _attention_inputs(
  x: jax.Array, w: Layer, rotary: Rotary, config: ModelConfig, linear: Linear
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """x `[B, T, D]` -> q `[B, T, H, C]`, k and v `[B, T, K, C]`, after bias, norm and rotation."""
  h = rms_norm(x, w["attn_norm"], config.norm_eps)
  q, k, v = linear(h, w["q"]), linear(h, w["k"]), linear(h, w["v"])
  if config.qkv_bias:
    q, k, v = (_per_channel(a, w[name], jnp.add) for a, name in ((q, "q_bias"), (k, "k_bias"), (v, "v_bias")))
  q, k, v = (a.reshape(*a.shape[:-1], -1, config.head_dim) for a in (q, k, v))
  if config.qk_norm:
    q, k = rms_norm(q, w["q_norm"], config.norm_eps), rms_norm(k, w["k_norm"], config.norm_eps)
  return rotate(q, rotary), rotate(k, rotary), v


def _feed_forward(x: jax.Array, w: Layer, config: ModelConfig, linear: Linear) -> jax.Array:
  h = rms_norm(x, w["mlp_norm"], config.norm_eps)
  return linear(jax.nn.silu(linear(h, w["gate"])) * linear(h, w["up"]), w["down"])


def input_major(x: jax.Array, w: jax.Array) -> jax.Array:
  """`x [..., in] @ w` for `w [in, out]`.

  Through two dimensions: the gradient for w of a product of three makes XLA transpose the gradient in memory on a CPU.
  """
  return (x.reshape(-1, x.shape[-1]) @ w).reshape(*x.shape[:-1], -1)


def _layer(
  x: jax.Array, w: Layer, rotary: Rotary, attend: Callable[..., Any], config: ModelConfig, linear: Linear = input_major
) -> tuple[jax.Array, Any]:
  """One decoder layer. Training and decoding differ in two things.

  Args:
    x: `[B, T, D]`.
    w: weights of the layer.
    rotary: of the positions.
    attend: `(q, k, v) -> (mixed, carried)`.
    config: of the model.
    linear: `(x, matrix) -> x` for matrices as `w` holds them.

  Returns:
    `[B, T, D]`, and what `attend` carried.
  """
  mixed, carried = attend(*_attention_inputs(x, w, rotary, config, linear))
  x = x + linear(mixed.reshape(*mixed.shape[:-2], -1), w["o"])
  return x + _feed_forward(x, w, config, linear), carried


# ---- training -----------------------------------------------------------------------------------------------------


def forward(
  params: Params, tokens: jax.Array, positions: jax.Array, subtree_end: jax.Array, *, config: ModelConfig,
  place: Callable[[jax.Array], jax.Array] = lambda hidden: hidden,
):  # fmt: skip
  """Hidden states after the final norm, of whole rows under the forest mask.

  Args:
    tokens: int32 `[B, T]`; see `types.Batch`.
    positions: int32 `[B, T]`.
    subtree_end: int32 `[B, T]`.
    place: says between layers on which devices the hidden states `[B, T, D]` lie.

  Returns:
    `[B, T, D]` in the params' dtype. The state at `parent[i]` predicts token i.
  """
  rotary = rotary_tables(positions, config)

  def attend(q, k, v):
    return forest_attention(q, k, v, subtree_end, implementation=config.attention), None

  def layer(x, w):
    x, carried = _layer(x, w, rotary, attend, config)
    return place(x), carried

  x = place(params["embed"][tokens])
  x, _ = jax.lax.scan(jax.checkpoint(layer, policy=REMAT_POLICIES[config.remat]), x, params["layers"])
  return rms_norm(x, params["final_norm"], config.norm_eps)


# ---- decoding over the slot cache ---------------------------------------------------------------------------------


class DecodingWeights(NamedTuple):
  """The policy's weights as decoding reads them."""

  embed: jax.Array  # [V, D]
  layers: tuple[Mapping[str, jax.Array], ...]  # one dict per layer; matrices are [out, in]
  final_norm: jax.Array  # [D]
  unembed: jax.Array  # [V, D]


def decoding_weights(params: Params, config: ModelConfig) -> DecodingWeights:
  """Layers apart and matrices output-major; a copy of the layers, to be made once per rollout."""

  def of_layer(a, index):
    return a[index].T if a.ndim == 3 else a[index]

  layers = tuple(jax.tree.map(lambda a, i=i: of_layer(a, i), params["layers"]) for i in range(config.layers))
  unembed = params["embed"] if config.tied else params["unembed"].T
  return DecodingWeights(params["embed"], layers, params["final_norm"], unembed)


def output_major(x: jax.Array, w: jax.Array) -> jax.Array:
  """`x [..., in] @ w.T` for `w [out, in]`.

  XLA multiplies few rows by a large matrix a third faster on a CPU when the matrix comes first and the rows lie side
  by side; the barriers keep it from turning the product round again.
  """

  def matrix_first(x, w):
    columns = jax.lax.optimization_barrier(x.reshape(-1, x.shape[-1]).T)
    return jax.lax.optimization_barrier(w @ columns).T.reshape(*x.shape[:-1], w.shape[0])

  return jax.lax.platform_dependent(x, w, cpu=matrix_first, default=lambda x, w: x @ w.T)


class Cache(NamedTuple):
  """Keys and values of every slot, one of each per layer; how they lie is `ops.attention.cache.store`'s business."""

  k: tuple[jax.Array | store.Int8, ...]  # L of [B, K, S / T, C, T]
  v: tuple[jax.Array | store.Int8, ...]  # L of [B, K, S, C]


def empty_cache(config: ModelConfig, slots: int, positions: int, *, dtype: str | None = None) -> Cache:
  """Zeros for `slots` slots of `positions` positions, in a dtype of `CACHE_DTYPES`; None: the params'.

  Raises ValueError where `positions` are not `cache.whole_blocks`.
  """
  dtype = config.param_dtype if dtype is None else dtype
  layers = [store.empty(slots, config.kv_heads, config.head_dim, positions, dtype) for _ in range(config.layers)]
  return Cache(*zip(*layers, strict=True))


def _cached_layers(
  weights: DecodingWeights, cache: Cache, tokens: jax.Array, positions: jax.Array, attend: Callable[..., Any],
  config: ModelConfig,
) -> tuple[jax.Array, Cache]:  # fmt: skip
  """Runs the layers one by one; `attend(layer_cache, q, k, v) -> (mixed, layer_cache)`."""
  rotary, x, layers = rotary_tables(positions, config), weights.embed[tokens], []
  for w, k, v in zip(weights.layers, *cache, strict=True):
    x, kept = _layer(x, w, rotary, functools.partial(attend, store.LayerCache(k, v)), config, output_major)
    layers.append(kept)
  return rms_norm(x, weights.final_norm, config.norm_eps), Cache(*zip(*layers, strict=True))


def decode_step(
  weights: DecodingWeights, cache: Cache, tokens: jax.Array, positions: jax.Array, runs: jax.Array, live: jax.Array, *,
  config: ModelConfig, live_lengths: Sequence[int], attention: str | None = None,
) -> tuple[jax.Array, Cache]:  # fmt: skip
  """Feeds one token per slot.

  Args:
    cache: keys and values; positions before `positions[b]` of slot b are valid.
    tokens: int32 `[B]`.
    positions: int32 `[B]`, where each is written.
    runs: bool `[B]`; the others write nothing, attend to one position, and what comes out for them means nothing.
    live: int32 [], index into `live_lengths` of a length that covers every position of the slots that run.
    live_lengths: static lengths, whole blocks each; attention reads only that many cache positions.
    attention: `cache_attention`'s `implementation`.

  Returns:
    hidden `[B, D]` after the final norm, and the cache.
  """
  rows = jnp.arange(tokens.shape[0])[:, None]
  written = jnp.where(runs, positions, PAST_THE_END)[:, None]
  seen = jnp.where(runs, positions, 0)[:, None]

  def attend(cache, q, k, v):
    cache = store.write(cache, rows, written, k, v)
    reads = [functools.partial(_read, length=length, implementation=attention) for length in live_lengths]
    return jax.lax.switch(live, reads, q, cache, seen), cache

  hidden, cache = _cached_layers(weights, cache, tokens[:, None], positions[:, None], attend, config)
  return hidden[:, 0], cache


def copy_positions(whole: Cache, part: Cache, slots: jax.Array, positions: jax.Array) -> Cache:
  """`store.copy_positions` in every layer."""
  layers = zip(*whole, *part, strict=True)
  moved = [
    store.copy_positions(store.LayerCache(k, v), store.LayerCache(new_k, new_v), slots, positions)
    for k, v, new_k, new_v in layers
  ]
  return Cache(*zip(*moved, strict=True))


PAST_THE_END = 2**30  # a position that no cache has: what is written there is dropped


def _read(
  q: jax.Array, cache: store.LayerCache, positions: jax.Array, *, length: int, implementation: str | None
) -> jax.Array:
  return cache_attention(q, *store.first_positions(cache, length), positions, implementation=implementation)


def prefill_chunk(
  weights: DecodingWeights, cache: Cache, slots: jax.Array, tokens: jax.Array, starts: jax.Array, *,
  config: ModelConfig, attention: str | None = None,
) -> Cache:  # fmt: skip
  """Feeds a chunk of given tokens to a few slots; nothing is unembedded.

  Args:
    slots: int32 `[R]`, distinct slots.
    tokens: int32 `[R, T]`. A short chunk is padded at its end: what padding writes lies past the slot's length and is
      overwritten later, or past the cache's end and is dropped.
    starts: int32 `[R]`, position of the first token.
    attention: `cache_attention`'s `implementation`.

  Returns:
    The cache.
  """
  positions = starts[:, None] + jnp.arange(tokens.shape[1])[None]

  def attend(cache, q, k, v):
    cache = store.write(cache, slots[:, None], positions, k, v)
    return cache_attention(q, *store.of_slots(cache, slots), positions, implementation=attention), cache

  return _cached_layers(weights, cache, tokens, positions, attend, config)[1]
