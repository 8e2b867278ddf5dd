"""What the tiled form does not do: hold all logits, sum in bf16, compute what nobody asked for."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxprs_in_params

from agentrl.ops.linear_logprob.chunked import CHUNKED
from agentrl.ops.linear_logprob.differentiable import Rows, Tile, statistics
from agentrl.ops.linear_logprob.specs import TINY, TINY_TILE

SPEC = TINY["whole_tiles"]
HIDDEN = jnp.asarray(np.random.default_rng(0).normal(size=(SPEC.tokens, SPEC.width)), jnp.float32)
ROWS = jnp.asarray(np.random.default_rng(1).normal(size=(SPEC.vocabulary, SPEC.width)), jnp.float32)
TOKENS = jnp.arange(SPEC.tokens, dtype=jnp.int32)


def _tiny(hidden, rows, tile=TINY_TILE):
  count = hidden.shape[0]
  placed = Rows(hidden, jnp.arange(count, dtype=jnp.int32) % rows.shape[0], jnp.ones(count), count)
  return statistics(CHUNKED, Tile(*tile), placed, rows)


def _equations(jaxpr):
  for equation in jaxpr.eqns:
    yield equation
    for inner in jaxprs_in_params(equation.params):
      yield from _equations(inner)


def _count(loss, primitive, *arrays):
  return sum(e.primitive.name == primitive for e in _equations(jax.make_jaxpr(loss)(*arrays).jaxpr))


def test_float32_accumulates_over_many_tokens():
  """With bf16 sums an unembedding gradient over 4,096 equal tokens would stop growing at 256."""
  hidden, rows = jnp.ones((4096, 1), jnp.bfloat16), jnp.zeros((2, 1), jnp.bfloat16)
  placed = Rows(hidden, jnp.zeros(4096, jnp.int32), jnp.ones(4096), 4096)

  def loss(w):
    out = statistics(CHUNKED, Tile(16, 2, block=64), placed, w)
    return jnp.sum(out.taken - out.logsumexp)

  # d/dw of log p_0 = (1 - 1/2, -1/2) per token.
  np.testing.assert_array_equal(jax.jit(jax.grad(loss))(rows).astype(jnp.float32), [[2048.0], [-2048.0]])


def test_a_frozen_unembedding_saves_its_product():
  loss = lambda h, w: jnp.sum(_tiny(h, w).logsumexp)
  # Forward, recomputation, hidden, and the unembedding only where it is trained.
  assert _count(jax.grad(loss, argnums=(0, 1)), "dot_general", HIDDEN, ROWS) == 4
  assert _count(jax.grad(loss), "dot_general", HIDDEN, ROWS) == 3
  alone, first = jax.jit(lambda h, w: (jax.grad(loss)(h, w), jax.grad(loss, argnums=(0, 1))(h, w)[0]))(HIDDEN, ROWS)
  np.testing.assert_allclose(alone, first, atol=1e-6)


def test_a_cotangent_of_zero_costs_nothing():
  taken = lambda h: jnp.sum(_tiny(h, ROWS).taken)
  every = lambda h: sum(jnp.sum(x) for x in _tiny(h, ROWS))
  exponentials = [_count(jax.grad(f), "exp", HIDDEN) for f in (taken, every)]
  assert exponentials[0] < exponentials[1]
  nothing = lambda h: jnp.sum(jax.lax.stop_gradient(_tiny(h, ROWS).taken))
  assert _count(jax.grad(nothing), "dot_general", HIDDEN) == _count(nothing, "dot_general", HIDDEN)


def test_no_array_of_all_logits_exists():
  loss = lambda h, w: sum(jnp.sum(x) for x in _tiny(h, w))
  equations = _equations(jax.make_jaxpr(jax.grad(loss, argnums=(0, 1)))(HIDDEN, ROWS).jaxpr)
  seen = {x.aval.shape for e in equations for x in e.outvars}
  assert TINY_TILE in seen
  assert max(np.prod(s) for s in seen if s) < SPEC.tokens * SPEC.vocabulary


def _temporary(count, masked=False):
  """Bytes that the gradient of every result needs besides inputs and outputs, for bf16."""
  from agentrl.ops.linear_logprob import linear_logprob

  def loss(hidden, embed, tokens, mask):
    out = linear_logprob(hidden, embed.T, tokens, mask=mask if masked else None, implementation="chunked")
    return jnp.sum(out.logp) + jnp.sum(out.entropy)

  shapes = [
    jax.ShapeDtypeStruct((count, 64), jnp.bfloat16),
    jax.ShapeDtypeStruct((30_000, 64), jnp.bfloat16),
    jax.ShapeDtypeStruct((count,), jnp.int32),
    jax.ShapeDtypeStruct((count,), bool),
  ]
  compiled = jax.jit(jax.grad(loss, argnums=(0, 1))).lower(*shapes).compile()
  return compiled.memory_analysis().temp_size_in_bytes


def test_memory_grows_with_the_tokens_by_a_dozen_numbers_each():
  few, many = _temporary(32_768), _temporary(131_072)
  # A copy of the hidden states in bf16 would take 128 bytes a token.
  assert many - few < 12 * 4 * (131_072 - 32_768)


def test_a_traced_mask_holds_the_hidden_states_once_more():
  few, many = _temporary(32_768, masked=True), _temporary(131_072, masked=True)
  # In the order in which they are computed; the gradient takes their place.
  assert many - few < (12 * 4 + 2 * 64) * (131_072 - 32_768)


def test_works_under_checkpoint_and_scan():
  def loss(w, compute):
    body = jax.checkpoint(lambda total, h: (total + jnp.sum(compute(h, w)), None))
    return jax.lax.scan(body, 0.0, HIDDEN.reshape(2, 4, -1))[0]

  ours = jax.jit(jax.grad(lambda w: loss(w, lambda h, w: _tiny(h, w).logsumexp)))(ROWS)
  theirs = jax.jit(jax.grad(lambda w: loss(w, lambda h, w: jax.nn.logsumexp(h @ w.T, axis=1))))(ROWS)
  np.testing.assert_allclose(ours, theirs, atol=1e-5)
