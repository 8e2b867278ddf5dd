"""Every loss against a double-precision loop, finite differences, and the identities that tie them together."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.ops import losses
from agentrl.ops.losses import POLICY_LOSSES
from agentrl.ops.reduce import REDUCTIONS

SETTINGS = {
  "ppo": {"clip_low": 0.2, "clip_high": 0.28, "dual_clip": 3.0},
  "gspo": {"clip_low": 0.2, "clip_high": 0.28},
  "cispo": {"clip_low": 0.5, "clip_high": 1.0},
  "reinforce": {},
}

# Five sequences over three rows, padding (5) behind two of them.
SEQUENCE = np.array([[0, 0, 1, 1, 1], [2, 2, 2, 5, 5], [3, 4, 4, 4, 5]], np.int32)
MASK = SEQUENCE < 5
LENGTH = np.array([2.0, 3.0, 3.0, 1.0, 3.0])


def _batch(seed=0, spread=0.8):
  """Log-probs, old log-probs and advantages, of both signs and with ratios on both sides of every bound."""
  rng = np.random.default_rng(seed)
  logp = -rng.exponential(1.0, size=SEQUENCE.shape)
  old_logp = logp + rng.normal(0.0, spread, size=SEQUENCE.shape)
  return logp, old_logp, rng.normal(size=SEQUENCE.shape)


def _naive(name, logp, old_logp, advantages, *, frozen, clip_low=0.0, clip_high=0.0, dual_clip=None):
  """Losses by the papers' formulas, float64; `frozen` are the log-probs at which stop-gradients stand."""
  out = np.zeros(logp.shape)
  for b, t in zip(*np.nonzero(MASK), strict=True):
    ratio = np.exp(logp[b, t] - old_logp[b, t])
    if name == "gspo":
      own = SEQUENCE[b] == SEQUENCE[b, t]
      ratio = np.exp(np.mean(logp[b, own] - old_logp[b, own]))
    if name == "reinforce":
      out[b, t] = -advantages[b, t] * logp[b, t]
    elif name == "cispo":
      weight = np.clip(np.exp(frozen[b, t] - old_logp[b, t]), 1 - clip_low, 1 + clip_high)
      out[b, t] = -weight * advantages[b, t] * logp[b, t]
    else:
      bounded = np.clip(ratio, 1 - clip_low, 1 + clip_high)
      out[b, t] = -min(ratio * advantages[b, t], bounded * advantages[b, t])
      if dual_clip is not None and advantages[b, t] < 0:
        out[b, t] = min(out[b, t], -dual_clip * advantages[b, t])
  return out


@pytest.fixture(params=POLICY_LOSSES)
def name(request):
  return request.param


@pytest.fixture
def policy_loss(name):
  """`(logp, old_logp, advantages) -> (loss, diagnostics)` on the batch above."""

  def loss(logp, old_logp, advantages):
    rest = jnp.asarray(MASK), jnp.asarray(SEQUENCE), jnp.asarray(LENGTH, jnp.float32)
    return POLICY_LOSSES[name](logp, old_logp, advantages, *rest, **SETTINGS[name])

  return loss


def _f32(*arrays):
  return tuple(jnp.asarray(x, jnp.float32) for x in arrays)


@pytest.mark.parametrize("compiled", [False, True])
def test_matches_a_loop(name, policy_loss, compiled):
  # GSPO usually has one advantage per sequence; its token form is defined for any.
  logp, old_logp, advantages = _batch()
  loss, _ = (jax.jit(policy_loss) if compiled else policy_loss)(*_f32(logp, old_logp, advantages))
  expected = _naive(name, logp, old_logp, advantages, frozen=logp, **SETTINGS[name])
  np.testing.assert_allclose(loss, expected, rtol=1e-5, atol=1e-6)


def test_gradient_is_that_of_finite_differences(name, policy_loss):
  logp, old_logp, advantages = _batch(1)
  if name == "gspo":  # its token form has the sequence form's gradient where a sequence has one advantage
    advantages = np.append(np.random.default_rng(2).normal(size=5), 0.0)[SEQUENCE]
  gradient = jax.jit(jax.grad(lambda x: jnp.sum(policy_loss(x, *_f32(old_logp, advantages))[0])))(*_f32(logp))
  total = lambda x: _naive(name, x, old_logp, advantages, frozen=logp, **SETTINGS[name]).sum()
  for index in np.ndindex(logp.shape):
    step = np.zeros(logp.shape)
    step[index] = 1e-6
    slope = (total(logp + step) - total(logp - step)) / 2e-6
    assert gradient[index] == pytest.approx(slope, rel=1e-4, abs=1e-5), index


