"""The public function: masks, temperature, the third result, what it refuses."""

import functools
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import checkify
from jax.extend.core import jaxprs_in_params
from jax.test_util import check_grads

from agentrl.ops.linear_logprob import available, linear_logprob
from agentrl.ops.linear_logprob.backends import load


@pytest.fixture(params=available())
def implementation(request):
  return request.param


HIDDEN = jnp.asarray([[1.0, 0.0], [0.0, 1.0], [2.0, -1.0]])
UNEMBED = jnp.asarray([[0.5, -1.0, 0.0, 2.0], [1.0, 0.0, -0.5, 0.3]])
TOKENS = jnp.asarray([3, 0, 1])
MASK = jnp.asarray([True, False, True])


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
  hidden = HIDDEN.at[1].set(jnp.nan)
  temperature = jnp.asarray([1.0, 0.0, 2.0])

  def gradients(*keep):
    """Of these rows alone, with a mask that is known."""
    keep = jnp.asarray(keep)
    tokens, options = TOKENS[keep], {"temperature": temperature[keep], "mask": MASK[keep]}

    def loss(hidden, unembed):
      out = linear_logprob(hidden, unembed, tokens, implementation=implementation, **options)
      return jnp.sum(3.0 * out.logp + 3.0 * out.entropy), out

    return jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(hidden[keep], UNEMBED)

  (hidden_bar, unembed_bar), out = gradients(0, 1, 2)
  (alone_hidden_bar, alone_unembed_bar), _ = gradients(0, 2)
  assert out.logp[1] == out.entropy[1] == 0
  np.testing.assert_array_equal(hidden_bar[1], 0.0)
  np.testing.assert_allclose(hidden_bar[jnp.asarray([0, 2])], alone_hidden_bar, atol=1e-6)
  np.testing.assert_allclose(unembed_bar, alone_unembed_bar, atol=1e-6)


def test_logsumexp_is_given_on_request(implementation):
  alone = linear_logprob(HIDDEN, UNEMBED, TOKENS, implementation=implementation)
  assert alone.logsumexp is None
  compute = lambda h: linear_logprob(
    h, UNEMBED, TOKENS, temperature=0.5, with_logsumexp=True, mask=MASK, implementation=implementation
  )
  expected = lambda h: jnp.where(MASK, jax.nn.logsumexp(2 * h @ UNEMBED, axis=1), 0.0)
  np.testing.assert_allclose(compute(HIDDEN).logsumexp, expected(HIDDEN), rtol=1e-6)
  gradient = jax.grad(lambda h: jnp.sum(jnp.sin(compute(h).logsumexp)))(HIDDEN)
  np.testing.assert_allclose(gradient, jax.grad(lambda h: jnp.sum(jnp.sin(expected(h))))(HIDDEN), atol=1e-6)


def test_a_mask_that_is_known_and_one_that_is_traced_agree(implementation):
  def loss(hidden, mask):
    out = linear_logprob(hidden, UNEMBED, TOKENS, mask=mask, implementation=implementation)
    return jnp.sum(jnp.sin(out.logp) + out.entropy), out

  gradient = jax.value_and_grad(loss, has_aux=True)
  with_traced = jax.jit(gradient)
  every = linear_logprob(HIDDEN, UNEMBED, TOKENS, implementation="reference")
  for mask in np.asarray([[0, 0, 0], [0, 1, 0], [0, 1, 1], [1, 1, 1]], bool):
    (_, known), known_bar = jax.jit(functools.partial(gradient, mask=jnp.asarray(mask)))(HIDDEN)
    (_, traced), traced_bar = with_traced(HIDDEN, mask)
    for out in (known, traced):
      np.testing.assert_allclose(out.logp, jnp.where(mask, every.logp, 0.0), atol=1e-6)
      np.testing.assert_allclose(out.entropy, jnp.where(mask, every.entropy, 0.0), atol=1e-6)
    np.testing.assert_allclose(known_bar, traced_bar, atol=1e-6)


def test_known_padding_is_dropped_before_the_products():
  mask = jnp.arange(1000) < 3
  hidden = jax.random.normal(jax.random.key(0), (1000, 2))
  jaxpr = jax.make_jaxpr(lambda h: linear_logprob(h, UNEMBED, jnp.zeros(1000, jnp.int32), mask=mask))(hidden)
  products = [e for e in _equations(jaxpr.jaxpr) if e.primitive.name == "dot_general"]
  assert products and all(e.invars[0].aval.shape[0] == 256 for e in products)


