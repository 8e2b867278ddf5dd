"""The public function: masks, temperature, what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from agentrl.ops.linear_logprob import IMPLEMENTATIONS, linear_logprob


@pytest.fixture(params=IMPLEMENTATIONS)
def implementation(request):
  return request.param


HIDDEN = jnp.asarray([[1.0, 0.0], [0.0, 1.0], [2.0, -1.0]])
UNEMBED = jnp.asarray([[0.5, -1.0, 0.0, 2.0], [1.0, 0.0, -0.5, 0.3]])
TOKENS = jnp.asarray([3, 0, 1])


def test_hand_constant(implementation):
  # Logits ln 2, 0, 0 at temperature 1: p = 1/2, 1/4, 1/4, entropy = ln 2 / 2 + 2 ln 4 / 4 = 1.5 ln 2.
  # At temperature 1/2: 2 ln 2, 0, 0, p = 4/6, 1/6, 1/6, entropy = ln 6 - (4/6) ln 4.
  unembed = jnp.asarray([[np.log(2.0), 0.0, 0.0]], jnp.float32)
  out = linear_logprob(
    jnp.ones((2, 1)), unembed, jnp.asarray([0, 1]), temperature=jnp.asarray([1.0, 0.5]), implementation=implementation
  )
  np.testing.assert_allclose(out.logp, [-np.log(2), -np.log(6)], rtol=1e-6)
  np.testing.assert_allclose(out.entropy, [1.5 * np.log(2), np.log(6) - 4 / 6 * np.log(4)], rtol=1e-6)


def test_uniform_logits_have_the_entropy_of_the_vocabulary(implementation):
  out = linear_logprob(jnp.ones((1, 2)), jnp.zeros((2, 5)), jnp.asarray([4]), implementation=implementation)
  np.testing.assert_allclose([out.logp[0], out.entropy[0]], [-np.log(5), np.log(5)], rtol=1e-6)


def test_masked_rows_give_zero_and_no_gradient_even_from_nan(implementation):
  mask = jnp.asarray([True, False, True])
  hidden = HIDDEN.at[1].set(jnp.nan)
  temperature = jnp.asarray([1.0, 0.0, 2.0])

  def loss(hidden, unembed, keep):
    out = linear_logprob(
      hidden[keep], unembed, TOKENS[keep], temperature=temperature[keep], mask=mask[keep], implementation=implementation
    )
    return jnp.sum(jnp.stack(out) * 3.0), out

  gradient = jax.grad(loss, argnums=(0, 1), has_aux=True)
  (hidden_bar, unembed_bar), out = gradient(hidden, UNEMBED, jnp.arange(3))
  assert out.logp[1] == out.entropy[1] == 0
  (alone_hidden_bar, alone_unembed_bar), _ = gradient(hidden, UNEMBED, jnp.asarray([0, 2]))
  np.testing.assert_array_equal(hidden_bar[1], 0.0)
  np.testing.assert_allclose(hidden_bar, alone_hidden_bar, atol=1e-6)
  np.testing.assert_allclose(unembed_bar, alone_unembed_bar, atol=1e-6)


def test_gradient_is_that_of_finite_differences(implementation):
  def loss(hidden, unembed):
    out = linear_logprob(hidden, unembed, TOKENS, temperature=0.7, implementation=implementation)
    return jnp.sum(out.logp * jnp.asarray([1.0, -2.0, 0.5]) + out.entropy * jnp.asarray([0.3, 1.0, -1.0]))

  check_grads(loss, (HIDDEN, UNEMBED), order=1, modes=["rev"], eps=1e-2, rtol=2e-3, atol=2e-3)


def test_the_default_is_the_tiled_form():
  default, chunked = (
    str(jax.make_jaxpr(lambda h, i=i: linear_logprob(h, UNEMBED, TOKENS, implementation=i))(HIDDEN))
    for i in (None, "chunked")
  )
  assert default == chunked
  assert "scan" in default


def test_temperature_is_a_constant(implementation):
  loss = lambda t: jnp.sum(linear_logprob(HIDDEN, UNEMBED, TOKENS, temperature=t, implementation=implementation).logp)
  assert jax.grad(loss)(1.3) == 0


def test_jit_changes_nothing(implementation):
  compute = lambda *x: linear_logprob(*x, implementation=implementation)
  np.testing.assert_allclose(
    jnp.stack(jax.jit(compute)(HIDDEN, UNEMBED, TOKENS)), jnp.stack(compute(HIDDEN, UNEMBED, TOKENS)), atol=1e-6
  )


def test_a_token_outside_the_vocabulary_is_nan_and_not_a_number_like_any_other(implementation):
  out = linear_logprob(HIDDEN, UNEMBED, jnp.asarray([4, -1, 1]), implementation=implementation)
  np.testing.assert_array_equal(np.isnan(out.logp), [True, True, False])


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"unembed": UNEMBED.T}, r"hidden \[N, D\] and unembed \[D, V\]"),
    ({"unembed": UNEMBED.astype(jnp.bfloat16)}, "cast one"),
    ({"tokens": TOKENS.astype(jnp.float32)}, "tokens must be integers"),
    ({"tokens": TOKENS[:2]}, "tokens must be integers"),
    ({"mask": jnp.ones(3)}, "mask must be bool"),
    ({"hidden": HIDDEN[:0], "tokens": TOKENS[:0]}, "no tokens at all"),
    ({"implementation": "chunky"}, "did you mean 'chunked'"),
  ],
)
def test_bad_input_is_named(change, message):
  with pytest.raises(ValueError, match=message):
    linear_logprob(**({"hidden": HIDDEN, "unembed": UNEMBED, "tokens": TOKENS} | change))
