"""Every loss against a double-precision loop, finite differences, and the identities that tie them together."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.ops import losses
from agentrl.ops.losses import POLICY_LOSSES
from agentrl.ops.reduce import REDUCTIONS
from agentrl.ops.surrogates import declared_by

SETTINGS = {
  "ppo": {"clip_low": 0.2, "clip_high": 0.28, "dual_clip": 3.0},
  "gspo": {"clip_low": 0.2, "clip_high": 0.28},
  "trajectory_ratio": {"clip": 0.5, "dual_clip": 3.0},
  "turn_ratio": {"clip": 0.5, "dual_clip": 3.0},
  "gmpo": {"log_clip": 0.3},
  "cispo": {"clip_low": 0.5, "clip_high": 1.0},
  "reinforce": {},
  "sapo": {"tau_positive": 1.5, "tau_negative": 3.0},
  "dro": {"beta": 0.4},
  "clip_cov": {"clip_low": 0.2, "clip_high": 0.28},
  "kl_cov": {"beta": 0.5},
}

# Five sequences over three rows, padding (5) behind two of them.
SEQUENCE = np.array([[0, 0, 1, 1, 1], [2, 2, 2, 5, 5], [3, 4, 4, 4, 5]], np.int32)
MASK = SEQUENCE < 5
MARKED = np.zeros(MASK.shape, bool)
LENGTH = np.array([2.0, 3.0, 3.0, 1.0, 3.0])


def _batch(seed=0, spread=0.8):
  """Log-probs, old log-probs and advantages, of both signs and with ratios on both sides of every bound."""
  rng = np.random.default_rng(seed)
  logp = -rng.exponential(1.0, size=SEQUENCE.shape)
  old_logp = logp + rng.normal(0.0, spread, size=SEQUENCE.shape)
  return logp, old_logp, rng.normal(size=SEQUENCE.shape)


def _surrogate(ratio, advantage, low, high, dual_clip=None):
  loss = -min(ratio * advantage, np.clip(ratio, low, high) * advantage)
  return loss if dual_clip is None or advantage >= 0 else min(loss, -dual_clip * advantage)


def _gmpo(r, own, advantage, log_clip):
  # prod_t min(r_t, e^c)^(1 / L) where A > 0, of max(r_t, e^-c) where A < 0
  bounded = [min(x, np.exp(log_clip)) if advantage > 0 else max(x, np.exp(-log_clip)) for x in own]
  return -advantage * np.prod(bounded) ** (1 / len(own))


# The papers' formulas of a token: (r, the r of its sequence, A, log pi, weight at which a stop-gradient stands).
FORMULAS = {
  "ppo": lambda r, own, a, logp, frozen, clip_low, clip_high, dual_clip: _surrogate(
    r, a, 1 - clip_low, 1 + clip_high, dual_clip
  ),
  "gspo": lambda r, own, a, logp, frozen, clip_low, clip_high: _surrogate(
    np.prod(own) ** (1 / len(own)), a, 1 - clip_low, 1 + clip_high
  ),
  "trajectory_ratio": lambda r, own, a, logp, frozen, clip, dual_clip: _surrogate(
    np.prod(own), a, 1 / (1 + clip), 1 + clip, dual_clip
  ),
  "gmpo": lambda r, own, a, logp, frozen, log_clip: _gmpo(r, own, a, log_clip),
  "cispo": lambda r, own, a, logp, frozen, clip_low, clip_high: (
    -np.clip(frozen, 1 - clip_low, 1 + clip_high) * a * logp
  ),
  "reinforce": lambda r, own, a, logp, frozen: -a * logp,
  "sapo": lambda r, own, a, logp, frozen, tau_positive, tau_negative: (
    -4 / (tau := tau_positive if a > 0 else tau_negative) / (1 + np.exp(-tau * (r - 1))) * a
  ),
  "dro": lambda r, own, a, logp, frozen, beta: -(a - beta / 2 * np.log(own).sum()) * np.log(r),
}
FORMULAS["turn_ratio"] = FORMULAS["trajectory_ratio"]
# Without the tokens that are marked, which tests/ops/test_covariance_losses.py has.
FORMULAS["clip_cov"] = lambda *arrays, **settings: FORMULAS["ppo"](*arrays, **settings, dual_clip=None)
FORMULAS["kl_cov"] = lambda r, own, a, logp, frozen, beta: -r * a
OF_SEQUENCES = ("gspo", "gmpo", "trajectory_ratio", "turn_ratio")  # whose loss is the sequence's at each of its tokens


def _naive(name, logp, old_logp, advantages, *, frozen):
  """Losses by the papers' formulas, float64; `frozen` are the log-probs at which stop-gradients stand."""
  out, ratio = np.zeros(logp.shape), np.exp(logp - old_logp)
  for b, t in zip(*np.nonzero(MASK), strict=True):
    own, weight = ratio[b, SEQUENCE[b] == SEQUENCE[b, t]], np.exp(frozen - old_logp)[b, t]
    out[b, t] = FORMULAS[name](ratio[b, t], own, advantages[b, t], logp[b, t], weight, **SETTINGS[name])
  return out


