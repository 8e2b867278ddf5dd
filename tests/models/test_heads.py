import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from agentrl.models import heads, transformer
from agentrl.models.transformer import ModelConfig

CONFIG = ModelConfig(vocab_size=7, width=6, layers=1, heads=2, kv_heads=1, head_dim=4, ffn=8)


@pytest.mark.parametrize("width", [0, 5])
def test_values_are_zero_at_first_in_every_shape(width):
  params = heads.init_value_head(jax.random.key(0), CONFIG, width)
  for lead in ((), (3,), (2, 3)):
    values = heads.apply_value_head(params, jax.random.normal(jax.random.key(1), (*lead, 6)))
    assert values.shape == lead
    np.testing.assert_array_equal(values, 0.0)


def test_value_by_hand():
  params = {"weight": jnp.array([1.0, -2.0, 0.0, 0.0, 0.0, 0.5]), "bias": jnp.float32(0.25)}
  hidden = jnp.array([3.0, 1.0, 9.0, 9.0, 9.0, 4.0])
  # 3 - 2 + 2 + 0.25
  assert float(heads.apply_value_head(params, hidden)) == 3.25


def test_value_of_a_hidden_layer_by_hand():
  params = {
    "in": jnp.array([[1.0, 0.0], [0.0, -1.0]]), "in_bias": jnp.array([0.5, 0.0]),
    "weight": jnp.array([2.0, 3.0]), "bias": jnp.float32(0.25),
  }  # fmt: skip
  wanted = 2 * jax.nn.gelu(jnp.float32(1.5)) + 3 * jax.nn.gelu(jnp.float32(-2.0)) + 0.25
  np.testing.assert_allclose(heads.apply_value_head(params, jnp.array([1.0, 2.0])), wanted, rtol=1e-6)


def test_a_hidden_layer_learns_what_is_not_linear():
  """V = product of two signs: a linear head can do no better than 0."""
  hidden = jax.random.normal(jax.random.key(1), (256, 6))
  wanted = jnp.sign(hidden[:, 0] * hidden[:, 1])

  def error(width):
    params, optimizer = heads.init_value_head(jax.random.key(0), CONFIG, width), optax.adam(3e-2)
    loss = jax.jit(jax.value_and_grad(lambda p: jnp.mean(jnp.square(heads.apply_value_head(p, hidden) - wanted))))
    state = optimizer.init(params)
    for _ in range(300):
      value, gradient = loss(params)
      with jax.numpy_dtype_promotion("standard"):
        updates, state = optimizer.update(gradient, state)
      params = optax.apply_updates(params, updates)
    return float(value)

  assert error(32) < 0.3 < 0.8 < error(0)


def test_a_negative_width_is_refused():
  with pytest.raises(ValueError, match="a hidden layer of width -1"):
    heads.init_value_head(jax.random.key(0), CONFIG, -1)


def test_bfloat16_hidden_states_give_fp32_values():
  params = heads.init_value_head(jax.random.key(0), CONFIG)
  assert heads.apply_value_head(params, jnp.ones((2, 6), jnp.bfloat16)).dtype == jnp.float32


def test_gradient_reaches_weight_bias_and_hidden():
  params = {"weight": jnp.arange(6.0), "bias": jnp.float32(1.0)}
  hidden = jax.random.normal(jax.random.key(0), (4, 6))
  by_params, by_hidden = jax.grad(lambda p, h: heads.apply_value_head(p, h).sum(), argnums=(0, 1))(params, hidden)
  np.testing.assert_allclose(by_params["weight"], hidden.sum(0), rtol=1e-6)
  assert float(by_params["bias"]) == 4.0
  np.testing.assert_allclose(by_hidden, np.tile(np.arange(6.0), (4, 1)))


@pytest.mark.parametrize("width", [0, 5])
def test_specs_have_the_structure_of_the_params(width):
  specs = heads.value_head_specs(CONFIG, width)
  params = heads.init_value_head(jax.random.key(0), CONFIG, width)
  shapes = jax.tree.map(lambda w: w.shape, specs, is_leaf=transformer.is_weight)
  assert shapes == jax.tree.map(lambda a: a.shape, params)
  for weight in jax.tree.leaves(specs, is_leaf=transformer.is_weight):
    assert len(weight.axes) == len(weight.shape)


def test_a_hidden_state_of_another_width_is_refused():
  params = heads.init_value_head(jax.random.key(0), CONFIG)
  with pytest.raises(AssertionError):
    heads.apply_value_head(params, jnp.zeros((2, 5)))
