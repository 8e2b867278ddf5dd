"""Which tokens the gates leave out, and that these have no gradient whatever their ratio."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.ops.gates import gated_ppo
from agentrl.ops.losses import ppo

# Ratios 1, 2, e^10 and 1/2; probabilities when sampled 0.5, 0.001, 0.5 and 0.5. The last token is padding.
OLD = jnp.log(jnp.asarray([[0.5, 0.001, 0.5, 0.5, 0.5]], jnp.float32))
LOGP = OLD + jnp.asarray([[0.0, np.log(2.0), 10.0, -np.log(2.0), 500.0]], jnp.float32)
MASK = jnp.asarray([[True, True, True, True, False]])
SEQUENCE, LENGTH = jnp.asarray([[0, 0, 0, 0, 1]]), jnp.asarray([4.0])


def losses(loss=gated_ppo, *, advantage=-1.0, logp=LOGP, **settings):
  advantages = jnp.full_like(OLD, advantage)
  return loss(logp, OLD, advantages, MASK, SEQUENCE, LENGTH, **settings)


@pytest.mark.parametrize(
  ("settings", "left_out"),
  [
    ({}, [0, 0, 0, 0, 0]),
    ({"least_logp": -6.0}, [0, 1, 0, 0, 0]),  # log 0.001 = -6.9
    ({"most_ratio": 3.0}, [0, 0, 1, 0, 0]),
    ({"most_ratio": 1.5}, [0, 1, 1, 0, 0]),
    ({"least_logp": -6.0, "most_ratio": 3.0}, [0, 1, 1, 0, 0]),
  ],
)
def test_what_is_left_out_has_neither_loss_nor_gradient(settings, left_out):
  loss, diagnostics = losses(**settings)
  np.testing.assert_array_equal(diagnostics["left_out"], [left_out])
  gradient = jax.grad(lambda logp: jnp.sum(losses(logp=logp, **settings)[0]))(LOGP)
  out = np.asarray([left_out]) > 0
  assert not np.any(np.asarray(loss)[out]) and not np.any(np.asarray(gradient)[out])
  # With A = -1 the loss of a token is its ratio, here 1, 2 and 0.8, at which 1/2 is clipped.
  np.testing.assert_allclose(loss, np.where(out, 0.0, [[1.0, 2.0, np.exp(10.0), 0.8, 0.0]]), rtol=1e-4)
  np.testing.assert_allclose(gradient, np.where(out, 0.0, [[1.0, 2.0, np.exp(10.0), 0.0, 0.0]]), rtol=1e-4)


@pytest.mark.parametrize("advantage", [-1.0, 1.0])
def test_without_a_gate_it_is_ppo(advantage):
  bounds = {"advantage": advantage, "clip_low": 0.1, "clip_high": 0.3, "dual_clip": 3.0}
  (loss, diagnostics), (wanted, others) = losses(**bounds), losses(ppo, **bounds)
  np.testing.assert_array_equal(loss, wanted)
  for name, value in others.items():
    np.testing.assert_array_equal(diagnostics[name], value)


def test_a_ratio_that_leaves_every_token_out_is_refused():
  with pytest.raises(ValueError, match=r"algo\.loss\.most_ratio=1\.0 must be above 1"):
    losses(most_ratio=1.0)
