"""The gradient rule: its formula, and what it does not compute."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.ops.linear_logprob.differentiable import (
  Implementation,
  Rows,
  Statistics,
  Tile,
  row_constants,
  statistics,
)
from agentrl.ops.linear_logprob.reference import REFERENCE

TILE = Tile(4, 8)
HIDDEN = jnp.asarray(np.random.default_rng(0).normal(size=(3, 2)), jnp.float32)
ROWS = jnp.asarray(np.random.default_rng(1).normal(size=(5, 2)), jnp.float32)
SCALE = jnp.asarray([1.0, 0.5, 2.0])
TOKENS = jnp.asarray([4, 0, 2])


def placed(hidden=HIDDEN):
  return Rows(hidden, TOKENS, SCALE, jnp.asarray(3))


@pytest.mark.parametrize("given", [(1, 1, 1), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1)])
def test_the_constants_of_a_row_give_the_gradient_of_its_logits(given):
  """By automatic differentiation of the three statistics, as functions of the logits."""
  logits = SCALE[:, None] * (HIDDEN @ ROWS.T)
  hit = (jnp.arange(5)[None, :] == TOKENS[:, None]).astype(jnp.float32)

  def loss(unscaled):
    z = SCALE[:, None] * unscaled
    logp = jax.nn.log_softmax(z)
    three = jnp.sum(hit * z, axis=1), jax.nn.logsumexp(z, axis=1), -jnp.sum(jnp.exp(logp) * logp, axis=1)
    return sum(use * jnp.sum(jnp.asarray([1.0, -2.0, 0.5]) * x) for use, x in zip(given, three, strict=True))

  bar = jnp.asarray([1.0, -2.0, 0.5])
  out = statistics(REFERENCE, TILE, placed(), ROWS)
  constants = row_constants(SCALE, out, Statistics(*(bar if use else None for use in given)))
  logp = logits - constants.logsumexp[:, None]
  got = 0.0 if constants.taken is None else constants.taken[:, None] * hit
  if constants.offset is not None:
    slope = 0.0 if constants.slope is None else constants.slope[:, None] * logp
    got = got + jnp.exp(logp) * (constants.offset[:, None] - slope)
  np.testing.assert_allclose(got, jax.grad(loss)(HIDDEN @ ROWS.T), rtol=1e-4, atol=1e-5)


def test_what_is_not_trained_is_not_computed():
  asked = []

  def backward(tokens, rows, out, bars, tile, train_rows):
    asked.append((train_rows, [bar is not None for bar in bars]))
    return REFERENCE.backward(tokens, rows, out, bars, tile, train_rows)

  watched = Implementation(REFERENCE.forward, backward)
  taken = lambda hidden, rows: jnp.sum(statistics(watched, TILE, placed(hidden), rows).taken)
  jax.grad(taken)(HIDDEN, ROWS)
  jax.grad(taken, argnums=(0, 1))(HIDDEN, ROWS)
  assert asked == [(False, [True, False, False]), (True, [True, False, False])]
