"""What policy losses are made of, and what they declare."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.ops import covariance_losses, losses, surrogates


def test_what_a_loss_declares():
  declared = surrogates.declared_by
  assert declared(losses.turn_ratio) == surrogates.Declared(turns=True)
  assert declared(losses.reinforce) == surrogates.Declared(ratio=False)
  assert declared(losses.clip_cov).marks is covariance_losses.drawn_between
  assert declared(lambda *arrays: arrays) == surrogates.Declared()
  with pytest.raises(TypeError, match="turn"):
    surrogates.declares(turn=True)


def test_bounds_and_what_they_clipped():
  # Ratios 2, 1/2 and 4 with A = 1, -1 and -1, bounds 0.8 and 1.5, dual 3: -1.5, 0.8, 3.
  log_ratio, mask = jnp.log(jnp.asarray([[2.0, 0.5, 4.0, 1.0]])), jnp.asarray([[True, True, True, False]])
  advantages = jnp.asarray([[1.0, -1.0, -1.0, jnp.nan]])
  loss, flags = surrogates.clipped(log_ratio, advantages, mask, clip_low=0.2, clip_high=0.5, dual_clip=3.0)
  np.testing.assert_allclose(loss, [[-1.5, 0.8, 3.0, 0.0]], rtol=1e-6)
  named = {name: np.flatnonzero(flag[0]).tolist() for name, flag in flags.items() if name != "log_ratio"}
  assert named == {"clipped_high": [0], "clipped_low": [1], "clipped_dual": [2], "clipped": [0, 1, 2]}


def test_advantages_are_constants():
  of = lambda a: jnp.sum(surrogates.clipped_surrogate(jnp.full(2, 0.1), a, clip_low=0.2, clip_high=0.2))
  np.testing.assert_array_equal(jax.grad(of)(jnp.ones(2)), 0.0)
