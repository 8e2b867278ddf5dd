"""The specification, against loops in float64."""

import jax.numpy as jnp
import numpy as np

from agentrl.ops.linear_logprob import reference
from agentrl.ops.linear_logprob.differentiable import Rows, Statistics

rng = np.random.default_rng(0)
HIDDEN, ROWS = rng.normal(size=(4, 3)), rng.normal(size=(6, 3))
TOKENS, SCALE = np.array([0, 5, 2, 7]), np.array([1.0, 0.5, 2.0, 1.0])  # the last token is of another shard
PLACED = Rows(jnp.asarray(HIDDEN, jnp.float32), jnp.asarray(TOKENS), jnp.asarray(SCALE, jnp.float32), 4)


def loop(t):
  """Logit of the token, logsumexp and entropy of one row, and its probabilities."""
  z = [SCALE[t] * float(HIDDEN[t] @ row) for row in ROWS]
  logsumexp = np.log(sum(np.exp(x) for x in z))
  p = [np.exp(x - logsumexp) for x in z]
  return z[TOKENS[t]] if TOKENS[t] < 6 else 0.0, logsumexp, -sum(x * np.log(x) for x in p), p


def test_statistics():
  out = reference.forward(PLACED, jnp.asarray(ROWS, jnp.float32))
  for t in range(4):
    np.testing.assert_allclose([x[t] for x in out], loop(t)[:3], rtol=1e-4, atol=1e-5)


def test_gradients():
  """`d logsumexp = p`, `d taken = one-hot`; of the entropy, `-p (log p + entropy)`."""
  rows = jnp.asarray(ROWS, jnp.float32)
  bars = Statistics(jnp.full(4, 2.0), jnp.full(4, -1.0), jnp.full(4, 0.5))
  hidden_bar, rows_bar = reference.backward(PLACED, rows, reference.forward(PLACED, rows), bars)
  bar = np.zeros((4, 6))
  for t in range(4):
    _, _, entropy, p = loop(t)
    for v in range(6):
      bar[t, v] = SCALE[t] * (2.0 * (v == TOKENS[t]) - p[v] - 0.5 * p[v] * (np.log(p[v]) + entropy))
  np.testing.assert_allclose(hidden_bar, bar @ ROWS, rtol=1e-3, atol=1e-4)
  np.testing.assert_allclose(rows_bar, bar.T @ HIDDEN, rtol=1e-3, atol=1e-4)


def test_rows_that_are_not_trained_get_no_gradient():
  rows = jnp.asarray(ROWS, jnp.float32)
  bars = Statistics(jnp.ones(4), None, None)
  _, rows_bar = reference.backward(PLACED, rows, reference.forward(PLACED, rows), bars, train_rows=False)
  assert rows_bar is None
