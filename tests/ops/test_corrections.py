"""Every correction against a loop over tokens and sequences."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.ops import corrections

# Two rows of three sequences; the last place of each row is padding, with numbers that must not be read.
MASK = np.asarray([[True, True, True, False], [True, True, True, False]])
SEQUENCE = np.asarray([[0, 0, 1, 3], [2, 2, 2, 3]])
LENGTH = np.asarray([2.0, 1.0, 3.0], np.float32)
OLD = np.asarray([[-1.0, -2.0, -0.5, np.nan], [-1.5, -0.1, -0.7, np.inf]], np.float32)
SAMPLER = np.asarray([[-1.5, -1.0, -2.0, 0.0], [-1.499, -0.1, -0.702, 0.0]], np.float32)


def ratios(kind):
  """exp(old - sampler) of every token, or its product or geometric mean over the token's sequence; 0 on padding."""
  found = np.zeros(MASK.shape)
  for b, a in np.argwhere(MASK):
    of_sequence = [
      np.exp(np.float64(OLD[c, d]) - SAMPLER[c, d]) for c, d in np.argwhere(MASK & (SEQUENCE[b, a] == SEQUENCE))
    ]
    found[b, a] = {
      "token": np.exp(np.float64(OLD[b, a]) - SAMPLER[b, a]),
      "sequence": np.prod(of_sequence),
      "geometric": np.prod(of_sequence) ** (1 / len(of_sequence)),
    }[kind]
  return found


def applied(name, **settings):
  arrays = [jnp.asarray(x) for x in (OLD, SAMPLER, MASK, SEQUENCE, LENGTH)]
  return corrections.CORRECTIONS[name](*arrays, **settings)


KINDS = [("", "token"), ("sequence_", "sequence"), ("geometric_", "geometric")]


@pytest.mark.parametrize(("prefix", "kind"), KINDS)
@pytest.mark.parametrize("cap", [0.9, 1.5, 100.0])
def test_truncated_and_masked_against_a_loop(prefix, kind, cap):
  ratio = ratios(kind)
  truncated, masked = (applied(f"{prefix}{name}", cap=cap) for name in ("truncated", "masked"))
  np.testing.assert_allclose(truncated.weight, np.minimum(ratio, cap) * MASK, rtol=1e-5)
  np.testing.assert_allclose(masked.weight, np.where(ratio <= cap, ratio, 0.0) * MASK, rtol=1e-5)
  np.testing.assert_array_equal(np.asarray(truncated.denominator)[MASK], OLD[MASK])


@pytest.mark.parametrize(("prefix", "kind"), KINDS)
@pytest.mark.parametrize(("low", "high"), [(0.5, 2.0), (0.999, 1.002), (0.0, 100.0)])
def test_banded_against_a_loop(prefix, kind, low, high):
  ratio = ratios(kind)
  inside = (ratio >= low) & (ratio <= high)
  np.testing.assert_allclose(
    applied(f"{prefix}banded", low=low, high=high).weight, np.where(inside, ratio, 0.0) * MASK, rtol=1e-5
  )


def test_the_geometric_mean_by_hand():
  """Log-ratios 0.5 and -1 of sequence 0: their sum is -0.5, their mean -0.25; 1.5 alone in sequence 1."""
  weight = applied("geometric_truncated", cap=10.0).weight
  np.testing.assert_allclose(weight[0, :3], np.exp([-0.25, -0.25, 1.5]), rtol=1e-5)
  np.testing.assert_allclose(applied("sequence_truncated", cap=10.0).weight[0, :2], np.exp([-0.5, -0.5]), rtol=1e-5)


@pytest.mark.parametrize(
  ("name", "denominator", "weight"), [("none", OLD, 1.0), ("sampler", SAMPLER, 1.0), ("decoupled", OLD, None)]
)
def test_which_policy_stands_in_the_denominator(name, denominator, weight):
  corrected = applied(name)
  np.testing.assert_array_equal(np.asarray(corrected.denominator)[MASK], denominator[MASK])
  wanted = ratios("token") if weight is None else weight
  np.testing.assert_allclose(corrected.weight, wanted * MASK, rtol=1e-5)


def test_decoupled_times_the_proximal_ratio_is_the_ratio_to_the_sampler():
  """What makes it unbiased without clipping: (pi_o / pi_s) (pi / pi_o) = pi / pi_s."""
  logp, corrected = OLD[MASK] + 0.3, applied("decoupled")
  product = np.asarray(corrected.weight)[MASK] * np.exp(logp - np.asarray(corrected.denominator)[MASK])
  np.testing.assert_allclose(product, np.exp(logp - SAMPLER[MASK]), rtol=1e-5)


@pytest.mark.parametrize("name", corrections.CORRECTIONS)
def test_where_the_sampler_is_the_policy_nothing_is_corrected_and_nothing_carries_a_gradient(name):
  correct = corrections.CORRECTIONS[name]
  rest = jnp.asarray(MASK), jnp.asarray(SEQUENCE), jnp.asarray(LENGTH)
  old = jnp.where(MASK, OLD, 0.0)
  same = correct(old, old, *rest)
  np.testing.assert_array_equal(same.weight, MASK.astype(np.float32))
  np.testing.assert_array_equal(same.denominator, old)
  total = lambda old, sampler: jnp.sum(sum(correct(old, sampler, *rest)))
  for gradient in jax.grad(total, argnums=(0, 1))(old, jnp.asarray(SAMPLER)):
    np.testing.assert_array_equal(gradient, 0.0)


@pytest.mark.parametrize("name", corrections.CORRECTIONS)
def test_settings_are_keyword_only_with_defaults(name):
  parameters = inspect.signature(corrections.CORRECTIONS[name]).parameters.values()
  settings = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
  assert all(p.default is not p.empty for p in settings) and {p.name for p in settings} <= set(corrections.RANGES)


def test_a_band_without_room_is_refused():
  with pytest.raises(ValueError, match=r"low=2.0 and high=1.0: no ratio lies between them"):
    applied("banded", low=2.0, high=1.0)