def test_two_token_bandit_by_finite_differences(name):
  """Through a softmax over two tokens, as a policy has it."""
  taken, old = np.array([0, 1, 1]), np.log([[0.5, 0.6, 0.35]])
  advantages = np.array([[1.0, -0.5, 2.0]])
  sequence, length = np.arange(3)[None], np.ones(3)

  def value(theta):
    p = np.exp(theta) / np.exp(theta).sum()
    ratio = p[taken] / np.exp(old[0])
    weight = {"reinforce": np.ones(3), "cispo": np.clip(frozen / np.exp(old[0]), 0.5, 2.0)}
    if name in weight:
      return -np.sum(weight[name] * advantages[0] * np.log(p[taken]))
    bounded = np.clip(ratio, 0.8, 1.28)
    return -np.sum(np.minimum(ratio * advantages[0], bounded * advantages[0]))

  def loss(theta):
    logp = jax.nn.log_softmax(theta)[taken][None]
    rest = jnp.ones((1, 3), bool), jnp.asarray(sequence), *_f32(length)
    return jnp.sum(POLICY_LOSSES[name](logp, *_f32(old, advantages), *rest, **SETTINGS[name])[0])

  theta = np.array([0.2, -0.3])
  frozen = (np.exp(theta) / np.exp(theta).sum())[taken]
  slopes = [(value(theta + step) - value(theta - step)) / 2e-6 for step in 1e-6 * np.eye(2)]
  np.testing.assert_allclose(jax.grad(loss)(*_f32(theta)), slopes, rtol=1e-4, atol=1e-5)


def test_at_ratio_one_all_have_the_gradient_of_reinforce(policy_loss):
  logp, _, advantages = _batch(3)
  advantages = np.append(advantages[0], 0.0)[SEQUENCE]
  gradient = jax.grad(lambda x: jnp.sum(policy_loss(x, *_f32(logp, advantages))[0]))(*_f32(logp))
  np.testing.assert_allclose(gradient, np.where(MASK, -advantages, 0.0), rtol=1e-6)


def test_only_the_current_policy_gets_a_gradient(policy_loss):
  arrays = _f32(*_batch(4))
  gradients = jax.grad(lambda *x: jnp.sum(policy_loss(*x)[0]), argnums=(0, 1, 2))(*arrays)
  assert np.any(gradients[0])
  np.testing.assert_array_equal(gradients[1], 0.0)
  np.testing.assert_array_equal(gradients[2], 0.0)
  diagnostics = jax.grad(lambda x: sum(jnp.sum(d) for d in policy_loss(x, *arrays[1:])[1].values()))(arrays[0])
  np.testing.assert_array_equal(diagnostics, 0.0)


@pytest.mark.parametrize("junk", [np.nan, -1e30, np.inf])
def test_masked_tokens_give_zero_whatever_they_hold(policy_loss, junk):
  clean = _f32(*_batch(5))
  dirty = tuple(jnp.where(MASK, x, junk) for x in clean)
  compute = jax.value_and_grad(lambda *x: (lambda loss, d: (jnp.sum(loss), (loss, d)))(*policy_loss(*x)), has_aux=True)
  (_, (loss, diagnostics)), gradient = compute(*dirty)
  (_, (clean_loss, _)), clean_gradient = compute(*clean)
  np.testing.assert_array_equal(loss, clean_loss)
  np.testing.assert_array_equal(gradient, clean_gradient)
  for x in (loss, gradient, *diagnostics.values()):
    np.testing.assert_array_equal(x[~MASK], 0.0)


def test_a_ratio_beyond_float32_stays_finite(policy_loss):
  logp, old_logp = jnp.zeros(MASK.shape), jnp.where(MASK, -500.0, 0.0)
  for advantages in (jnp.ones(MASK.shape), -jnp.ones(MASK.shape)):
    loss, gradient = jax.value_and_grad(lambda x, a=advantages: jnp.sum(policy_loss(x, old_logp, a)[0]))(logp)
    assert np.isfinite(loss)
    assert np.all(np.isfinite(gradient))


