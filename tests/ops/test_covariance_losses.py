"""Which tokens are marked, against a loop, and what the losses do with them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.ops import covariance_losses, losses

MASK = np.asarray([[True] * 5, [True] * 3 + [False] * 2])
LOGP = np.asarray([[-1.0, -2.0, -0.1, -3.0, -0.5], [-4.0, -0.2, -1.5, 9.0, np.nan]], np.float32)
ADVANTAGES = np.asarray([[1.0, -1.0, 2.0, -0.5, 0.5], [-2.0, 1.5, 0.0, np.inf, -9.0]], np.float32)
DRAW = np.asarray([[0.9, 0.1, 0.5, 0.3, 0.2], [0.7, 0.4, 0.6, 0.0, 0.0]], np.float32)
# Means over the eight tokens: log pi -1.5375, A 0.1875.
COVARIANCE = np.where(MASK, (LOGP + 1.5375) * (ADVANTAGES - 0.1875), 0.0)


def arrays(order=slice(None)):
  return [jnp.asarray(x[order]) for x in (LOGP, ADVANTAGES, MASK, DRAW)]


def test_covariances_by_hand():
  # The first token: (-1 + 1.5375) (1 - 0.1875) = 0.43671875.
  found = covariance_losses.covariances(*arrays()[:3])
  np.testing.assert_allclose(found, COVARIANCE, rtol=1e-5, atol=1e-6)
  assert found[0, 0] == pytest.approx(0.43671875, rel=1e-5)


@pytest.mark.parametrize(("share", "count"), [(0.0, 1), (0.25, 2), (0.5, 4), (1.0, 8)])
def test_the_most_covariant_are_marked(share, count):
  marked = np.asarray(covariance_losses.most_covariant(*arrays(), share=share))
  chosen = np.sort(COVARIANCE[marked])
  np.testing.assert_allclose(chosen, np.sort(COVARIANCE[MASK])[-count:], rtol=1e-5)
  assert not marked[~MASK].any()


@pytest.mark.parametrize(("share", "count"), [(0.0, 1), (0.25, 2), (1.0, 4)])
def test_some_of_those_between_are_drawn(share, count):
  inside = MASK & (COVARIANCE >= 0.4) & (COVARIANCE <= 2.0)
  assert inside.sum() == 4
  marked = np.asarray(covariance_losses.drawn_between(*arrays(), share=share, low=0.4, high=2.0))
  np.testing.assert_array_equal(np.sort(DRAW[marked]), np.sort(DRAW[inside])[:count])
  assert not (marked & ~inside).any()


def test_nothing_is_marked_where_nothing_lies_between():
  assert not covariance_losses.drawn_between(*arrays(), share=0.5, low=50.0, high=60.0).any()


def test_the_order_of_rows_changes_nothing():
  for marks, settings in (
    (covariance_losses.most_covariant, {"share": 0.4}),
    (covariance_losses.drawn_between, {"share": 0.2, "low": 0.0, "high": 5.0}),
  ):
    one, other = marks(*arrays(), **settings), marks(*arrays([1, 0]), **settings)
    np.testing.assert_array_equal(one, other[::-1])


REST = jnp.ones((1, 3), bool), jnp.zeros((1, 3), jnp.int32), jnp.asarray([3.0])
MARKED = jnp.asarray([[False, True, True]])


def test_clip_cov_leaves_marked_tokens_out():
  # Ratios 1.1, 1.1 and 2, A = 1, the last two marked: -1.1, 0, 0, and no gradient there.
  logp = jnp.log(jnp.asarray([[1.1, 1.1, 2.0]]))
  loss = lambda x: losses.clip_cov(x, jnp.zeros((1, 3)), jnp.ones((1, 3)), *REST, MARKED)[0]
  np.testing.assert_allclose(loss(logp), [[-1.1, 0.0, 0.0]], rtol=1e-6)
  np.testing.assert_allclose(jax.grad(lambda x: jnp.sum(loss(x)))(logp), [[-1.1, 0.0, 0.0]], rtol=1e-6)


def test_kl_cov_holds_marked_tokens_back():
  # Log-ratios 0.5, 0.5 and -0.5, A = 1, beta 2: -exp(0.5), -exp(0.5) + 1, -exp(-0.5) + 1; gradients -r A +- 2.
  logp = jnp.asarray([[0.5, 0.5, -0.5]])
  loss = lambda x: losses.kl_cov(x, jnp.zeros((1, 3)), jnp.ones((1, 3)), *REST, MARKED, beta=2.0)[0]
  up, down = np.exp(0.5), np.exp(-0.5)
  np.testing.assert_allclose(loss(logp), [[-up, 1 - up, 1 - down]], rtol=1e-6)
  np.testing.assert_allclose(jax.grad(lambda x: jnp.sum(loss(x)))(logp), [[-up, 2 - up, -2 - down]], rtol=1e-6)