def marks_of(name, marked):
  """What a loss that has tokens marked takes behind the layout."""
  return (jnp.asarray(marked),) if declared_by(POLICY_LOSSES[name]).marks else ()


@pytest.fixture(params=POLICY_LOSSES)
def name(request):
  return request.param


@pytest.fixture
def policy_loss(name):
  """`(logp, old_logp, advantages) -> (loss, diagnostics)` on the batch above."""

  def loss(logp, old_logp, advantages):
    rest = jnp.asarray(MASK), jnp.asarray(SEQUENCE), jnp.asarray(LENGTH, jnp.float32)
    return POLICY_LOSSES[name](logp, old_logp, advantages, *rest, *marks_of(name, MARKED), **SETTINGS[name])

  return loss


def _f32(*arrays):
  return tuple(jnp.asarray(x, jnp.float32) for x in arrays)


@pytest.mark.parametrize("compiled", [False, True])
def test_matches_a_loop(name, policy_loss, compiled):
  # GSPO usually has one advantage per sequence; its token form is defined for any.
  logp, old_logp, advantages = _batch()
  if name == "gmpo":  # clips by the sign of a token's own advantage
    advantages = np.append(advantages[0], 0.0)[SEQUENCE]
  loss, _ = (jax.jit(policy_loss) if compiled else policy_loss)(*_f32(logp, old_logp, advantages))
  expected = _naive(name, logp, old_logp, advantages, frozen=logp)
  np.testing.assert_allclose(loss, expected, rtol=1e-5, atol=1e-6)


def test_gradient_is_that_of_finite_differences(name, policy_loss):
  logp, old_logp, advantages = _batch(1)
  if name in OF_SEQUENCES:  # the token form has the sequence form's gradient where a sequence has one advantage
    advantages = np.append(np.random.default_rng(2).normal(size=5), 0.0)[SEQUENCE]
  gradient = jax.jit(jax.grad(lambda x: jnp.sum(policy_loss(x, *_f32(old_logp, advantages))[0])))(*_f32(logp))
  # That of a product of ratios is the gradient of one loss per sequence, not of one for each of its L tokens.
  shares = np.append(1 / LENGTH, 0.0)[SEQUENCE] if name in ("trajectory_ratio", "turn_ratio") else 1.0
  total = lambda x: (shares * _naive(name, x, old_logp, advantages, frozen=logp)).sum()
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
    ratios, weights = p[taken] / np.exp(old[0]), frozen / np.exp(old[0])
    each = zip(ratios, advantages[0], np.log(p[taken]), weights, strict=True)
    return sum(FORMULAS[name](r, np.array([r]), a, logp, w, **SETTINGS[name]) for r, a, logp, w in each)

  def loss(theta):
    logp = jax.nn.log_softmax(theta)[taken][None]
    rest = jnp.ones((1, 3), bool), jnp.asarray(sequence), *_f32(length)
    rest += marks_of(name, np.zeros((1, 3), bool))
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
    rest = mask, sequence, length, *marks_of(name, jnp.zeros_like(mask))
    loss, _ = POLICY_LOSSES[name](*arrays, *rest, **SETTINGS[name])
    return REDUCTIONS["sequence_mean"](loss, mask, sequence, length, jnp.arange(2))

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
    rest = mask, sequence, length, *marks_of(name, MARKED[rows])
    loss, _ = POLICY_LOSSES[name](*chosen, *rest, **SETTINGS[name])
    return REDUCTIONS[reduction](loss, mask, sequence, length, jnp.arange(5))

  whole = jax.value_and_grad(lambda x: share(x, np.arange(3)))(arrays[0])
  parts = jax.value_and_grad(lambda x: share(x, np.array([1])) + share(x, np.array([2, 0])))(arrays[0])
  np.testing.assert_allclose(parts[0], whole[0], rtol=1e-5)
  np.testing.assert_allclose(parts[1], whole[1], rtol=1e-5, atol=1e-7)


def _of_one_token_each(name, **settings):
  """Loss, diagnostics and gradient of six sequences of one token."""
  arrays = _f32(*np.random.default_rng(8).normal(-1.0, 0.4, size=(3, 1, 6)))
  rest = jnp.ones((1, 6), bool), jnp.arange(6)[None], jnp.ones(6)

  def total(logp):
    out = POLICY_LOSSES[name](logp, *arrays[1:], *rest, **settings)
    return jnp.sum(out[0]), out

  return jax.value_and_grad(total, has_aux=True)(arrays[0])


@pytest.mark.parametrize("name", ["gspo", "trajectory_ratio", "turn_ratio"])
def test_the_levels_of_a_ratio_are_one_where_sequences_have_one_token(name):
  bounds = {"clip_low": 1 - 1 / 1.3, "clip_high": 0.3, "dual_clip": 2.0}
  own = bounds if name == "gspo" else {"clip": 0.3, "dual_clip": 2.0}
  ppo, other = _of_one_token_each("ppo", **bounds), _of_one_token_each(name, **own)
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6), ppo, other)