def _equations(jaxpr):
  for equation in jaxpr.eqns:
    yield equation
    for inner in jaxprs_in_params(equation.params):
      yield from _equations(inner)


def test_tokens_out_of_range_are_refused_in_debug_mode():
  tokens = jnp.asarray([3, 4, 1])
  with jax.debug_nans(True), pytest.raises(ValueError, match=r"tokens\[1\] is 4; .* accepts 0 to 3"):
    linear_logprob(HIDDEN, UNEMBED, tokens)
  checked = jax.jit(checkify.checkify(lambda t: linear_logprob(HIDDEN, UNEMBED, t).logp))
  assert "tokens must be in [0, 4)" in checked(tokens)[0].get()
  assert checked(TOKENS)[0].get() is None
  # Padding may hold anything.
  with jax.debug_nans(True):
    linear_logprob(HIDDEN, UNEMBED, tokens, mask=jnp.asarray([True, False, True]))


def test_gradient_is_that_of_finite_differences(implementation):
  def loss(hidden, unembed):
    out = linear_logprob(hidden, unembed, TOKENS, temperature=0.7, implementation=implementation)
    return jnp.sum(out.logp * jnp.asarray([1.0, -2.0, 0.5]) + out.entropy * jnp.asarray([0.3, 1.0, -1.0]))

  check_grads(loss, (HIDDEN, UNEMBED), order=1, modes=["rev"], eps=1e-2, rtol=2e-3, atol=2e-3)


def test_the_default_is_the_tiled_form(monkeypatch):
  asked = []
  monkeypatch.setattr(
    importlib.import_module("agentrl.ops.linear_logprob.compute"), "load", lambda name: asked.append(name) or load(name)
  )
  linear_logprob(HIDDEN, UNEMBED, TOKENS)
  assert asked == ["chunked"]


def test_temperature_is_a_constant(implementation):
  loss = lambda t: jnp.sum(linear_logprob(HIDDEN, UNEMBED, TOKENS, temperature=t, implementation=implementation).logp)
  assert jax.grad(loss)(1.3) == 0


def test_jit_changes_nothing(implementation):
  compute = lambda *x: linear_logprob(*x, implementation=implementation)
  np.testing.assert_allclose(
    jnp.stack(jax.jit(compute)(HIDDEN, UNEMBED, TOKENS)[:2]), jnp.stack(compute(HIDDEN, UNEMBED, TOKENS)[:2]), atol=1e-6
  )


def test_a_token_outside_the_vocabulary_is_nan_and_not_a_number_like_any_other(implementation):
  out = linear_logprob(HIDDEN, UNEMBED, jnp.asarray([4, -1, 1]), implementation=implementation)
  np.testing.assert_array_equal(np.isnan(out.logp), [True, True, False])


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"unembed": UNEMBED.T}, r"hidden \[T, D\] and unembed \[D, V\]"),
    ({"unembed": UNEMBED.astype(jnp.bfloat16)}, "cast one"),
    ({"tokens": TOKENS.astype(jnp.float32)}, "tokens must be integers"),
    ({"tokens": TOKENS[:2]}, "tokens must be integers"),
    ({"mask": jnp.ones(3)}, "mask must be bool"),
    ({"hidden": HIDDEN[:0], "tokens": TOKENS[:0]}, "no tokens at all"),
    ({"hidden": HIDDEN.astype(jnp.int32), "unembed": UNEMBED.astype(jnp.int32)}, "hidden is int32; accepted: float32"),
    ({"unembed": UNEMBED[:, :0]}, "unembed .* must not be empty"),
    ({"temperature": jnp.ones(2)}, "temperature must be a scalar"),
    ({"temperature": 0.0}, r"temperature must be positive; got 0\.0"),
    ({"temperature": jnp.asarray([1.0, -1.0, 2.0])}, r"temperature must be positive; got -1\.0"),
    ({"temperature": float("nan")}, "temperature must be positive; got nan"),
    ({"hidden": HIDDEN[None]}, r"hidden.reshape\(-1, D\)"),
    ({"implementation": "chunky"}, "did you mean 'chunked'"),
    ({"implementation": "triton"}, "implementation='triton' does not run on cpu; here: None, reference, chunked"),
    ({"implementation": "pallas"}, "implementation='pallas' does not run on cpu"),
  ],
)
def test_bad_input_is_named(change, message):
  with pytest.raises(ValueError, match=message):
    linear_logprob(**({"hidden": HIDDEN, "unembed": UNEMBED, "tokens": TOKENS} | change))
