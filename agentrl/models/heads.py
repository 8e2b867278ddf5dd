"""Heads on the decoder's hidden states."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp

from agentrl.models.transformer import ModelConfig, Params, Weight, init_from_specs, normal, zeros


def value_head_specs(config: ModelConfig, width: int = 0) -> Params:
  """The pytree of `Weight` of the value head: a linear map with bias, both zero at first, behind what `width` says.

  Args:
    config: of the model whose hidden states it reads.
    width: of a hidden layer; 0: there is none.
  """
  if width < 0:
    raise ValueError(f"a hidden layer of width {width}: it must not be negative; 0 makes the value head linear")
  layer = {
    "in": Weight((config.width, width), ("norm",) * 2, normal(config.width**-0.5)),
    "in_bias": Weight((width,), ("norm",), zeros),
  }
  linear = {
    "weight": Weight((width or config.width,), ("norm",), zeros),
    "bias": Weight((), (), zeros),
  }
  return {**layer, **linear} if width else linear


def init_value_head(key: jax.Array, config: ModelConfig, width: int = 0) -> Params:
  """Value head params, always fp32; every value they predict is 0. `width` as in `value_head_specs`."""
  return init_from_specs(key, value_head_specs(config, width), jnp.float32)


def apply_value_head(params: Params, hidden: jax.Array) -> jax.Array:
  """V(s) = x . weight + bias, where x is the hidden state, or gelu(hidden in + in_bias) of a head with a hidden layer.

  Args:
    params: from `init_value_head`.
    hidden: `[..., D]` after the final norm, in any float dtype.

  Returns:
    f32 `[...]`. Gradients flow into `hidden` too; stop them there where the policy's trunk must not move.
  """
  x = hidden.astype(jnp.float32)
  if "in" in params:
    chex.assert_shape(hidden, (..., params["in"].shape[0]))
    inner = jnp.einsum("...d,dh->...h", x, params["in"])
    x = jax.nn.gelu(inner + jnp.broadcast_to(params["in_bias"], inner.shape))
  chex.assert_shape(x, (..., params["weight"].shape[0]))
  return x @ params["weight"] + params["bias"]


# ---- critics of whole utterances ------------------------------------------------------------------------------------

TWINS = 2


def utterance_critic_specs(config: ModelConfig, hidden: int, features: int = 0) -> Params:
  """The pytree of `Weight` of twin Q and twin V heads, each a perceptron with one hidden layer.

  Zhou et al., 2024 (https://arxiv.org/abs/2402.19446), section 3: two of each, and the smaller estimate counts.

  Args:
    config: of the model whose hidden states they read.
    hidden: width of the hidden layer.
    features: how many numbers Q sees of an utterance besides hidden states.
  """

  def perceptron(inputs: int) -> Params:
    return {
      "in": Weight((TWINS, inputs, hidden), ("norm",) * 3, normal(inputs**-0.5)),
      "in_bias": Weight((TWINS, hidden), ("norm",) * 2, zeros),
      "out": Weight((TWINS, hidden), ("norm",) * 2, normal(hidden**-0.5)),
      "out_bias": Weight((TWINS,), ("norm",), zeros),
    }

  return {"q": perceptron(2 * config.width + features), "v": perceptron(config.width)}


def init_utterance_critic(key: jax.Array, config: ModelConfig, hidden: int, features: int = 0) -> Params:
  """Params of the twin heads, always fp32; the twins differ from the start. See `utterance_critic_specs`."""
  return init_from_specs(key, utterance_critic_specs(config, hidden, features), jnp.float32)


def apply_q(params: Params, state: jax.Array, action: jax.Array, features: jax.Array) -> jax.Array:
  """Q_1(s, a) and Q_2(s, a).

  Args:
    params: from `init_utterance_critic`.
    state: `[..., D]`, hidden states at the last token of the state.
    action: `[..., D]`, hidden states at the last token of the utterance.
    features: `[..., features]`, of the utterance.

  Returns:
    f32 `[2, ...]`.
  """
  return _perceptrons(params["q"], jnp.concatenate([a.astype(jnp.float32) for a in (state, action, features)], axis=-1))


def apply_v(params: Params, state: jax.Array) -> jax.Array:
  """V_1(s) and V_2(s), f32 `[2, ...]`, of hidden states `[..., D]`."""
  return _perceptrons(params["v"], state)


def _perceptrons(params: Params, x: jax.Array) -> jax.Array:
  flat = x.reshape(-1, x.shape[-1]).astype(jnp.float32)

  def one(w):
    return jax.nn.gelu(flat @ w["in"] + w["in_bias"][None]) @ w["out"] + w["out_bias"]

  return jax.vmap(one)(params).reshape(TWINS, *x.shape[:-1])