def test_gmpo_is_ppo_bounded_on_one_side_where_sequences_have_one_token():
  bounds = {"clip_low": 1 - np.exp(-0.3), "clip_high": np.exp(0.3) - 1}
  ppo, gmpo = _of_one_token_each("ppo", **bounds), _of_one_token_each("gmpo", log_clip=0.3)
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6), ppo, gmpo)


def test_a_product_of_ratios_by_hand():
  # Ratios 1.05 and 1.04 of one sequence, 0.9 and 1.1 of another, A = 2 and -1, clip 0.1: the products are 1.092 and
  # 0.99, both inside [1 / 1.1, 1.1]; losses -2.184 and 0.99. With 1.06 for 1.04 the first is 1.113: clipped, -2.2.
  rest = jnp.ones((1, 4), bool), jnp.asarray([[0, 0, 1, 1]]), jnp.asarray([2.0, 2.0])
  advantages = jnp.asarray([[2.0, 2.0, -1.0, -1.0]])

  def ratio(second):
    logp = jnp.log(jnp.asarray([[1.05, second, 0.9, 1.1]]))
    loss = lambda logp: losses.trajectory_ratio(logp, jnp.zeros((1, 4)), advantages, *rest, clip=0.1)
    return *loss(logp), jax.grad(lambda x: jnp.sum(loss(x)[0]))(logp)

  loss, flags, gradient = ratio(1.04)
  np.testing.assert_allclose(loss, [[-2.184, -2.184, 0.99, 0.99]], rtol=1e-5)
  np.testing.assert_allclose(gradient, loss, rtol=1e-5)  # r A of every token
  np.testing.assert_array_equal(flags["clipped_high"], 0.0)
  loss, flags, gradient = ratio(1.06)
  np.testing.assert_allclose(loss, [[-2.2, -2.2, 0.99, 0.99]], rtol=1e-5)
  np.testing.assert_array_equal(flags["clipped_high"], [[1, 1, 0, 0]])
  np.testing.assert_allclose(gradient, [[0.0, 0.0, 0.99, 0.99]], rtol=1e-5)


def test_gmpo_clips_single_tokens_on_the_side_that_the_advantage_favours():
  # A = 1, log-ratios 0.9 and -0.5, bound 0.4: (min(0.9, 0.4) - 0.5) / 2 = -0.05; the first token gets no gradient.
  arrays = jnp.asarray([[0.9, -0.5]]), jnp.zeros((1, 2)), jnp.ones((1, 2))
  rest = jnp.ones((1, 2), bool), jnp.zeros((1, 2), jnp.int32), jnp.asarray([2.0])
  (loss, flags), vjp = jax.vjp(lambda x: losses.gmpo(x, *arrays[1:], *rest, log_clip=0.4), arrays[0])
  np.testing.assert_allclose(loss, -np.exp(-0.05), rtol=1e-6)
  np.testing.assert_array_equal(flags["clipped_high"], [[1, 0]])
  (gradient,) = vjp((jnp.ones((1, 2)), jax.tree.map(jnp.zeros_like, flags)))
  np.testing.assert_allclose(gradient, [[0.0, -np.exp(-0.05)]], rtol=1e-6)


def test_sapo_by_hand():
  # r = 2, A = 1, tau 1: -4 sigmoid(1) = -2.924; A = -1, tau 1.05: 4 / 1.05 sigmoid(1.05) = 2.8220.
  logp, advantages = jnp.log(jnp.full((1, 2), 2.0)), jnp.asarray([[1.0, -1.0]])
  rest = jnp.ones((1, 2), bool), jnp.zeros((1, 2), jnp.int32), jnp.asarray([2.0])
  loss, _ = losses.sapo(logp, jnp.zeros((1, 2)), advantages, *rest)
  np.testing.assert_allclose(loss, [[-2.92423, 2.82200]], rtol=1e-4)


def test_dro_is_still_where_the_log_ratio_is_the_advantage_over_beta():
  # beta 0.5, log-ratios 0.25 and 0.75 of one sequence with A = 0.5: S = 1 = A / beta, so nothing pulls.
  arrays = jnp.asarray([[0.25, 0.75]]), jnp.zeros((1, 2)), jnp.full((1, 2), 0.5)
  rest = jnp.ones((1, 2), bool), jnp.zeros((1, 2), jnp.int32), jnp.asarray([2.0])
  loss = lambda x: jnp.sum(losses.dro(x, *arrays[1:], *rest, beta=0.5)[0])
  np.testing.assert_allclose(jax.grad(loss)(arrays[0]), 0.0, atol=1e-7)
  np.testing.assert_allclose(loss(arrays[0]), -0.25)  # -(0.5 - 0.25) 1


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
  np.testing.assert_array_equal(named, diagnostics["clipped"])


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


def test_a_ratio_is_never_clipped_below_zero():
  assert losses.RANGES["clip_low"].holds(1.0) and not losses.RANGES["clip_low"].holds(1.5)
