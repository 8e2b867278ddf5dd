"""Every implementation against float64, at every edge of the tiles and every scale of logits, with all gradients.

Triton's kernels take part in its interpreter: see `test_triton.py`.
"""

import functools
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.ops.linear_logprob import pallas, triton
from agentrl.ops.linear_logprob.chunked import CHUNKED
from agentrl.ops.linear_logprob.differentiable import Rows, Statistics, Tile, statistics
from agentrl.ops.linear_logprob.reference import REFERENCE
from agentrl.ops.linear_logprob.specs import TINY, TINY_TILE

IMPLEMENTATIONS = {"reference": REFERENCE, "chunked": CHUNKED, "pallas": pallas.implementation(interpret=True)}
if os.environ.get("TRITON_INTERPRET") == "1":
  IMPLEMENTATIONS["triton"] = triton.TRITON
# Two tiles of tokens to a block, so that there are several blocks.
TINY_LAUNCH = triton.Launch(*TINY_TILE, channels=2, warps=4, stages=1)
TILE = Tile(*TINY_TILE, block=2 * TINY_TILE[0])


@pytest.fixture(params=IMPLEMENTATIONS)
def implementation(request, monkeypatch):
  monkeypatch.setattr(pallas, "TOKENS", TINY_TILE[0])
  monkeypatch.setattr(pallas, "COLUMNS", TINY_TILE[1])
  for name in ("LAUNCH_16_BIT", "LAUNCH_32_BIT"):
    monkeypatch.setattr(triton, name, TINY_LAUNCH)
  monkeypatch.setattr(triton, "_PROGRAMS", 6)  # so that a program has several tiles of the vocabulary
  return IMPLEMENTATIONS[request.param]


def _inputs(spec, std, dtype=np.float32):
  rng = np.random.default_rng(0)
  hidden = rng.normal(size=(spec.tokens, spec.width))
  rows = rng.normal(size=(spec.vocabulary, spec.width)) * std / np.sqrt(spec.width)
  tokens = rng.integers(0, spec.vocabulary, spec.tokens)
  tokens[0] = spec.vocabulary - 1  # the last column, next to where padding would be
  scale = 1 / rng.uniform(0.5, 1.5, tokens.shape)
  live = jnp.asarray(spec.tokens, jnp.int32)
  placed = Rows(jnp.asarray(hidden, dtype), jnp.asarray(tokens, jnp.int32), jnp.asarray(scale, jnp.float32), live)
  return placed, jnp.asarray(rows, dtype)


def _bars(tokens):
  """A cotangent of its own for every token and result; 0 where the token does not count."""
  n = np.arange(tokens.tokens.size)
  counts = n < int(tokens.live)
  return Statistics(*(jnp.asarray(f * counts, jnp.float32) for f in (np.cos(n), np.sin(n) - 0.4, np.cos(2 * n) + 0.3)))


def _exact(tokens, rows, bars):
  """Statistics and gradients in float64, token by token, by the definition of each."""
  w = np.asarray(rows, np.float64)
  out, hidden_bar, rows_bar = np.zeros((3, tokens.tokens.size)), np.zeros(tokens.hidden.shape), np.zeros(w.shape)
  for at in range(tokens.tokens.size):
    h, token, scale = np.asarray(tokens.hidden[at], np.float64), int(tokens.tokens[at]), float(tokens.scale[at])
    z = w @ h * scale
    logsumexp = z.max() + np.log(np.exp(z - z.max()).sum())
    log_p = z - logsumexp
    p = np.exp(log_p)
    entropy = -(p * log_p).sum()
    out[:, at] = z[token], logsumexp, entropy
    # d z[token] = one-hot; d logsumexp = p; d entropy = -p (log p + H).
    taken_bar, logsumexp_bar, entropy_bar = (float(bar[at]) for bar in bars)
    z_bar = taken_bar * np.eye(len(w))[token] + logsumexp_bar * p - entropy_bar * p * (log_p + entropy)
    hidden_bar[at] = scale * z_bar @ w
    rows_bar += scale * np.outer(z_bar, h)
  return out, hidden_bar, rows_bar


@functools.cache
def _values_and_gradients(implementation, tile=TILE):
  def run(tokens, rows, bars):
    out, pull = jax.vjp(
      lambda h, w: statistics(implementation, tile, tokens._replace(hidden=h), w), tokens.hidden, rows
    )
    return (out, *pull(bars))

  return jax.jit(run)