def test_mask_surgery(name):
  """Masked tokens put between a trajectory's own change neither the objective nor its gradient."""
  rng = np.random.default_rng(6)
  logp, old_logp, advantages = _f32(*rng.normal(-1.0, 0.3, size=(3, 4)))
  keep = jnp.asarray([1, 0, 1, 1, 0, 0, 1, 0], bool)

  def objective(logp, spread):
    place = (lambda x, fill: jnp.full(8, fill, x.dtype).at[jnp.flatnonzero(keep)].set(x)) if spread else lambda x, _: x
    mask = place(jnp.ones(4, bool), False)[None]
    sequence = place(jnp.asarray([0, 0, 1, 1]), 2)[None]
    arrays = (place(x, -7.0)[None] for x in (logp, old_logp, advantages))
    length = jnp.asarray([2.0, 2.0])
    loss, _ = POLICY_LOSSES[name](*arrays, mask, sequence, length, **SETTINGS[name])
    return REDUCTIONS["sequence_mean"](loss, mask, sequence, length)

  with_tools, without = (jax.value_and_grad(functools.partial(objective, spread=s))(logp) for s in (True, False))
  np.testing.assert_allclose(with_tools[0], without[0], rtol=1e-6)
  np.testing.assert_allclose(with_tools[1], without[1], rtol=1e-6)


@pytest.mark.parametrize("reduction", ["token_mean", "sequence_mean"])
def test_any_split_into_micro_batches_gives_the_same_objective_and_gradient(name, reduction):
  arrays = _f32(*_batch(7))

  def share(logp, rows):
    mask, sequence = jnp.asarray(MASK[rows]), jnp.asarray(SEQUENCE[rows])
    length = jnp.asarray(LENGTH, jnp.float32)
    chosen = (logp[rows], *(x[rows] for x in arrays[1:]))
    loss, _ = POLICY_LOSSES[name](*chosen, mask, sequence, length, **SETTINGS[name])
    return REDUCTIONS[reduction](loss, mask, sequence, length)

  whole = jax.value_and_grad(lambda x: share(x, np.arange(3)))(arrays[0])
  parts = jax.value_and_grad(lambda x: share(x, np.array([1])) + share(x, np.array([2, 0])))(arrays[0])
  np.testing.assert_allclose(parts[0], whole[0], rtol=1e-5)
  np.testing.assert_allclose(parts[1], whole[1], rtol=1e-5, atol=1e-7)


def test_gspo_is_ppo_where_sequences_have_one_token():
  rng = np.random.default_rng(8)
  arrays = _f32(*rng.normal(-1.0, 0.4, size=(3, 1, 6)))
  rest = jnp.ones((1, 6), bool), jnp.arange(6)[None], jnp.ones(6)
  bounds = {"clip_low": 0.2, "clip_high": 0.3, "dual_clip": 2.0}
  ppo, gspo = (
    jax.value_and_grad(
      lambda x, f=f: (lambda out: (jnp.sum(out[0]), out))(f(x, *arrays[1:], *rest, **bounds)), has_aux=True
    )(arrays[0])
    for f in (losses.ppo, losses.gspo)
  )
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6), ppo, gspo)


def test_clipping_by_hand():
  # Ratios 2, 2, 1/2, 1/2, 4 with advantages 1, -1, 1, -1, -1 and bounds 0.8, 1.5, dual 3:
  # -min(2, 1.5), -min(-2, -1.5), -min(0.5, 0.8), -min(-0.5, -0.8), and min(4, 3).
  old_logp = jnp.zeros((1, 5))
  logp = jnp.log(jnp.asarray([[2.0, 2.0, 0.5, 0.5, 4.0]]))
  advantages = jnp.asarray([[1.0, -1.0, 1.0, -1.0, -1.0]])
  rest = jnp.ones((1, 5), bool), jnp.zeros((1, 5), jnp.int32), jnp.asarray([5.0])

  def ppo(logp):
    return losses.ppo(logp, old_logp, advantages, *rest, clip_low=0.2, clip_high=0.5, dual_clip=3.0)

  loss, diagnostics = ppo(logp)
  np.testing.assert_allclose(loss, [[-1.5, 2.0, -0.5, 0.8, 3.0]], rtol=1e-6)
  np.testing.assert_array_equal(diagnostics["clipped_high"], [[1, 0, 0, 0, 0]])
  np.testing.assert_array_equal(diagnostics["clipped_low"], [[0, 0, 0, 1, 0]])
  np.testing.assert_array_equal(diagnostics["clipped_dual"], [[0, 0, 0, 0, 1]])
  # A token whose gradient clipping took is just one that a diagnostic names.
  gradient = jax.grad(lambda x: jnp.sum(ppo(x)[0]))(logp)
  named = diagnostics["clipped_high"] + diagnostics["clipped_low"] + diagnostics["clipped_dual"]
  np.testing.assert_array_equal(gradient == 0, named == 1)


def test_cispo_leaves_every_token_a_gradient():
  logp, old_logp, advantages = _f32(*_batch(9, spread=3.0))
  rest = jnp.asarray(MASK), jnp.asarray(SEQUENCE), jnp.asarray(LENGTH, jnp.float32)
  settings = {"clip_low": 0.9, "clip_high": 4.0}
  _, diagnostics = losses.cispo(logp, old_logp, advantages, *rest, **settings)
  assert diagnostics["clipped_low"].any()
  assert diagnostics["clipped_high"].any()
  gradient = jax.grad(lambda x: jnp.sum(losses.cispo(x, old_logp, advantages, *rest, **settings)[0]))(logp)
  np.testing.assert_array_equal(gradient != 0, MASK)


