"""The tiled form against the plain one: every edge of the tiles, every scale of logits, both gradients."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

from agentrl.ops.linear_logprob import linear_logprob
from agentrl.ops.linear_logprob.chunked import Tile, chunked
from agentrl.ops.linear_logprob.reference import reference
from agentrl.ops.linear_logprob.specs import TINY, TINY_TILE

TINY_CHUNKED = functools.partial(chunked, tile=Tile(*TINY_TILE))


def _inputs(spec, std, dtype=np.float32, seed=0):
  rng = np.random.default_rng(seed)
  hidden = rng.normal(size=(spec.tokens, spec.width))
  unembed = rng.normal(size=(spec.width, spec.vocabulary)) * std / np.sqrt(spec.width)
  tokens = rng.integers(0, spec.vocabulary, spec.tokens)
  tokens[0] = spec.vocabulary - 1  # the last column, next to where padding would be
  temperature = rng.uniform(0.5, 1.5, spec.tokens)
  return (
    jnp.asarray(hidden, dtype),
    jnp.asarray(unembed, dtype),
    jnp.asarray(tokens, jnp.int32),
    jnp.asarray(temperature, jnp.float32),
  )


@functools.cache
def _loss(compute):
  """A scalar in which every token has its own cotangent, for both results."""

  def loss(hidden, unembed, tokens, temperature):
    logp, entropy = compute(hidden, unembed, tokens, temperature)
    weight = jnp.cos(jnp.arange(tokens.shape[0], dtype=jnp.float32))
    return jnp.sum(weight * logp) + jnp.sum((weight + 0.3) * entropy), (logp, entropy)

  return jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))


@pytest.mark.parametrize("std", [0.3, 3.0, 30.0])
@pytest.mark.parametrize("spec", TINY.values(), ids=TINY)
def test_values_and_gradients_match_reference(spec, std):
  arrays = _inputs(spec, std)
  ours, theirs = _loss(TINY_CHUNKED)(*arrays), _loss(reference)(*arrays)
  chex.assert_trees_all_close(ours, theirs, rtol=2e-5, atol=2e-5 * max(std, 1.0))


@pytest.mark.parametrize("spec", [TINY["one_above"]])
def test_values_match_a_double_precision_loop(spec):
  hidden, unembed, tokens, temperature = _inputs(spec, 3.0)
  logp, entropy = TINY_CHUNKED(hidden, unembed, tokens, temperature)
  for n in range(spec.tokens):
    z = np.asarray(hidden[n], np.float64) @ np.asarray(unembed, np.float64) / float(temperature[n])
    p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
    assert logp[n] == pytest.approx(np.log(p[tokens[n]]), abs=1e-5)
    assert entropy[n] == pytest.approx(-(p * np.log(p)).sum(), abs=1e-5)


def test_bfloat16_accumulates_in_float32():
  arrays = _inputs(TINY["one_above"], 3.0, jnp.bfloat16)
  exact = tuple(x.astype(jnp.float32) for x in arrays[:2])
  (_, (logp, entropy)), gradients = _loss(TINY_CHUNKED)(*arrays)
  (_, (exact_logp, exact_entropy)), exact_gradients = _loss(reference)(*exact, *arrays[2:])
  assert logp.dtype == entropy.dtype == jnp.float32
  chex.assert_trees_all_close((logp, entropy), (exact_logp, exact_entropy), atol=1e-5)
  assert all(x.dtype == jnp.bfloat16 for x in gradients)
  chex.assert_trees_all_close(tuple(x.astype(jnp.float32) for x in gradients), exact_gradients, rtol=0.02, atol=0.02)


def test_float32_accumulates_over_many_tokens():
  """With bf16 sums an unembedding gradient over 4,096 equal tokens would stop growing at 256."""
  hidden, unembed = jnp.ones((4096, 1), jnp.bfloat16), jnp.zeros((1, 2), jnp.bfloat16)
  loss = lambda w: jnp.sum(chunked(hidden, w, jnp.zeros(4096, jnp.int32), jnp.ones(4096), tile=Tile(16, 2))[0])
  # d/dw of log p_0 = (1 - 1/2, -1/2) per token.
  np.testing.assert_array_equal(jax.grad(loss)(unembed).astype(jnp.float32), [[2048.0, -2048.0]])


@pytest.mark.parametrize("which", ["logp", "entropy"])
def test_a_gradient_of_one_result_alone(which):
  arrays = _inputs(TINY["one_above"], 3.0)
  pick = ("logp", "entropy").index(which)
  gradients = (
    jax.jit(jax.grad(lambda h, w, f=f: jnp.sum(jnp.sin(f(h, w, *arrays[2:])[pick])), argnums=(0, 1)))(*arrays[:2])
    for f in (TINY_CHUNKED, reference)
  )
  chex.assert_trees_all_close(*gradients, atol=2e-5)


def _primitives(jaxpr):
  for equation in jaxpr.eqns:
    yield equation.primitive.name
    for inner in jaxprs_in_params(equation.params):
      yield from _primitives(inner)


def _matrix_products(loss, *arrays):
  return list(_primitives(jax.make_jaxpr(loss)(*arrays).jaxpr)).count("dot_general")


def test_frozen_unembedding_saves_its_product():
  hidden, unembed, tokens, temperature = _inputs(TINY["one_above"], 3.0)
  loss = lambda h, w: jnp.sum(TINY_CHUNKED(h, w, tokens, temperature)[0])
  # Forward, recomputation, hidden, and the unembedding only where it is trained.
  assert _matrix_products(jax.grad(loss, argnums=(0, 1)), hidden, unembed) == 4
  assert _matrix_products(jax.grad(loss), hidden, unembed) == 3
  np.testing.assert_allclose(
    jax.grad(loss)(hidden, unembed), jax.grad(loss, argnums=(0, 1))(hidden, unembed)[0], atol=1e-6
  )


def test_entropy_gradient_costs_nothing_where_it_is_not_asked_for():
  hidden, unembed, tokens, _temperature = _inputs(TINY["one_above"], 3.0)
  logp_only = lambda h: jnp.sum(linear_logprob(h, unembed, tokens).logp)
  both = lambda h: jnp.sum(jnp.stack(linear_logprob(h, unembed, tokens)))
  products = [list(_primitives(jax.make_jaxpr(jax.grad(f))(hidden).jaxpr)).count("mul") for f in (logp_only, both)]
  assert products[0] < products[1]


def test_no_array_of_all_logits_exists():
  spec = TINY["whole_tiles"]
  hidden, unembed, tokens, temperature = _inputs(spec, 1.0)
  loss = lambda h, w: sum(jnp.sum(x) for x in TINY_CHUNKED(h, w, tokens, temperature))

  def shapes(jaxpr):
    for equation in jaxpr.eqns:
      yield from (x.aval.shape for x in equation.outvars)
      for inner in jaxprs_in_params(equation.params):
        yield from shapes(inner)

  seen = set(shapes(jax.make_jaxpr(jax.grad(loss, argnums=(0, 1)))(hidden, unembed).jaxpr))
  assert TINY_TILE in seen
  assert max(np.prod(s) for s in seen if s) < spec.tokens * spec.vocabulary


def test_works_under_checkpoint_and_scan():
  hidden, unembed, tokens, temperature = _inputs(TINY["whole_tiles"], 1.0)

  def loss(w, compute):
    body = jax.checkpoint(lambda total, h: (total + jnp.sum(compute(h, w, tokens[:4], temperature[:4])[0]), None))
    return jax.lax.scan(body, 0.0, hidden.reshape(2, 4, -1))[0]

  ours, theirs = (jax.jit(jax.grad(functools.partial(loss, compute=f)))(unembed) for f in (TINY_CHUNKED, reference))
  np.testing.assert_allclose(ours, theirs, atol=1e-5)