def _relative(ours, exact):
  ours = np.asarray(ours, np.float64)
  return np.abs(ours - exact).max() / max(np.abs(exact).max(), 1e-30)


@pytest.mark.parametrize("spec", TINY.values(), ids=TINY)
def test_values_and_gradients_match_float64(implementation, spec):
  for std in (0.3, 3.0, 30.0):
    tokens, rows = _inputs(spec, std)
    bars = _bars(tokens)
    exact_out, exact_hidden, exact_rows = _exact(tokens, rows, bars)
    out, hidden_bar, rows_bar = _values_and_gradients(implementation)(tokens, rows, bars)
    # Logits of std 30 reach 150, of which fp32 keeps no more than 1e-5.
    np.testing.assert_allclose(out.taken - out.logsumexp, exact_out[0] - exact_out[1], atol=1e-5 * max(1, std / 3))
    np.testing.assert_allclose(out.logsumexp, exact_out[1], atol=1e-5 * max(1, std / 3))
    np.testing.assert_allclose(out.entropy, exact_out[2], atol=1e-5 * max(1, std / 3))
    assert _relative(hidden_bar, exact_hidden) < 1e-4
    assert _relative(rows_bar, exact_rows) < 1e-4


def test_bfloat16_accumulates_in_float32(implementation):
  tokens, rows = _inputs(TINY["one_above"], 3.0, jnp.bfloat16)
  bars = _bars(tokens)
  exact_out, exact_hidden, exact_rows = _exact(tokens, rows, bars)
  out, hidden_bar, rows_bar = _values_and_gradients(implementation)(tokens, rows, bars)
  assert all(x.dtype == jnp.float32 for x in out)
  np.testing.assert_allclose(np.stack(out), exact_out, atol=1e-5)
  assert hidden_bar.dtype == rows_bar.dtype == jnp.bfloat16
  assert _relative(hidden_bar, exact_hidden) < 2e-2
  assert _relative(rows_bar, exact_rows) < 2e-2


def test_tokens_beyond_the_live_ones_change_nothing(implementation):
  tokens, rows = _inputs(TINY["one_above"], 3.0)
  for live in (0, 3, 4, 5):
    some = tokens._replace(live=jnp.asarray(live, jnp.int32))
    bars = _bars(some)
    _, exact_hidden, exact_rows = _exact(some, rows, bars)
    out, hidden_bar, rows_bar = _values_and_gradients(implementation)(some, rows, bars)
    assert np.all(np.isfinite(np.stack(out)))
    np.testing.assert_allclose(hidden_bar, exact_hidden, atol=2e-5)
    np.testing.assert_allclose(rows_bar, exact_rows, atol=2e-5)


def test_a_token_of_another_shard_is_taken_nowhere(implementation):
  tokens, rows = _inputs(TINY["one_above"], 3.0)
  for outside in (-1, rows.shape[0], rows.shape[0] + 3):
    elsewhere = tokens._replace(tokens=jnp.full_like(tokens.tokens, outside))
    bars = _bars(tokens)._replace(entropy=jnp.zeros_like(tokens.scale), logsumexp=jnp.zeros_like(tokens.scale))
    out, hidden_bar, rows_bar = _values_and_gradients(implementation)(elsewhere, rows, bars)
    assert not np.any(out.taken) and not np.any(hidden_bar) and not np.any(rows_bar)


@pytest.mark.parametrize("which", Statistics._fields)
def test_a_gradient_of_one_result_alone(implementation, which):
  tokens, rows = _inputs(TINY["one_above"], 3.0)
  every = _bars(tokens)
  bars = Statistics(*(getattr(every, name) * float(name == which) for name in Statistics._fields))

  def loss(h, w):
    return jnp.sum(
      getattr(every, which) * getattr(statistics(implementation, TILE, tokens._replace(hidden=h), w), which)
    )

  _, exact_hidden, exact_rows = _exact(tokens, rows, bars)
  hidden_bar, rows_bar = jax.jit(jax.grad(loss, argnums=(0, 1)))(tokens.hidden, rows)
  np.testing.assert_allclose(hidden_bar, exact_hidden, atol=2e-5)
  np.testing.assert_allclose(rows_bar, exact_rows, atol=2e-5)
