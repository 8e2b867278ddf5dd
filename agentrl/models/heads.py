"""Heads on the decoder's hidden states."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp

from agentrl.models.transformer import ModelConfig, Params, Weight, init_from_specs, zeros


def value_head_specs(config: ModelConfig) -> Params:
  """The pytree of `Weight` of the value head: one linear map with bias, both zero at first."""
  return {
    "weight": Weight((config.width,), ("norm",), zeros),
    "bias": Weight((), (), zeros),
  }


def init_value_head(key: jax.Array, config: ModelConfig) -> Params:
  """Value head params, always fp32; every value they predict is 0."""
  return init_from_specs(key, value_head_specs(config), jnp.float32)


def apply_value_head(params: Params, hidden: jax.Array) -> jax.Array:
  """V(s) = hidden . weight + bias.

  Args:
    params: from `init_value_head`.
    hidden: `[..., D]` after the final norm, in any float dtype.

  Returns:
    f32 `[...]`. Gradients flow into `hidden` too; stop them there where the policy's trunk must not move.
  """
  chex.assert_shape(hidden, (..., params["weight"].shape[0]))
  return hidden.astype(jnp.float32) @ params["weight"] + params["bias"]