@pytest.mark.parametrize(("bounds", "message"), [({"clip_low": -0.1}, "negative"), ({"dual_clip": 0.5}, "exceed 1")])
def test_bounds_that_make_no_sense_are_refused(bounds, message):
  nothing = jnp.zeros((1, 1)), jnp.zeros((1, 1)), jnp.zeros((1, 1))
  with pytest.raises(ValueError, match=message):
    losses.ppo(*nothing, jnp.ones((1, 1), bool), jnp.zeros((1, 1), jnp.int32), jnp.ones(1), **bounds)


def test_a_misspelt_hyperparameter_is_an_error():
  with pytest.raises(TypeError, match="clip_hihg"):
    losses.ppo(*[jnp.zeros((1, 1))] * 6, clip_hihg=0.3)


# ---- value ------------------------------------------------------------------------------------------------------


def test_value_losses_by_hand():
  # V_old 0, clip 0.5, R 2. V 0.25: inside, (0.25 - 2)^2 / 2. V 1: clipped to 0.5, the larger (0.5 - 2)^2 / 2, no pull.
  # V -3: clipped to -0.5, but (-3 - 2)^2 / 2 is larger and pulls. Masked: 0.
  values, mask = jnp.asarray([0.25, 1.0, -3.0, jnp.nan]), jnp.asarray([True, True, True, False])
  old_values, targets = jnp.zeros(4), jnp.full(4, 2.0)
  clipped = lambda v: losses.clipped_value_loss(v, old_values, targets, mask, clip=0.5)
  np.testing.assert_allclose(clipped(values), [1.75**2 / 2, 1.125, 12.5, 0.0])
  np.testing.assert_allclose(jax.grad(lambda v: jnp.sum(clipped(v)))(values), [-1.75, 0.0, -5.0, 0.0])
  squared = lambda v: losses.squared_value_loss(v, targets, mask)
  np.testing.assert_allclose(squared(values), [1.75**2 / 2, 0.5, 12.5, 0.0])
  np.testing.assert_allclose(jax.grad(lambda v: jnp.sum(squared(v)))(values), [-1.75, -1.0, -5.0, 0.0])


def test_value_targets_are_constants():
  arrays = jnp.asarray([0.3]), jnp.asarray([0.1]), jnp.asarray([2.0])
  loss = lambda *x: jnp.sum(losses.clipped_value_loss(*x, jnp.ones(1, bool), clip=0.5))
  gradients = jax.grad(loss, argnums=(0, 1, 2))(*arrays)
  assert gradients[0] != 0
  assert gradients[1] == gradients[2] == 0


# ---- preference and imitation -----------------------------------------------------------------------------------


def test_dpo_at_the_reference_is_log_two_and_pushes_apart():
  chosen, rejected = jnp.asarray([-4.0, -9.0]), jnp.asarray([-6.0, -2.0])
  loss = lambda *x: losses.dpo(*x, beta=0.1)
  np.testing.assert_allclose(loss(chosen, rejected, chosen, rejected), np.log(2), rtol=1e-6)
  gradients = jax.grad(lambda *x: jnp.sum(loss(*x)), argnums=(0, 1, 2, 3))(chosen, rejected, chosen, rejected)
  # -beta sigmoid(0) = -0.05 on the chosen, the opposite on the rejected, nothing on the reference.
  np.testing.assert_allclose(jnp.stack(gradients), [[-0.05] * 2, [0.05] * 2, [0.0] * 2, [0.0] * 2], rtol=1e-6)


def test_dpo_by_hand():
  # Margin (-1 + 2) - (-3 + 1) = 3, times 0.5: -log sigmoid(1.5) = log(1 + exp(-1.5)).
  out = losses.dpo(*_f32([-1.0], [-3.0], [-2.0], [-1.0]), beta=0.5)
  np.testing.assert_allclose(out, np.log1p(np.exp(-1.5)), rtol=1e-6)


def test_negative_log_likelihood():
  logp, mask = jnp.asarray([-1.5, jnp.nan, -0.5]), jnp.asarray([True, False, True])
  loss, gradient = jax.value_and_grad(lambda x: jnp.sum(losses.negative_log_likelihood(x, mask)))(logp)
  assert loss == 2.0
  np.testing.assert_array_equal(gradient, [-1.0, 0.0, -1.0])
